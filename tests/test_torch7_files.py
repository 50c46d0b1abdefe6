"""Networks of Torch7, converted: beside what their modules are defined to compute, from files as `torch.save` has them.

The authors' networks themselves are not at hand; the files written here have their modules, names and layout.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from xnornet import format  # noqa: E402
from xnornet.bits import BitArray  # noqa: E402
from xnornet.convert import from_torch7, lower  # noqa: E402
from xnornet.convert.foreign.torch7_objects import TorchObject, read_torch7  # noqa: E402
from xnornet.engine import Model  # noqa: E402
from xnornet.errors import FormatError, UnsupportedError  # noqa: E402

from .command import Run  # noqa: E402
from .torch7_writer import Closure, Modules, Storage, View, end, module, pool, relu, save  # noqa: E402

CLASSES = 7


def binary(net: Modules, inputs: int, outputs: int, k: int, pad: int = 0, *, pooled: bool = False) -> TorchObject:
    """As the authors' BinConvolution and BinMaxConvolution."""
    parts = [net.norm(inputs), module("nn.Sequential", module("nn.BinActiveZ")), net.conv(inputs, outputs, k, 1, pad)]
    return module("nn.Sequential", *parts, *[pool(3, 2)] * pooled)


def alexnet_xnor(net: Modules) -> TorchObject:
    """models/alexnetxnor.lua, of fewer layers and filters, for images of 47 pixels."""
    return module(
        "nn.Sequential",
        net.conv(3, 8, 11, 4, 2), net.norm(8, 1e-5), relu(), pool(3, 2),
        binary(net, 8, 16, 5, 2, pooled=True),
        binary(net, 16, 24, 2),
        net.norm(24, 1e-3), relu(), net.conv(24, CLASSES, 1),
        *end(CLASSES),
    )  # fmt: skip


def alexnet(net: Modules) -> TorchObject:
    """models/alexnet.lua, likewise."""

    def layer(*shape: int) -> TorchObject:
        return module("nn.Sequential", net.conv(*shape), net.norm(shape[1], 1e-3), relu())

    return module(
        "nn.Sequential",
        layer(3, 8, 11, 4, 2), pool(3, 2),
        layer(8, 16, 5, 1, 2), pool(3, 2), module("nn.SpatialDropout", p=0.1, noise=net.normal(4, 16, 1, 1)),
        layer(16, 24, 2),
        net.conv(24, CLASSES, 1),
        *end(CLASSES),
    )  # fmt: skip


def conv(x: Tensor, of: TorchObject, *, signs: bool) -> Tensor:
    """cudnn.SpatialConvolution, its weights as binarizeConvParms leaves them."""
    weight = torch.from_numpy(of["weight"])
    if signs:
        weight = weight.sign() * weight.abs().sum(dim=(1, 2, 3), keepdim=True) / weight[0].numel()
    return F.conv2d(x, weight, torch.from_numpy(of["bias"]), of["dW"], of["padW"], groups=of.get("groups", 1))


def norm(x: Tensor, of: TorchObject) -> Tensor:
    mean, var, weight, bias = (torch.from_numpy(of[name]) for name in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias, eps=of["eps"])


def parts(of: TorchObject) -> list[TorchObject]:
    return list(of["modules"].values())


def expected_xnor(net: TorchObject, x: Tensor) -> Tensor:
    first, bn, _, _, one, two, last_bn, _, last, *_ = parts(net)
    x = F.max_pool2d(norm(conv(x, first, signs=False), bn).relu(), 3, 2)
    for block in (one, two):
        bn, _, layer, *pooled = parts(block)
        x = conv(norm(x, bn).sign(), layer, signs=True)
        x = F.max_pool2d(x, 3, 2) if pooled else x
    return conv(norm(x, last_bn).relu(), last, signs=False).flatten(1)


