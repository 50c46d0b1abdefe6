"""Checkpoints of XNOR-Net-PyTorch (Cao 2017): its network in network, AlexNet and LeNet-5."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import FormatError, UnsupportedError
from .graph import Array, Graph, Node
from .network import ForeignNetwork

__all__ = ["from_xnor_net_pytorch"]

_BY_HAND = "load it into the module that it was trained as, and call xnornet.convert.pack(module, example_input, path)"


def from_xnor_net_pytorch(path: str | Path) -> ForeignNetwork:
    """A network that XNOR-Net-PyTorch saved as a torch module, to be packed or evaluated; it cannot be trained.

    A checkpoint holds tensors by name, not what is computed of them, so that only its own networks are known: network
    in network (`CIFAR_10/models/nin.py`), AlexNet (`ImageNet/networks/model_list/alexnet.py`) and LeNet-5
    (`MNIST/models/LeNet_5.py`), of any number of filters and classes, from one GPU or several. It is what their
    `--evaluate` computes: latent weights are centred over input channels, clipped to -1 and 1, and become their signs
    times their mean absolute value (`util.py`, `BinOp.binarization`). Their signs of 0 are 0, here they are +1.

    Args:
        path: of the checkpoint, NAME.pth.tar.

    Returns:
        A module in evaluation mode: (N, C, H, W) float32, of pixels as it was trained on -> (N, classes) logits.

    Raises:
        FormatError: the file is missing, damaged, or holds more than tensors, numbers and text.
        UnsupportedError: it is another network.
    """
    path = Path(path)
    state = _read_state(path)
    try:
        layout = next((layout for known, layout in _LAYOUTS.items() if known in state), None)
        if layout is None:
            raise UnsupportedError(
                f"its tensors are of no network of XNOR-Net-PyTorch (nin, AlexNet, LeNet-5); {_BY_HAND}"
            )
        layers = _Layers(state)
        pixels = layout(layers)
        if layers.unread:
            raise UnsupportedError(f"its network was changed: it has a '{min(layers.unread)}' too; {_BY_HAND}")
        channels = int(layers.constants[layers.nodes[0].inputs[1]].shape[1])
        image = (pixels, pixels, channels)
        network = ForeignNetwork(Graph(layers.nodes, layers.constants, "images", layers.value, image)).eval()
        with torch.no_grad():
            network(torch.zeros(1, channels, pixels, pixels))  # so that tensors of other shapes are told at once
        return network
    except UnsupportedError as error:
        raise UnsupportedError(f"{path}: {error}") from error


def _read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name, without the "module." of several GPUs. Raises FormatError."""
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything at bytes that it does not know
        raise FormatError(
            f"{path}: is damaged, or no checkpoint of tensors alone; where you trust it load it with "
            'torch.load(path, weights_only=False), and torch.save its {"state_dict": ...}'
        ) from error
    state = saved.get("state_dict", saved) if isinstance(saved, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise FormatError(f"{path}: holds no state_dict; give a checkpoint as XNOR-Net-PyTorch saves it")
    return {str(name).replace("module.", ""): value.detach().float() for name, value in state.items()}


class _Layers:
    """Collects nodes behind `value`, that of the images at first; a method a layer, which finds its tensors by name.

    Attributes:
        least_gamma: to which the network's forward pass raises the weights of its norms.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.value = "images"
        self.least_gamma: float | None = None
        self.unread = {name for name in state if not name.endswith(".num_batches_tracked")}
        self._state = state

    def add(self, operator: str, name: str, *constants: str, **attributes: Any) -> None:
        self.nodes.append(Node(operator, name, (self.value, *constants), name, attributes))
        self.value = name

    def tensor(self, name: str) -> Tensor:
        if name not in self._state:
            raise UnsupportedError(f"its network was changed: it has no '{name}'; {_BY_HAND}")
        self.unread.discard(name)
        return self._state[name]

    def constant(self, name: str, tensor: Tensor) -> str:
        self.constants[name] = np.ascontiguousarray(tensor.numpy())
        return name

    def layer(self, name: str, *, binary: bool = False, **window: int) -> None:
        """A convolution where a window is told, else a dense layer."""
        weight, bias = self.tensor(f"{name}.weight"), self.constant(f"{name}.bias", self.tensor(f"{name}.bias"))
        kernel = self.constant(f"{name}.weight", _binarized(weight) if binary else weight)
        if window:
            self.add("Conv", name, kernel, bias, **_window(weight.shape[-1], **window))
        else:
            self.add("Gemm", name, kernel, bias, transB=1)

    def norm(self, name: str, *, eps: float = 1e-4, affine: bool = True) -> None:
        mean = self.tensor(f"{name}.running_mean")
        gamma = self.tensor(f"{name}.weight") if affine else torch.ones_like(mean)
        parts = {
            "gamma": gamma if self.least_gamma is None else gamma.clamp(min=self.least_gamma),
            "beta": self.tensor(f"{name}.bias") if affine else torch.zeros_like(mean),
            "mean": mean,
            "variance": self.tensor(f"{name}.running_var"),
        }
        constants = [self.constant(f"{name}.{part}", tensor) for part, tensor in parts.items()]
        self.add("BatchNormalization", name, *constants, epsilon=eps)

    def block(self, name: str, *, flatten: bool = False, **window: int) -> None:
        """Their BinConv2d: norm, sign, a convolution or dense layer of binary weights, ReLU. Dropout stands behind the
        sign, and does nothing here. `flatten`: a map, behind its sign.
        """
        self.norm(f"{name}.bn")
        self.add("BipolarQuant", f"{name}.sign")
        if flatten:
            self.flatten()
        self.layer(f"{name}.{'conv' if window else 'linear'}", binary=True, **window)
        self.relu(name)

    def relu(self, name: str) -> None:
        self.add("Relu", f"{name}.relu")

    def pool(self, name: str, kernel: int, stride: int, padding: int = 0, *, mean: bool = False) -> None:
        operator, counted = ("AveragePool", {"count_include_pad": 1}) if mean else ("MaxPool", {})
        self.add(operator, name, **_window(kernel, stride=stride, padding=padding), **counted)

    def flatten(self) -> None:
        self.add("Flatten", "flatten", axis=1)


def _window(kernel: int, *, stride: int = 1, padding: int = 0) -> dict[str, Any]:
    """By ONNX's names."""
    return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}


