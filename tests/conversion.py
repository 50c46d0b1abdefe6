"""What tests of conversion share: a module beside its packed form, in the reference and in the engine."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from xnornet import Model, format, reference
from xnornet.convert import lower


def settle_norms(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Give batch norms statistics of real activations, and slopes of both signs; return the module in eval mode."""
    module.train()
    with torch.no_grad():
        for _ in range(5):
            module(torch.randn(16, *shape))
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias, std=0.3)
    return module.eval()


def check_packed(module: nn.Module, shape: tuple[int, ...], images: int = 32) -> list[str]:
    """Pack, run reference and engine beside torch, and return the kinds of the ops."""
    packed = lower(module, torch.zeros(1, *shape))
    packed = format.loads(format.dumps(packed))  # what the file keeps is all there is
    x = torch.randn(images, *shape)
    with torch.no_grad():
        expected = module(x).numpy()
    for got in (reference.run(packed, x.numpy()), Model(packed).run(x.numpy())):
        close = np.abs(got - expected).max(axis=1) <= 1e-4 * np.abs(expected).max()
        # A float sum in another order may turn a sign that lies within rounding of zero: seldom.
        assert close.mean() >= 0.9, f"{(~close).sum()} of {images} images differ"
    return [op.kind for op in packed.ops]