def expected_bwn(net: TorchObject, x: Tensor, *, signs: bool) -> Tensor:
    one, _, two, _, dropout, three, last, *_ = parts(net)
    for block, pooled, inner in ((one, True, False), (two, True, True), (three, False, True)):
        layer, bn, _ = parts(block)
        x = norm(conv(x, layer, signs=signs and inner), bn).relu()
        x = F.max_pool2d(x, 3, 2) if pooled else x
        x = x * (1 - dropout["p"]) if block is two else x
    return conv(x, last, signs=False).flatten(1)


def check(network: Any, x: Tensor, expected: Tensor, binary_layers: int) -> None:
    """A converted network, in torch and in the engine."""
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-3)
    model = lower(network, x[:1])
    assert sum(isinstance(getattr(op, "weight", None), BitArray) for op in model.ops) == binary_layers
    np.testing.assert_allclose(Model(model).run(x.numpy()), expected.numpy(), rtol=1e-4, atol=1e-3)


@pytest.fixture
def images() -> Tensor:
    return torch.from_numpy(Modules(1).normal(3, 3, 47, 47))


@pytest.mark.parametrize("where", ["", "Cuda"])
def test_binary_inputs(tmp_path: Path, images: Tensor, where: str) -> None:
    net = alexnet_xnor(Modules())
    network = from_torch7(save(tmp_path / "net.t7", net, where=where))
    assert network.image == (None, None, 3)
    assert (network.mean, network.std, network.labels) == (None, None, None)
    check(network, images, expected_xnor(net, images), 2)


def test_binary_weights(tmp_path: Path, images: Tensor) -> None:
    """What weights stand for cannot be seen; that of one bit they are, can."""
    net = alexnet(Modules())
    path = save(tmp_path / "net.t7", net)
    with pytest.raises(UnsupportedError, match=r"net.t7: its weights are real, .* give --binary-weights where it was"):
        from_torch7(path)
    check(from_torch7(path, binary_weights=True), images, expected_bwn(net, images, signs=True), 2)
    check(from_torch7(path, binary_weights=False), images, expected_bwn(net, images, signs=False), 0)
    for block in (parts(net)[2], parts(net)[5]):
        weight = parts(block)[0]["weight"]
        weight[:] = np.where(weight >= 0, 1, -1) * np.abs(weight).mean(axis=(1, 2, 3), keepdims=True)
    check(from_torch7(save(path, net)), images, expected_bwn(net, images, signs=False), 2)


def test_blocks_with_shortcuts_and_branches(tmp_path: Path) -> None:
    """As fb.resnet.torch and Inception have them, saved from several GPUs."""
    net = Modules()
    grouped, halves = net.conv(8, 8, 3, 1, 1, groups=2), [net.conv(8, 4, 1), net.conv(8, 4, 1)]
    first, last = net.conv(3, 8, 3, 1, 1), module("nn.Linear", weight=net.normal(5, 8), bias=net.normal(5))
    table = module("nn.Sequential", module("nn.ConcatTable", grouped, module("nn.Identity")), module("nn.CAddTable"))
    network = module(
        "nn.Sequential",
        first,
        table,
        module("nn.Concat", *halves, dimension=2),
        module("nn.ConcatTable", module("nn.Identity"), relu()), module("nn.JoinTable", dimension=2),
        module("nn.Sequential", net.conv(16, 8, 1), module("nn.HardTanh", min_val=-2, max_val=0.5)),
        pool(4, 4, "cudnn.SpatialAveragePooling"),
        module("nn.Reshape", size=Storage(np.array([8]))),
        module("nn.Dropout", p=0.5, v2=True),
        last,
    )  # fmt: skip
    replicas = module("nn.DataParallelTable", network, network, dimension=1)
    x = torch.from_numpy(net.normal(2, 3, 4, 4))
    y = conv(x, first, signs=False)
    y = conv(y, grouped, signs=False) + y
    y = torch.cat([conv(y, half, signs=False) for half in halves], 1)
    y = torch.cat([y, y.relu()], 1)
    y = conv(y, parts(parts(network)[5])[0], signs=False).clamp(-2, 0.5).mean(dim=(2, 3))
    expected = F.linear(y, torch.from_numpy(last["weight"]), torch.from_numpy(last["bias"]))
    for how in ({}, {"where": "Cuda", "replicas": 3}):
        check(from_torch7(save(tmp_path / "net.t7", replicas, **how), binary_weights=False), x, expected, 0)
    ended = module("nn.Sequential", replicas, module("nn.SoftMax"))
    check(from_torch7(save(tmp_path / "net.t7", ended, replicas=2), binary_weights=False), x, expected, 0)


