"""IR-Net's quantizers: values, gradients as training goes on, and the way into a packed file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from xnornet.convert import lower
from xnornet.nn import BinaryConv2d, BinaryLinear, anneal_, clip_weights_, method
from xnornet.nn.quantizers import EdeSign, LibraSign, input_quantizer, weight_quantizer

from .test_quantizers_of_methods import UPSTREAM, X, gradient, numpy_sign, weights


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.75, 1.0])
def test_sign_with_a_gradient_that_sharpens(progress: float) -> None:
    """Section 3.3: k t (1 - tanh(t x)^2), t from 0.001 to 10 evenly in its logarithm; none beyond the hard tanh."""
    quantizer = EdeSign()
    quantizer.anneal(progress)
    np.testing.assert_array_equal(quantizer(torch.from_numpy(X)).numpy(), numpy_sign(X))
    t = 10.0 ** (-3 + 4 * progress)
    x = X.astype(np.float64)
    expected = max(1 / t, 1) * t * (1 - np.tanh(t * x) ** 2) * (np.abs(X) <= 1) * UPSTREAM
    np.testing.assert_allclose(gradient(quantizer, X, UPSTREAM), expected, rtol=2e-3, atol=1e-5)


def test_first_it_is_the_straight_through_estimator() -> None:
    np.testing.assert_allclose(gradient(EdeSign(), X, UPSTREAM), UPSTREAM * (np.abs(X) <= 1), rtol=1e-5)


@pytest.mark.parametrize("progress", [0.0, 0.9])
def test_balanced_weights(progress: float) -> None:
    """Section 3.2, in NumPy; the gradient through mean and deviation by autograd of the same in float64."""
    weight, upstream = weights(4, 3, 3, 3) + 0.7, weights(4, 3, 3, 3, seed=1)
    quantizer = LibraSign()
    quantizer.anneal(progress)
    flat = weight.reshape(4, -1)
    standard = (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True, ddof=1)
    scale = 2.0 ** np.round(np.log2(np.abs(standard).mean(1)))
    expected = (numpy_sign(standard) * scale[:, None]).reshape(weight.shape)
    np.testing.assert_array_equal(quantizer(torch.from_numpy(weight)).numpy(), expected)
    codes, found = quantizer.codes(torch.from_numpy(weight))
    np.testing.assert_array_equal((codes * found.view(-1, 1, 1, 1)).numpy(), expected)

    t = 10.0 ** (-3 + 4 * progress)

    def smooth(w: torch.Tensor) -> torch.Tensor:
        """Of which the estimator is the derivative: k tanh(t V), and constants."""
        v = w.flatten(1) - w.flatten(1).mean(1, keepdim=True)
        v = v / v.std(1, keepdim=True)
        return (max(1 / t, 1) * torch.tanh(t * v) * torch.from_numpy(scale)[:, None]).view_as(w)

    got = gradient(quantizer, weight, upstream)
    np.testing.assert_allclose(got, gradient(smooth, weight, upstream), rtol=1e-5, atol=1e-8)


def test_signs_are_balanced_where_the_weights_are_not() -> None:
    weight = torch.rand(5, 40, 3, 3)
    assert (LibraSign()(weight).sign().flatten(1).mean(1).abs() < 0.1).all()
    one = torch.tensor([[0.5], [-0.25]])
    assert torch.equal(LibraSign()(one), torch.tensor([[0.5], [-0.25]])), "nothing to balance: powers of two stay"


def test_latent_weights_are_not_clipped() -> None:
    layer = BinaryConv2d(3, 4, 3, input_quantizer="ede_sign", weight_quantizer="libra_sign")
    nn.init.normal_(layer.weight, 0, 5)
    before = layer.weight.detach().clone()
    clip_weights_(layer)
    assert torch.equal(layer.weight, before)


def test_arguments() -> None:
    assert input_quantizer("ede_sign:t_max=5,clip=1.5").extra_repr() == "t_min=0.001, t_max=5"
    assert weight_quantizer("libra_sign:0.1").t_min == 0.1
    for bad, said in (("ede_sign:0", "t_min is a number above 0"), ("ede_sign:clip=-1", "clip is a number above 0")):
        with pytest.raises(ValueError, match=said):
            input_quantizer(bad)
    assert method("irnet").binary_weights


def small_network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = {"input_quantizer": "ede_sign", "weight_quantizer": "libra_sign"}
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        BinaryConv2d(8, 8, 3, bias=False, **layers),
        nn.BatchNorm2d(8),
        nn.Flatten(),
        BinaryLinear(8 * 16, 8, bias=False, **layers),
        nn.BatchNorm1d(8),
        nn.Linear(8, 3),
    )


def test_packs_with_one_bit_a_weight() -> None:
    net = small_network()
    x = torch.randn(20, 1, 8, 8)
    net(x)
    anneal_(net, 0.5)
    packed = lower(net.eval(), x)
    assert [op.kind for op in packed.ops if op.kind.startswith("binary")] == ["binary_conv2d", "binary_linear"]


def test_annealing_reaches_every_quantizer_and_no_checkpoint() -> None:
    net = small_network()
    kept = list(net.state_dict())
    anneal_(net, 1.0)
    assert [q.t.item() for q in net.modules() if isinstance(q, EdeSign | LibraSign)] == pytest.approx([10.0] * 4)
    assert list(net.state_dict()) == kept
    assert not any(name.endswith(".t") for name in kept)


def test_training_tells_how_far_it_is(tmp_path, monkeypatch) -> None:
    """Before every step, by the share of steps that are over."""
    from xnornet.train import train

    told: list[float] = []
    monkeypatch.setattr(EdeSign, "anneal", lambda self, progress: told.append(progress))
    changes = {"method": "irnet", "model.width": 4, "limit_train": 64, "batch_size": 16, "epochs": 2}
    train("fashion-xnor", out=tmp_path / "run", overrides=changes)
    layers = len(told) // 8
    assert layers >= 1
    assert told[::layers] == [step / 8 for step in range(8)]
