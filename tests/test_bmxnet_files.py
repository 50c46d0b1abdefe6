"""Networks of BMXNet, converted: beside what its operators are defined to compute, and networks trained with it."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from xnornet.convert import from_bmxnet, lower  # noqa: E402
from xnornet.convert.from_foreign import pack_foreign  # noqa: E402
from xnornet.engine import Model  # noqa: E402
from xnornet.errors import FormatError, UnsupportedError  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared"
BMXNET, CIFAR10 = SHARED / "interop" / "bmxnet", SHARED / "data" / "cifar10"
TRAINED = {  # name: shape of the images, bytes of BMXNet's file
    "binarized_cifar10-resnet18-64bit-0000": (3, 32, 32),
    "binarized_imagenet-resnet18-64bit-0040": (3, 224, 224),
    "binarized_mnist_64bit-0001": (1, 28, 28),
}
need_trained = pytest.mark.skipif(
    not BMXNET.is_dir(), reason="BMXNet's networks are not beside the repository (shared/interop/bmxnet)"
)


def words(signs: np.ndarray) -> np.ndarray:
    """Rows of 64 signs as BMXNet's words: bit i is 1 where sign i is +1; stored as 64-bit floats."""
    return np.packbits(signs.reshape(-1, 64) > 0, axis=1, bitorder="little").view("<f8").ravel()


def write_params(path: Path, arrays: dict[str, np.ndarray], newer: bool = False) -> None:
    """As MXNet's NDArray::Save, before version 1.0 or since."""
    out = [struct.pack("<QQQ", 0x112, 0, len(arrays))]
    for array in arrays.values():
        if newer:
            out.append(struct.pack(f"<IiI{array.ndim}q", 0xF993FAC9, 0, array.ndim, *array.shape))
        else:
            out.append(struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape))
        out.append(struct.pack("<iii", 1, 0, {"f": 0, "d": 1}[array.dtype.char]) + array.tobytes())
    out.append(struct.pack("<Q", len(arrays)))
    out += [struct.pack("<Q", len(name)) + name.encode() for name in arrays]
    path.write_bytes(b"".join(out))


class Symbol:
    """A network in the making, as MXNet describes one."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[dict[str, object]] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.variable("data")

    def variable(self, name: str, array: np.ndarray | None = None, kind: str = "arg") -> int:
        self.nodes.append({"op": "null", "name": name, "inputs": []})
        if array is not None:
            self.arrays[f"{kind}:{name}"] = array
        return len(self.nodes) - 1

    def drawn(self, name: str, *shape: int) -> int:
        return self.variable(name, self.rng.normal(size=shape).astype(np.float32))

    def add(self, op: str, name: str, *inputs: int, **attributes: object) -> int:
        given = {key: str(value) for key, value in attributes.items()}
        self.nodes.append({"op": op, "name": name, "attr": given, "inputs": [[i, 0, 0] for i in inputs]})
        return len(self.nodes) - 1

    def norm(self, name: str, x: int, channels: int, **attributes: object) -> int:
        gamma, beta = (self.drawn(f"{name}_{part}", channels) for part in ("gamma", "beta"))
        mean = self.variable(f"{name}_moving_mean", self.rng.normal(size=channels).astype("f"), "aux")
        variance = self.variable(f"{name}_moving_var", self.rng.uniform(0.5, 2, channels).astype("f"), "aux")
        return self.add("BatchNorm", name, x, gamma, beta, mean, variance, **attributes)

    def write(self, folder: Path, head: int, newer: bool = False) -> Path:
        (folder / "net-symbol.json").write_text(json.dumps({"nodes": self.nodes, "heads": [[head, 0, 0]]}))
        write_params(folder / "net-0007.params", self.arrays, newer)
        return folder / "net-0007.params"


def matches(x: torch.Tensor, weight: np.ndarray, **window: int) -> torch.Tensor:
    """How many of a window's products of signs are +1, zeros in the padding being +1 too."""
    signs = torch.where(F.pad(x, [window.pop("pad")] * 4) >= 0, 1.0, -1.0)
    return (F.conv2d(signs, torch.from_numpy(weight), **window) + weight[0].size) / 2