def test_what_older_versions_saved(tmp_path: Path) -> None:
    """Inverse deviations, sums of windows, matrices for filters, one padding for both axes, dropout that scales."""
    net = Modules()
    first, last = net.conv(3, 8, 3, 2, 1), net.conv(8, 4, 2)
    bn = net.norm(8)
    old_bn = module(bn.type, **{k: v for k, v in bn.fields.items() if k != "running_var"})
    old_bn.fields["running_std"] = (bn["running_var"] + np.float32(bn["eps"])) ** np.float32(-0.5)
    fields = {k: v for k, v in first.fields.items() if k not in ("padW", "padH")}
    flat = module("nn.SpatialConvolutionMM", **{**fields, "padding": 1, "weight": first["weight"].reshape(8, -1)})
    old = module(
        "nn.Sequential", flat, old_bn, module("nn.Threshold", threshold=0, val=0), module("nn.Dropout", p=0.25),
        pool(2, 2, "nn.SpatialAveragePooling"), last, *end(4),
    )  # fmt: skip
    x = torch.from_numpy(net.normal(2, 3, 8, 8))
    y = norm(conv(x, first, signs=False), bn).relu() * 0.75
    expected = conv(F.avg_pool2d(y, 2) * 4, last, signs=False).flatten(1)
    path = save(tmp_path / "net.t7", old, version=False)
    torch.testing.assert_close(from_torch7(path)(x), expected, rtol=1e-4, atol=1e-4)
    old.fields["modules"][5].fields["divide"] = True
    expected = conv(F.avg_pool2d(y, 2), last, signs=False).flatten(1)
    torch.testing.assert_close(from_torch7(save(path, old))(x), expected, rtol=1e-4, atol=1e-4)


def test_another_reader_reads_what_is_written_here(tmp_path: Path) -> None:
    """So that our reader is not tested with our own misunderstandings of the format."""
    torchfile = pytest.importorskip("torchfile")
    weight = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    shared = {1: "cat", 2: "dog"}
    value = {
        "classes": shared, "again": shared, "yes": True, "nothing": None, "number": 0.25, "weight": weight,
        "part": weight[1, :, 1:3], "long": np.arange(3), "half": np.zeros(0, np.float32),
        "net": TorchObject("nn.Sequential", {"modules": {1: TorchObject("nn.ReLU", {"inplace": True})}}),
    }  # fmt: skip
    path = save(tmp_path / "value.t7", value)
    theirs, ours = torchfile.load(str(path)), read_torch7(path)
    assert [name.decode() for name in theirs[b"classes"]] == list(ours["classes"].values()) == ["cat", "dog"]
    assert theirs[b"again"] is theirs[b"classes"]
    assert ours["again"] is ours["classes"]
    for name in ("yes", "nothing", "number"):
        assert ours[name] == theirs[name.encode()] == value[name]
    for name in ("weight", "part", "long", "half"):
        np.testing.assert_array_equal(ours[name], value[name])
        np.testing.assert_array_equal(theirs[name.encode()], value[name])
        assert ours[name].dtype == value[name].dtype
    assert theirs[b"net"].modules[0].inplace is True
    assert (ours["net"].type, ours["net"]["modules"][1]["inplace"]) == ("nn.Sequential", True)


