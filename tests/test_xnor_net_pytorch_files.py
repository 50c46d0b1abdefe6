"""Checkpoints of XNOR-Net-PyTorch, converted: beside what its modules compute, from files as torch has saved them.

Its published checkpoints are not at hand; the files written here have its tensors' names, shapes and layout.
"""

from __future__ import annotations

import copy
import io
import pickletools
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from xnornet import format  # noqa: E402
from xnornet.bits import BitArray  # noqa: E402
from xnornet.convert import from_xnor_net_pytorch, lower  # noqa: E402
from xnornet.engine import Model  # noqa: E402
from xnornet.errors import FormatError, UnsupportedError  # noqa: E402

from .command import Run  # noqa: E402

CLASSES = 7


class Block(nn.Module):
    """Norm, sign, convolution or dense layer, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 0, padding: int = 0) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(inputs, eps=1e-4) if kernel else nn.BatchNorm1d(inputs, eps=1e-4)
        if kernel:
            self.conv = nn.Conv2d(inputs, outputs, kernel, padding=padding)
        else:
            self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        layer = self.conv if hasattr(self, "conv") else self.linear
        return layer(self.bn(x).sign()).relu()


def norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-4, affine=False)


class Nin(nn.Module):
    least_gamma, pixels, binary_layers = 0.01, 32, 7

    def __init__(self) -> None:
        super().__init__()
        self.xnor = nn.Sequential(
            nn.Conv2d(3, 20, 5, padding=2), norm(20), nn.ReLU(), Block(20, 18, 1), Block(18, 12, 1),
            nn.MaxPool2d(3, 2, padding=1), Block(12, 20, 5, 2), Block(20, 20, 1), Block(20, 20, 1),
            nn.AvgPool2d(3, 2, padding=1), Block(20, 20, 3, 1), Block(20, 20, 1), norm(20),
            nn.Conv2d(20, CLASSES, 1), nn.ReLU(), nn.AvgPool2d(8, stride=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.xnor(x).flatten(1)


class AlexNet(nn.Module):
    least_gamma, pixels, binary_layers = None, 227, 6

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 11, stride=4), nn.BatchNorm2d(6, eps=1e-4), nn.ReLU(), nn.MaxPool2d(3, 2),
            Block(6, 8, 5, 2), nn.MaxPool2d(3, 2), Block(8, 12, 3, 1), Block(12, 12, 3, 1), Block(12, 8, 3, 1),
            nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            Block(8 * 36, 40), Block(40, 40), nn.BatchNorm1d(40, eps=1e-3), nn.Dropout(), nn.Linear(40, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class LeNet5(nn.Module):
    least_gamma, pixels, binary_layers = 0.01, 28, 2

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn_conv1 = nn.Conv2d(1, 6, 5), norm(6)
        self.bin_conv2, self.bin_ip1, self.ip2 = Block(6, 10, 5), Block(160, 30), nn.Linear(30, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.bn_conv1(self.conv1(x)).relu(), 2)
        return self.ip2(self.bin_ip1(nn.functional.max_pool2d(self.bin_conv2(x), 2).flatten(1)))


class LaterLeNet5(LeNet5):
    """Flattened behind the sign: a norm of channels stands in front of it."""

    def __init__(self) -> None:
        super().__init__()
        self.bin_ip1.bn = nn.BatchNorm2d(10, eps=1e-4)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(self.bn_conv1(self.conv1(x)).relu(), 2)
        signs = self.bin_ip1.bn(nn.functional.max_pool2d(self.bin_conv2(x), 2)).sign()
        return self.ip2(self.bin_ip1.linear(signs.flatten(1)).relu())


NETWORKS = [Nin, AlexNet, LeNet5, LaterLeNet5]


def trained(kind: Callable[[], Any], seed: int = 0) -> Any:
    """A network whose norms and weights are as after some training: gammas of both signs, latents of another mean, and
    norms that have seen its images, so that these are told apart.
    """
    torch.manual_seed(seed)
    network = kind()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 0.3, 0.5)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0.1, 0.6)
    shown = copy.deepcopy(network)
    binarize(shown)
    for module in shown.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        shown(images(network, 8))
    statistics = {name: value for name, value in shown.state_dict().items() if "running" in name}
    network.load_state_dict(statistics, strict=False)
    return network.eval()


def latents(network: nn.Module) -> list[Tensor]:
    """Weights of the layers that are binary: all but the first and the last."""
    return [m.weight.data for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)][1:-1]


def binarize(network: Any) -> None:
    """What `--evaluate` does to weights before it tests, and the forward pass to gammas."""
    for weight in latents(network):
        weight -= weight.mean(1, keepdim=True)
        weight.clamp_(-1, 1)
        weight.copy_(weight.sign() * weight.abs().sum(tuple(range(1, weight.dim())), keepdim=True) / weight[0].numel())
    if network.least_gamma is not None:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
                module.weight.data.clamp_(min=network.least_gamma)


def images(network: Any, count: int = 3) -> Tensor:
    channels = next(m for m in network.modules() if isinstance(m, nn.Conv2d)).in_channels
    return torch.randn(count, channels, network.pixels, network.pixels, generator=torch.Generator().manual_seed(1))


def check(path: Path, network: Any) -> None:
    """A converted checkpoint beside a network whose weights are binary, in torch and in the engine."""
    found, x = from_xnor_net_pytorch(path), images(network)
    assert found.image == (network.pixels, network.pixels, x.shape[1])
    with torch.no_grad():
        expected = network(x)
        assert expected.std(0).max() > 0.1  # images are told apart
        torch.testing.assert_close(found(x), expected, rtol=1e-4, atol=1e-4)
    model = lower(found, x[:1])
    assert sum(isinstance(getattr(op, "weight", None), BitArray) for op in model.ops) == network.binary_layers
    np.testing.assert_allclose(Model(model).run(x.numpy()), expected.numpy(), rtol=1e-4, atol=1e-4)


def save(path: Path, network: nn.Module, prefix: str = "", zipped: bool = True, **beside: Any) -> Path:
    state = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": state, **beside}, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("kind", NETWORKS)
def test_latent_weights(tmp_path: Path, kind: Callable[[], Any]) -> None:
    network = trained(kind)
    path = save(tmp_path / "net.pth.tar", network, best_acc=86.28)
    binarize(network)
    check(path, network)


@pytest.mark.parametrize("kind", NETWORKS)
def test_weights_that_were_saved_binary_stay_what_they_are(tmp_path: Path, kind: Callable[[], Any]) -> None:
    network = trained(kind)
    binarize(network)
    check(save(tmp_path / "net.pth.tar", network), network)


def test_several_gpus(tmp_path: Path) -> None:
    """AlexNet's `features` alone are replicated, or the whole network is."""
    network = trained(AlexNet)
    state = {name.replace("features.", "features.module."): value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3, "arch": "alexnet"}, tmp_path / "features.pth.tar")
    path = save(tmp_path / "net.pth.tar", network, prefix="module.")
    binarize(network)
    check(tmp_path / "features.pth.tar", network)
    check(path, network)