@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize("packed", [True, False])
def test_a_network_by_its_definition(packed: bool, newer: bool, tmp_path: Path) -> None:
    net = Symbol()
    rng = net.rng
    data = net.norm("bn_data", 0, 3, fix_gamma=True, eps=2e-5)
    first = net.add(
        "Convolution", "conv0", data, net.drawn("conv0_weight", 64, 3, 3, 3), kernel="(3, 3)", pad="(1, 1)",
        no_bias=True, num_filter=64,
    )  # fmt: skip
    pooled = net.add("Pooling", "pool0", first, kernel="(3, 3)", pad="(1, 1)", stride="(2, 2)", pool_type="max")
    normed = net.norm("bn1", pooled, 64, fix_gamma=False, eps=2e-5)
    signs = net.add("QActivation", "act1", normed, act_bit=1, backward_only=True)
    latent = rng.normal(size=(64, 64, 3, 3)).astype(np.float32)
    told = {"act_bit": 1, **({"binarized_weights_only": True} if packed else {})}
    weight = net.variable("conv1_weight", words(latent) if packed else latent)
    inner = net.add(
        "QConvolution", "conv1", signs, weight, kernel="(3, 3)", pad="(1, 1)", stride="(2, 2)", num_filter=64, **told,
    )  # fmt: skip
    narrow = rng.normal(size=(64, 64, 1, 1)).astype(np.float32)
    weight = net.variable("sc_weight", words(narrow) if packed else narrow)
    short = net.add("QConvolution", "sc", signs, weight, kernel="(1, 1)", stride="(2, 2)", num_filter=64, **told)
    total = net.add("elemwise_add", "_plus0", inner, short)
    bent = net.add("Activation", "act2", net.norm("bn2", total, 64, fix_gamma=False), act_type="tanh")
    flat = net.add("Flatten", "flatten0", bent)
    dense = rng.normal(size=(20, 64 * 4)).astype(np.float32)
    # A dense layer's words stand word by word of all outputs.
    stored = words(dense).reshape(20, -1).T.ravel() if packed else dense
    hidden = net.add("QFullyConnected", "fc1", flat, net.variable("fc1_weight", stored), num_hidden=20, **told)
    normed = net.norm("bn3", hidden, 20)
    logits = net.add("FullyConnected", "fc2", normed, net.drawn("w", 5, 20), net.drawn("b", 5), num_hidden=5)
    path = net.write(tmp_path, net.add("SoftmaxOutput", "softmax", logits, net.variable("softmax_label")), newer)

    def norm(x: torch.Tensor, name: str, eps: float, fixed: bool = False) -> torch.Tensor:
        gamma, beta = (torch.from_numpy(net.arrays[f"arg:{name}_{part}"]) for part in ("gamma", "beta"))
        mean, variance = (torch.from_numpy(net.arrays[f"aux:{name}_moving_{part}"]) for part in ("mean", "var"))
        return F.batch_norm(x, mean, variance, torch.ones_like(gamma) if fixed else gamma, beta, eps=eps)

    x = torch.from_numpy(rng.normal(size=(4, 3, 8, 8)).astype(np.float32))
    expected = F.conv2d(norm(x, "bn_data", 2e-5, True), torch.from_numpy(net.arrays["arg:conv0_weight"]), padding=1)
    expected = norm(F.max_pool2d(expected, 3, 2, 1), "bn1", 2e-5)
    ones = {name: np.where(given >= 0, np.float32(1), np.float32(-1)) for name, given in (("3", latent), ("1", narrow))}
    expected = matches(expected, ones["3"], pad=1, stride=2) + matches(expected, ones["1"], pad=0, stride=2)
    expected = torch.tanh(norm(expected, "bn2", 2e-5)).flatten(1)
    binary = torch.where(expected >= 0, 1.0, -1.0) @ torch.where(torch.from_numpy(dense) >= 0, 1.0, -1.0).T
    expected = norm((binary + dense.shape[1]) / 2, "bn3", 1e-3, True)
    expected = F.linear(expected, torch.from_numpy(net.arrays["arg:w"]), torch.from_numpy(net.arrays["arg:b"]))

    network = from_bmxnet(path)
    assert network.image == (None, None, 3)
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-3)
    model = lower(network, x[:1])
    kinds = [op.kind for op in model.ops]
    assert kinds.count("binary_conv2d") == 2
    assert kinds.count("binary_linear") == 1
    np.testing.assert_allclose(Model(model).run(x.numpy()), network(x).numpy(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"act_bit": 2}, "act_bit is 2; only 1 is known"),
        ({}, "act_bit is left out; only 1 is known"),
        ({"act_bit": 1, "scaling_mode": "forward"}, "scaled sums \\(scaling_mode forward\\) are not known"),
        ({"act_bit": 1, "scaling_factor": "true"}, "scaled sums"),
        ({"act_bit": 1, "no_bias": 0}, "a bias of a binary layer"),
    ],
)
def test_what_is_not_known_is_named(attributes: dict[str, object], said: str, tmp_path: Path) -> None:
    net = Symbol()
    weight = net.drawn("q_weight", 8, 3, 3, 3)
    path = net.write(tmp_path, net.add("QConvolution", "q", 0, weight, kernel="(3, 3)", num_filter=8, **attributes))
    with pytest.raises(UnsupportedError, match=rf"net-symbol.json: 'q_weight': {said}"):
        from_bmxnet(path)