def test_functions_are_passed_over(tmp_path: Path) -> None:
    value: dict[Any, Any] = {"before": 1, "hook": Closure(), "after": "two"}
    value["itself"] = value
    found = read_torch7(save(tmp_path / "value.t7", value))
    assert (found["before"], found["hook"], found["after"]) == (1, None, "two")
    assert found["itself"] is found


def write_cache(folder: Path) -> None:
    """What the authors' donkey.lua leaves: numbers, and a loader with functions and paths."""
    folder.mkdir()
    save(folder / "meanstdCache.t7", {"mean": {1: 0.48, 2: 0.46, 3: 0.41}, "std": {1: 0.27, 2: 0.26, 3: 0.28}})
    loader = {
        "sampleHookTrain": Closure(),
        "classes": dict(enumerate(map(str, "gfedcba"), 1)),
        "imagePath": np.zeros((3, 9), np.int8),
    }
    save(folder / "trainCache.t7", TorchObject("dataLoader", loader))


def test_the_command(run: Run, tmp_path: Path) -> None:
    source, made = save(tmp_path / "alexnet_XNOR.t7", alexnet_xnor(Modules())), tmp_path / "net.safetensors"
    words = ["convert", source, "-o", made, "--size", "47", "--resize", "50"]
    status, out, err = run(*words, "--mean", "0.5")
    assert (status, err) == (0, "")
    assert "mean 0.5 0.5 0.5, std 1 1 1" in out
    assert format.read(made).labels == tuple(map(str, range(CLASSES)))
    assert run(*words[:4])[::2] == (
        2,
        f"xnornet: {source}: the file does not say the size of its images; give --size\n",
    )
    write_cache(tmp_path / "cache")
    status, out, err = run(*words)
    assert (status, err) == (0, "")
    model = format.read(made)
    assert model.labels == tuple("gfedcba")
    assert (model.preprocess.mean, model.preprocess.std) == ((0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
    assert (model.preprocess.size, model.preprocess.resize) == ((47, 47), 50)
    assert model.provenance == {"converted": {"from": "Torch7", "file": "alexnet_XNOR.t7"}}
    assert json.loads(run("inspect", made, "--json")[1])["labels"] == list("gfedcba")
    assert run(*words, "--mean", "0.5")[0] == 0
    assert format.read(made).preprocess.mean == (0.5,) * 3
    said = f"the mean cached beside {source} 0.48,0.46,0.41: its pixels are of 0 to 1; leave --raw-pixels out, or give"
    assert run(*words, "--raw-pixels")[::2] == (2, f"xnornet: {said} --mean\n")
    assert run(*words, "--raw-pixels", "--mean", "122", "--std", "60")[0] == 0
    assert format.read(made).preprocess.std == (60 / 255,) * 3
    save(tmp_path / "meanstdCache.t7", {"mean": np.array([123.0, 117, 104]), "std": {1: 58.0, 2: 57.0, 3: 57.0}})
    said = f"the mean cached beside {source} 123,117,104: pixels are of 0 to 1; give --raw-pixels as well"
    assert run(*words)[::2] == (2, f"xnornet: {said}\n")
    assert run(*words, "--raw-pixels")[0] == 0
    assert format.read(made).preprocess.mean == (123 / 255, 117 / 255, 104 / 255)
    (tmp_path / "names.txt").write_text("a\nb\n")
    said = f"--labels {tmp_path / 'names.txt'}: 2 names for 7 classes; give --labels with a name for each"
    assert run(*words, "--raw-pixels", "--labels", tmp_path / "names.txt")[::2] == (2, f"xnornet: {said}\n")
    save(tmp_path / "trainCache.t7", {"classes": {1: "a"}})
    said = f"the classes cached beside {source}: 1 names for 7 classes; give --labels with a name for each"
    assert run(*words, "--raw-pixels")[::2] == (2, f"xnornet: {said}\n")
    (tmp_path / "net.onnx").write_bytes(b"")
    status, _, err = run("convert", tmp_path / "net.onnx", "--binary-weights")
    assert (status, err.count("\n")) == (2, 1)
    assert "--binary-weights and --real-weights are for Torch7's .t7; ONNX says it itself" in err


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"epoch": 3}, "holds no network of Torch7's, but a dict"),
        (3, "holds no network of Torch7's, but a float"),
        (TorchObject("dataLoader", {}), "holds no network of Torch7's, but a dataLoader"),
        (TorchObject("nn.Sequential", {"modules": {2: relu()}}), "a module lacks what it needs .KeyError: 1."),
        (module("nn.Sequential", module("nn.SpatialConvolution")), "a module lacks what it needs .KeyError: 'kH'."),
    ],
)  # fmt: skip
def test_files_of_something_else(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(FormatError, match=f"value.t7: {said}"):
        from_torch7(save(tmp_path / "value.t7", value))


def test_what_is_not_known_is_named(tmp_path: Path) -> None:
    net = Modules()
    conv = net.conv(3, 4, 3)
    for modules, said in (
        ([conv, module("nn.Sequential", relu(), module("nn.SpatialUpSamplingNearest"))],
         r"module 2.2 is a nn.SpatialUpSamplingNearest, which is not known; there are BatchNormalization, BinActiveZ"),
        ([conv, module("nn.Threshold", threshold=0, val=1e-6)],
         "module 2 is a Threshold that makes 1e-06 of all that is not above 0; only ReLU's, 0 and 0, is known"),
        ([conv, module("nn.SoftMax"), relu()], "a SoftMax within it is not known, only one behind the logits"),
        ([conv, module("nn.SoftMax"), module("nn.LogSoftMax")], "module 3 is a second LogSoftMax; only one, behind"),
        ([conv, module("nn.CAddTable")], "module 2 has one value where it takes a table of them"),
        ([conv, module("nn.Concat", relu(), relu(), dimension=3)], "module 2 joins axis 3; only channels, axis 2"),
        ([conv, module("nn.ConcatTable", relu(), relu())], "the network has a table of 2 values where only"),
        ([relu()], "it holds no convolution; only networks of images can be packed"),
    ):  # fmt: skip
        with pytest.raises(UnsupportedError, match=f"net.t7: {said}"):
            from_torch7(save(tmp_path / "net.t7", module("nn.Sequential", *modules)))
    with pytest.raises(UnsupportedError, match="net.t7: the network is a nn.gModule, which is not known; there are"):
        from_torch7(save(tmp_path / "net.t7", module("nn.gModule", conv)))


def test_views(tmp_path: Path) -> None:
    """One number is a vector of features, three are a map, and what else cannot be packed is refused."""
    net = Modules()
    conv, last = net.conv(3, 8, 4), net.conv(8, 5, 1)
    view = module("nn.View", size=Storage(np.array([8, 1, 1])))
    network = module("nn.Sequential", conv, module("nn.Reshape", size=Storage(np.array([8]))), view, last, *end(5))
    x = torch.from_numpy(net.normal(2, 3, 4, 4))
    expected = F.conv2d(F.conv2d(x, *weights_of(conv)), *weights_of(last)).flatten(1)
    check(from_torch7(save(tmp_path / "net.t7", network), binary_weights=False), x, expected, 0)
    view.fields["size"] = Storage(np.array([-1, 8]))  # as many rows as images
    flat = module(
        "nn.Sequential", conv, view, module("nn.Linear", weight=last["weight"][:, :, 0, 0], bias=last["bias"])
    )
    check(from_torch7(save(tmp_path / "net.t7", flat), binary_weights=False), x, expected, 0)
    view.fields["size"] = Storage(np.array([2, 4]))
    with pytest.raises(UnsupportedError, match="node 'reshape_3' .*: from .2, 8. to .2, 2, 4."):
        from_torch7(save(tmp_path / "net.t7", network), binary_weights=False)(x)


def weights_of(of: TorchObject) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(of["weight"]), torch.from_numpy(of["bias"])


def test_caches_of_something_else(tmp_path: Path) -> None:
    path = save(tmp_path / "net.t7", alexnet_xnor(Modules()))
    for name, said in (
        ("meanstdCache.t7", "holds no mean of each channel; move it away, and give --mean"),
        ("trainCache.t7", "holds no table of classes; move it away, and give --labels"),
    ):
        for held in (
            {}, 3, {"mean": 1, "classes": 2}, {"mean": "grey", "classes": "cats"}, np.arange(3.0),
            {"mean": {}, "classes": {1: 5}}, {"mean": {1: 0.5, 2: 0.5}, "classes": {1: "caf\udce9"}},
            {"mean": np.array([0.5, np.nan, 0.5]), "classes": {1: {}}},
        ):  # fmt: skip
            save(tmp_path / name, held)
            with pytest.raises(FormatError, match=f"{name}: {said}"):
                from_torch7(path)
        (tmp_path / name).unlink()
    save(tmp_path / "meanstdCache.t7", {"mean": np.array([0.25, 0.5, 0.75]), "std": np.ones(3)})
    assert from_torch7(path).mean == (0.25, 0.5, 0.75)


def test_files_that_are_cut_short(tmp_path: Path) -> None:
    path = save(tmp_path / "net.t7", {"classes": {1: "cat"}, "weight": np.arange(6.0).reshape(2, 3), "hook": Closure()})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError, match="net.t7: is damaged, or no file of Torch7's in its binary form"):
            read_torch7(path)
    for damaged in (whole + b"\0", whole.replace(b"torch.DoubleStorage", b"torch.StrangeStorag")):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match="net.t7: is damaged"):
            read_torch7(path)
    path.unlink()
    with pytest.raises(FormatError, match="net.t7: no such file"):
        read_torch7(path)


