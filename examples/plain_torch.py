"""Train an XNOR network in plain PyTorch: binary layers are ordinary modules, only the clip after a step is new.

python examples/plain_torch.py [EPOCHS]
"""

import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from xnornet.data import open_dataset
from xnornet.nn import BinaryConv2d, clip_weights_

torch.manual_seed(0)
data = open_dataset("fashion-mnist-mini")
images, labels = {}, {}
for part in ("train", "test"):
    pixels, targets = zip(*data.split(part), strict=True)
    images[part] = (torch.from_numpy(np.stack(pixels)).unsqueeze(1) / 255 - 0.286) / 0.353
    labels[part] = torch.tensor(targets)

network = nn.Sequential(
    nn.Conv2d(1, 32, 5, stride=2, padding=2, bias=False),  # the first and the last layer stay float
    *(nn.BatchNorm2d(32), BinaryConv2d(32, 64, 3, padding=1, bias=False), nn.MaxPool2d(2)),
    *(nn.BatchNorm2d(64), BinaryConv2d(64, 128, 3, padding=1, bias=False), nn.MaxPool2d(2)),
    *(nn.BatchNorm2d(128), nn.ReLU(), nn.Flatten(), nn.Linear(128 * 3 * 3, 10)),
)
optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)

for epoch in range(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
    network.train()
    for batch in torch.randperm(len(labels["train"])).split(100):
        optimiser.zero_grad()
        F.cross_entropy(network(images["train"][batch]), labels["train"][batch]).backward()
        optimiser.step()
        clip_weights_(network)  # beyond [-1, 1] a latent weight would get no gradient any more
    network.eval()
    with torch.no_grad():
        correct = (network(images["test"]).argmax(1) == labels["test"]).float().mean()
    print(f"epoch {epoch + 1}: {correct:.2%} of {len(labels['test']):,} test images", flush=True)