def _binarized(latent: Tensor) -> Tensor:
    """As `BinOp.binarization`, in its order of operations, so that no rounding turns a sign.

    Weights that are of one bit already, as it leaves them while it trains, stay what they are; centred once more they
    would get another scale.
    """
    size = latent.abs().flatten(1)
    if (size == size[:, :1]).all():
        return latent
    centred = latent.add(latent.mean(1, keepdim=True).mul(-1)).clamp(-1.0, 1.0)
    alpha = centred.abs().flatten(1).mean(1).reshape(-1, *[1] * (latent.dim() - 1))
    return torch.where(centred >= 0, alpha, -alpha)


def _nin(net: _Layers) -> int:
    net.least_gamma = 0.01
    net.layer("xnor.0", padding=2)
    net.norm("xnor.1", affine=False)
    net.relu("xnor.1")
    net.block("xnor.3", padding=0)
    net.block("xnor.4", padding=0)
    net.pool("xnor.5", 3, 2, 1)
    net.block("xnor.6", padding=2)
    net.block("xnor.7", padding=0)
    net.block("xnor.8", padding=0)
    net.pool("xnor.9", 3, 2, 1, mean=True)
    net.block("xnor.10", padding=1)
    net.block("xnor.11", padding=0)
    net.norm("xnor.12", affine=False)
    net.layer("xnor.13", padding=0)
    net.relu("xnor.13")
    net.pool("xnor.15", 8, 1, mean=True)
    net.flatten()
    return 32


def _alexnet(net: _Layers) -> int:
    net.layer("features.0", stride=4)
    net.norm("features.1")
    net.relu("features.1")
    net.pool("features.3", 3, 2)
    net.block("features.4", padding=2)
    net.pool("features.5", 3, 2)
    net.block("features.6", padding=1)
    net.block("features.7", padding=1)
    net.block("features.8", padding=1)
    net.pool("features.9", 3, 2)
    net.flatten()
    net.block("classifier.0")
    net.block("classifier.1")
    net.norm("classifier.2", eps=1e-3)
    net.layer("classifier.4")
    return 227


def _lenet_5(net: _Layers) -> int:
    net.least_gamma = 0.01
    net.layer("conv1", padding=0)
    net.norm("bn_conv1", affine=False)
    net.relu("bn_conv1")
    net.pool("pool1", 2, 2)
    net.block("bin_conv2", padding=0)
    net.pool("pool2", 2, 2)
    # The norm in front of the dense layer is one of features, in older versions, or of channels.
    of_channels = len(net.tensor("bin_ip1.bn.running_mean")) < net.tensor("bin_ip1.linear.weight").shape[1]
    if not of_channels:
        net.flatten()
    net.block("bin_ip1", flatten=of_channels)
    net.layer("ip2")
    return 28


# By a tensor that no other has: what appends a network's layers, and yields the height and width of its images.
_LAYOUTS: dict[str, Callable[[_Layers], int]] = {
    "xnor.3.conv.weight": _nin,
    "classifier.0.linear.weight": _alexnet,
    "bin_conv2.conv.weight": _lenet_5,
}