@pytest.mark.parametrize("counted", ["True", "False"])
def test_averages_that_count_padding_or_not(counted: str, tmp_path: Path) -> None:
    net = Symbol()
    told = {"kernel": "(3, 3)", "pad": "(1, 1)", "stride": "(1, 1)", "pool_type": "avg"}
    conv = net.add("Convolution", "c", 0, net.drawn("w", 8, 3, 1, 1), kernel="(1, 1)", num_filter=8, no_bias=True)
    path = net.write(tmp_path, net.add("Pooling", "mean", conv, count_include_pad=counted, **told))
    x = torch.randn(2, 3, 5, 5)
    expected = F.avg_pool2d(
        F.conv2d(x, torch.from_numpy(net.arrays["arg:w"])), 3, 1, 1, count_include_pad=counted == "True"
    )
    torch.testing.assert_close(from_bmxnet(path)(x), expected)


def test_an_operator_that_is_not_known(tmp_path: Path) -> None:
    net = Symbol()
    with pytest.raises(UnsupportedError, match="node 'up': the operator UpSampling is not known"):
        from_bmxnet(net.write(tmp_path, net.add("UpSampling", "up", 0)))


def test_files_that_are_damaged(tmp_path: Path) -> None:
    net = Symbol()
    path = net.write(
        tmp_path, net.add("Convolution", "c", 0, net.drawn("w", 8, 3, 3, 3), kernel="(3, 3)", num_filter=8)
    )
    whole = path.read_bytes()
    for cut in (0, 7, 30, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(FormatError, match=r"net-0007.params: is (damaged|no file)"):
            from_bmxnet(path)
    path.write_bytes(whole + b"more")
    with pytest.raises(FormatError, match="4 bytes more"):
        from_bmxnet(path)
    path.write_bytes(whole)
    (tmp_path / "net-symbol.json").write_text("{")
    with pytest.raises(FormatError, match="is no description of a network"):
        from_bmxnet(path)
    (tmp_path / "net-symbol.json").unlink()
    with pytest.raises(FormatError, match=r"'net-symbol.json', which describes the network, is not beside it"):
        from_bmxnet(path)
    path.unlink()
    with pytest.raises(FormatError, match="no such file"):
        from_bmxnet(path)


@need_trained
@pytest.mark.parametrize("name", TRAINED)
def test_trained_networks_yield_the_same_in_torch_and_in_the_engine(name: str, tmp_path: Path) -> None:
    channels, height, width = TRAINED[name]
    source = BMXNET / f"{name}.params"
    packed = pack_foreign(source, tmp_path / "net.safetensors", size=(height, width), raw_pixels=channels == 3)
    assert (tmp_path / "net.safetensors").stat().st_size < 1.1 * source.stat().st_size
    pixels = np.random.default_rng(0).integers(0, 256, (3, height, width, channels), np.uint8)
    whole = 1 if channels == 3 else 255
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / whole
    logits = Model(packed).run(pixels)
    np.testing.assert_allclose(logits, from_bmxnet(source)(x).numpy(), rtol=1e-4, atol=1e-3)


@need_trained
@pytest.mark.skipif(not CIFAR10.is_dir(), reason="CIFAR-10 is not beside the repository (shared/data/cifar10)")
def test_a_trained_network_knows_its_classes(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    from PIL import Image

    packed = pack_foreign(
        BMXNET / "binarized_cifar10-resnet18-64bit-0000.params", tmp_path / "c", size=(32, 32), raw_pixels=True
    )
    rows = parquet.read_table(next(CIFAR10.glob("test*.parquet"))).slice(0, 1000).to_pylist()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")) for row in rows])
    right = Model(packed).run(pixels).argmax(1) == np.array([row["label"] for row in rows])
    assert right.mean() > 0.84