def test_objects_that_are_nested_too_deep(tmp_path: Path) -> None:
    value = relu()
    for _ in range(300):
        value = module("nn.Sequential", value)
    with pytest.raises(FormatError, match="net.t7: its objects are nested too deep to be read"):
        from_torch7(save(tmp_path / "net.t7", value))


def test_modules_that_are_shared_by_the_billion(tmp_path: Path) -> None:
    """Each of them stands in the file once."""
    value = relu()
    for _ in range(40):
        value = module("nn.Sequential", value, value)
    path = save(tmp_path / "net.t7", value)
    assert path.stat().st_size < 20_000
    with pytest.raises(UnsupportedError, match=r"net.t7: it holds more than 10,000 modules"):
        from_torch7(path)


def test_tensors_lie_within_the_file(tmp_path: Path) -> None:
    one, some = np.ones(1, np.float32), np.ones(1 << 20, np.float32)
    expanded = View(np.lib.stride_tricks.as_strided(one, (1 << 30,), (0,)), one)
    assert read_torch7(save(tmp_path / "value.t7", expanded)).size == 0  # as a buffer may be that nobody looks at
    halves, square = View(some[:8:2], Storage(some[:8])), View(some[:4].reshape(2, 2), Storage(some[:4]))
    same = View(np.lib.stride_tricks.as_strided(some, (4,), (0,)), Storage(some[:4]))
    for storage, size in ((expanded, 1 << 20), (halves, 4), (same, 4), (square, 2), (Storage(some[:3]), 4)):
        with pytest.raises(FormatError, match="value.t7: is damaged"):
            read_torch7(save(tmp_path / "value.t7", View(some[:size], storage)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("damaged") / "net.t7"
    small = module("nn.Sequential", Modules().conv(2, 3, 1), relu(), Modules().conv(3, 2, 1), *end(2))
    whole = bytearray(save(path, small).read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        whole[at] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    with contextlib.suppress(FormatError, UnsupportedError):
        from_torch7(path)