def test_a_bare_state_dict(tmp_path: Path) -> None:
    network = trained(LeNet5)
    torch.save(network.state_dict(), tmp_path / "net.pth.tar")
    binarize(network)
    check(tmp_path / "net.pth.tar", network)


def as_python_2_on_a_gpu(pickled: bytes) -> bytes:
    """The same pickle with byte strings for text, tensors in a GPU's memory, and torch's names of before 0.4."""
    out, file = bytearray(), io.BytesIO(pickled)
    operations = list(pickletools.genops(file))
    for (opcode, argument, at), following in zip(
        operations, [*operations[1:], (None, None, len(pickled))], strict=True
    ):
        if opcode.name == "BINUNICODE":
            text = {"cpu": "cuda:0"}.get(argument, argument).encode()
            out += b"U" + struct.pack("<B", len(text)) + text
        elif opcode.name == "GLOBAL" and argument == "torch FloatStorage":
            out += b"ctorch.cuda\nFloatStorage\n"
        else:
            out += pickled[at : following[2]]
    return bytes(out)


def test_files_of_python_2(tmp_path: Path) -> None:
    """As the published ones are: five pickles, then the storages' bytes."""
    network = trained(LeNet5)
    for name in [name for name in network.state_dict() if name.endswith("num_batches_tracked")]:  # later than they
        del network.get_submodule(name.rpartition(".")[0])._buffers["num_batches_tracked"]
    path = save(tmp_path / "net.pth.tar", network, zipped=False, acc=99.23)
    written, at, pieces = path.read_bytes(), 0, []
    for _ in range(5):
        file = io.BytesIO(written[at:])
        *_, (_, _, stop) = pickletools.genops(file)
        pieces.append(written[at : at + stop + 1])
        at += stop + 1
    old = [*pieces[:3], as_python_2_on_a_gpu(pieces[3]), as_python_2_on_a_gpu(pieces[4])]
    assert b"cuda:0" in old[3]
    assert b"cpu" not in old[3]
    path.write_bytes(b"".join(old) + written[at:])
    binarize(network)
    check(path, network)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda s: s.pop("xnor.13.bias"),
            r"net.pth.tar: its network was changed: it has no 'xnor.13.bias'; load it in",
        ),
        (lambda s: s.update({"xnor.16.weight": torch.ones(3)}), r"was changed: it has a 'xnor.16.weight' too; load it"),
        (
            lambda s: s.pop("xnor.3.conv.weight"),
            r"of no network of XNOR-Net-PyTorch \(nin, AlexNet, LeNet-5\); load it",
        ),
        (lambda s: s.update({"xnor.3.bn.weight": torch.ones(5)}), r"node 'xnor.3.bn' \(BatchNormalization\): "),
        (lambda s: s.update({"xnor.7.conv.weight": torch.randn(20, 4, 1, 1)}), r"node 'xnor.7.conv' \(Conv\): "),
    ],
)
def test_changed_networks_are_refused(tmp_path: Path, change: Callable[[dict[str, Tensor]], Any], said: str) -> None:
    state = dict(trained(Nin).state_dict())
    change(state)
    torch.save({"state_dict": state}, tmp_path / "net.pth.tar")
    with pytest.raises(UnsupportedError, match=said):
        from_xnor_net_pytorch(tmp_path / "net.pth.tar")


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth.tar"
    with pytest.raises(FormatError, match=r"net.pth.tar: no such file"):
        from_xnor_net_pytorch(path)
    for held in (nn.Linear(2, 2), {"state_dict": nn.Linear(2, 2)}):
        torch.save(held, path)
        with pytest.raises(FormatError, match=r"or no checkpoint of tensors alone; where you trust it load it with"):
            from_xnor_net_pytorch(path)
    for other in ([1], {"state_dict": [1]}, {"state_dict": {"a": 1}}):
        torch.save(other, path)
        with pytest.raises(FormatError, match=r"holds no state_dict; give a checkpoint as XNOR-Net-PyTorch saves it"):
            from_xnor_net_pytorch(path)
    whole = save(path, trained(LeNet5)).read_bytes()
    for damaged in (b"", b"no checkpoint", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match=r"net.pth.tar: is damaged, or no checkpoint of tensors alone"):
            from_xnor_net_pytorch(path)


def test_the_command(tmp_path: Path, run: Run) -> None:
    network = trained(LeNet5)
    path, made = save(tmp_path / "lenet.pth.tar", network), tmp_path / "lenet.safetensors"
    status, out, err = run("convert", path, "-o", made, "--mean", "0.1307", "--std", "0.3081")
    assert (status, err) == (0, "")
    assert "preprocessing: 28x28 (bilinear), mean 0.1307, std 0.3081 of pixels in 0..1" in out
    model = format.read(made)
    assert model.provenance == {"converted": {"from": "XNOR-Net-PyTorch", "file": "lenet.pth.tar"}}
    binarize(network)
    x = images(network)
    with torch.no_grad():
        np.testing.assert_allclose(Model(model).run(x.numpy()), network(x).numpy(), rtol=1e-4, atol=1e-4)
    copied = shutil.copy(path, tmp_path / "lenet.ckpt")
    for words, code, said in (
        (("convert", path, "-o", made, "--size", "32"), 2, "--size 32,32: "),
        (("convert", path, "-o", made, "--binary-weights"), 2, "XNOR-Net-PyTorch says it itself"),
        (("pack", path, "-o", made), 2, "`xnornet convert` packs networks of other frameworks"),
        (("pack", copied, "-o", made), 1, "pack one of XNOR-Net-PyTorch with `xnornet convert`"),
    ):
        status, _, err = run(*words)
        assert status == code
        assert said in err
        assert len(err.splitlines()) == 1
