"""Networks in ONNX files, converted: beside ONNX Runtime, which computes what the file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from xnornet.convert import from_onnx, lower  # noqa: E402
from xnornet.engine import Model  # noqa: E402

from .onnx_sketch import IMAGES, Sketch, check, compare, to_first, to_last  # noqa: E402


def test_channels_last_with_transposes_and_a_flattened_map(tmp_path: Path) -> None:
    sketch = Sketch((9, 7, 3))
    to_first(sketch)
    sketch.convolution(3, 8, pads=[1, 1, 1, 1])
    to_last(sketch)
    sketch.add("Mul", sketch.numbers(8))  # a norm, as Keras's exporter folds it
    sketch.add("Add", sketch.numbers(8))
    sketch.sign()
    to_first(sketch)
    sketch.convolution(8, 12)
    to_last(sketch)
    sketch.add("Reshape", sketch.constant(np.array([-1, 7 * 5 * 12])))
    sketch.add("Add", sketch.numbers(7 * 5 * 12))  # a number a feature, in the graph's order
    sketch.sign()
    sketch.add("MatMul", sketch.numbers(7 * 5 * 12, 5, signs=True))
    sketch.add("Softmax")
    model = sketch.model()
    onnx.save(model, tmp_path / "net.onnx")
    x = sketch.rng.normal(size=(IMAGES, 9, 7, 3)).astype(np.float32)
    (expected,) = runtime.InferenceSession(model.SerializeToString()).run(None, {"images": x})
    network = from_onnx(tmp_path / "net.onnx")
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    packed = lower(network, torch.from_numpy(first[:1]))
    assert [op.kind for op in packed.ops if "conv" in op.kind or "linear" in op.kind] == [
        "binary_weight_conv2d",
        "binary_conv2d",
        "binary_linear",
    ]
    logits = Model(packed).run(first)
    likely = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(likely / likely.sum(1, keepdims=True), expected, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("how", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_tensorflows_padding(how: str, stride: int, tmp_path: Path) -> None:
    sketch = Sketch((3, 12, 9))
    sketch.convolution(3, 8, signs=False, auto_pad=how, strides=[stride, stride])
    sketch.add("MaxPool", kernel_shape=[3, 2], auto_pad=how, strides=[2, 2])
    sketch.sign()
    sketch.convolution(8, 8, kernel=2, auto_pad=how)
    sketch.add("GlobalAveragePool")
    sketch.add("Flatten")
    sketch.classifier(8)
    check(sketch, tmp_path / "net.onnx")


@pytest.mark.parametrize("value", [1.0, -1.0, 0.0])
def test_padding_of_signs_by_a_value(value: float, tmp_path: Path) -> None:
    sketch = Sketch((6, 6, 3))
    sketch.sign()
    sketch.add("Pad", sketch.constant(np.array([0, 1, 2, 0, 0, 0, 1, 0])), sketch.constant(np.float32(value)))
    to_first(sketch)
    sketch.convolution(3, 8)
    sketch.add("ReduceMean", axes=[2, 3], keepdims=0)
    sketch.classifier(8)
    check(sketch, tmp_path / "net.onnx")


ALONE = {
    "Relu": {},
    "Sigmoid": {},
    "Tanh": {},
    "HardSwish": {},
    "HardSigmoid": {"alpha": 0.25, "beta": 0.4},
    "LeakyRelu": {"alpha": 0.3},
    "Neg": {},
    "Identity": {},
}


@pytest.mark.parametrize("operator", ALONE)
def test_activations(operator: str, tmp_path: Path) -> None:
    sketch = Sketch((3, 6, 5), opset=14)
    sketch.convolution(3, 8, signs=False)
    sketch.norm(8)
    sketch.add(operator, **ALONE[operator])
    sketch.add("GlobalAveragePool")
    sketch.add("Squeeze", sketch.constant(np.array([2, 3])))
    sketch.classifier(8)
    check(sketch, tmp_path / "net.onnx")


def one_number(sketch: Sketch) -> None:
    sketch.add("Clip", sketch.constant(np.float32(-0.5)), sketch.constant(np.float32(0.75)))
    sketch.add("Max", sketch.constant(np.float32(-0.25)))
    sketch.add("Min", sketch.constant(np.float32(0.5)))
    sketch.add("Div", sketch.constant(np.float32(3)))


def a_number_a_channel(sketch: Sketch) -> None:
    sketch.add("Div", sketch.constant(np.linspace(1, 3, 8, dtype=np.float32).reshape(8, 1, 1)))
    sketch.add("PRelu", sketch.numbers(8, 1, 1))
    sketch.add("Sub", sketch.numbers(1, 8, 1, 1))
    other = sketch.numbers(8, 1, 1)
    sketch.nodes.append(helper.make_node("Sub", [other, sketch.last], ["reversed"]))
    sketch.last = "reversed"


def a_shortcut(sketch: Sketch) -> None:
    before = sketch.last
    sketch.sign()
    sketch.convolution(8, 8, pads=[1, 1, 1, 1])
    sketch.norm(8)
    sketch.add("Add", before)
    sketch.add("Mul", sketch.last)


def a_shortcut_of_another_layout(sketch: Sketch) -> None:
    before = to_last(sketch)
    to_first(sketch)
    sketch.add("Relu")
    to_last(sketch)
    sketch.add("Sub", before)
    sketch.add("Concat", before, axis=3)
    to_first(sketch)
    sketch.convolution(16, 8, kernel=1, signs=False)


def a_gate(sketch: Sketch) -> None:
    before = sketch.last
    sketch.add("ReduceMean", axes=[2, 3], keepdims=0)
    sketch.add("Gemm", sketch.numbers(3, 8), sketch.numbers(3), transB=1, alpha=0.5, beta=2.0)
    sketch.add("Relu")
    sketch.classifier(3, 8)
    sketch.add("Sigmoid")
    sketch.add("Unsqueeze", sketch.constant(np.array([2, 3])))
    sketch.add("Mul", before)


def a_choice(sketch: Sketch) -> None:
    """A sign as torch's exporter writes ours."""
    sketch.add("GreaterOrEqual", sketch.constant(np.float32(0)))
    sketch.add("Where", sketch.constant(np.float32(1)), sketch.constant(np.float32(-1)))
    sketch.convolution(8, 8, pads=[1, 1, 1, 1])


def the_other_choice(sketch: Sketch) -> None:
    sketch.add("GreaterOrEqual", sketch.constant(np.float32(0)))
    sketch.add("Cast", to=TensorProto.FLOAT)
    sketch.add("Mul", sketch.constant(np.float32(2)))
    sketch.add("Sub", sketch.constant(np.float32(1)))
    sketch.convolution(8, 8, pads=[1, 1, 1, 1])


def pools(sketch: Sketch) -> None:
    sketch.add("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    sketch.add("AveragePool", kernel_shape=[2, 3], pads=[1, 1, 1, 1])
    sketch.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)


@pytest.mark.parametrize(
    "part",
    [
        one_number,
        a_number_a_channel,
        a_shortcut,
        a_shortcut_of_another_layout,
        a_gate,
        a_choice,
        the_other_choice,
        pools,
    ],
)
def test_parts_of_networks(part: object, tmp_path: Path) -> None:
    sketch = Sketch((3, 9, 8))
    sketch.convolution(3, 8, signs=False)
    sketch.norm(8)
    part(sketch)
    sketch.add("GlobalMaxPool")
    sketch.add("Reshape", sketch.constant(np.array([0, -1])))
    sketch.classifier(8)
    check(sketch, tmp_path / "net.onnx")


def test_reshapes_of_grey_images_are_transposes(tmp_path: Path) -> None:
    sketch = Sketch((7, 6, 1))
    sketch.add("Reshape", sketch.constant(np.array([-1, 1, 7, 6])))
    sketch.convolution(1, 8, signs=False)
    sketch.add("GlobalAveragePool")
    sketch.add("Reshape", sketch.constant(np.array([-1, 1, 1, 8])))
    sketch.add("Mul", sketch.numbers(8))
    sketch.add("Reshape", sketch.constant(np.array([-1, 8])))
    sketch.classifier(8)
    check(sketch, tmp_path / "net.onnx")


def test_newer_versions_take_axes_as_inputs(tmp_path: Path) -> None:
    sketch = Sketch((3, 6, 6), opset=18)
    sketch.convolution(3, 8, signs=False)
    sketch.add("ReduceMean", sketch.constant(np.array([2, 3])), keepdims=1)
    sketch.add("Flatten")
    sketch.classifier(8)
    check(sketch, tmp_path / "net.onnx")


def test_a_shape_computed_from_the_images(tmp_path: Path) -> None:
    """As torch's older exporter writes x.view(x.size(0), -1)."""
    sketch = Sketch((3, 6, 6))
    before = sketch.convolution(3, 8, signs=False)
    sketch.add("Shape")
    sketch.add("Gather", sketch.constant(np.array(0)))
    sketch.add("Unsqueeze", sketch.constant(np.array([0])))
    first = sketch.last
    sketch.nodes.append(
        helper.make_node("Concat", [first, sketch.constant(np.array([-1]))], ["shape"], name="shape", axis=0)
    )
    sketch.nodes.append(helper.make_node("Reshape", [before, "shape"], ["flat"], name="flat"))
    sketch.last = "flat"
    sketch.classifier(8 * 16)
    check(sketch, tmp_path / "net.onnx")


PARTS = ("norm", "relu", "shift", "sign", "pool", "shortcut", "prelu", "clip")


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16), parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=6), last=st.booleans())
def test_any_chain(tmp_path_factory: pytest.TempPathFactory, seed: int, parts: list[str], last: bool) -> None:
    """Of element-wise parts in either layout, with pools and binary convolutions in channels first."""
    channels, size = 6, 8
    sketch = Sketch((size, size, 3) if last else (3, size, size), seed)

    def elementwise(*operators: tuple[str, np.ndarray | float]) -> None:
        """In the graph's own layout."""
        if last:
            to_last(sketch)
        for operator, number in operators:
            array = np.asarray(number, np.float32)
            shaped = array if last or array.ndim == 0 else array.reshape(-1, 1, 1)
            sketch.add(operator, *([sketch.constant(shaped)] if operator != "Relu" else []))
        if last:
            to_first(sketch)

    def vector() -> np.ndarray:
        return sketch.rng.normal(size=channels)

    if last:
        to_first(sketch)
    sketch.convolution(3, channels, signs=False, pads=[1, 1, 1, 1])
    for part in parts:
        if part == "norm":
            sketch.norm(channels)
        elif part == "relu":
            elementwise(("Relu", 0.0))
        elif part == "shift":
            elementwise(("Mul", vector()), ("Add", vector()), ("Sub", 0.5))
        elif part == "prelu":
            elementwise(("PRelu", vector()))
        elif part == "clip":
            sketch.add("Clip", sketch.constant(np.float32(-1)), sketch.constant(np.float32(1)))
        elif part == "pool" and size > 2:
            size //= 2
            sketch.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        else:
            before = sketch.last
            sketch.sign()
            sketch.convolution(channels, channels, pads=[1, 1, 1, 1])
            if part == "shortcut":
                sketch.add("Add", before)
    if last:
        to_last(sketch)
    sketch.add("Reshape", sketch.constant(np.array([-1, size * size * channels])))
    sketch.classifier(size * size * channels)
    check(sketch, tmp_path_factory.mktemp("chain") / "net.onnx")


@pytest.mark.parametrize("spelling", ["plain", "not", "mirrored", "repeated"])
@pytest.mark.parametrize("numbers", [(1, -1), (-1, 1)])
@pytest.mark.parametrize("operator", ["GreaterOrEqual", "Greater", "Less", "LessOrEqual"])
def test_signs_however_they_are_written(operator: str, numbers: tuple[int, int], spelling: str, tmp_path: Path) -> None:
    """Of images in which every third element is 0."""
    sketch = Sketch((3, 4, 4), opset=16)
    zero = sketch.constant(np.float32(0))
    operands = [zero, "images"] if spelling == "mirrored" else ["images", zero]
    sketch.nodes.append(helper.make_node(operator, operands, ["compared"], name="compared"))
    sketch.last = "compared"
    if spelling == "not":
        sketch.add("Not")
    condition = sketch.last
    if spelling == "repeated":  # torch.ones_like
        sketch.add("Shape", x="images")
        value = [numpy_helper.from_array(np.array([n], np.float32)) for n in numbers]
        shape = sketch.last
        chosen = [sketch.add("ConstantOfShape", x=shape, value=number) for number in value]
    else:
        chosen = [sketch.constant(np.float32(n)) for n in numbers]
    sketch.add("Where", *chosen, x=condition)
    sketch.convolution(3, 8)
    sketch.add("Flatten")
    sketch.classifier(8 * 4)
    model = sketch.model()
    onnx.save(model, tmp_path / "net.onnx")
    x = sketch.rng.normal(size=(IMAGES, 3, 4, 4)).astype(np.float32)
    x.ravel()[::3] = 0
    (expected,) = runtime.InferenceSession(model.SerializeToString()).run(None, {"images": x})
    compare(tmp_path / "net.onnx", x, expected)


def the_greatest_of_numbers(sketch: Sketch) -> None:
    sketch.add("Max", *(sketch.constant(np.float32(n)) for n in (-0.5, 0.7, 0.1)))
    sketch.add("Min", sketch.constant(np.full(8, 1.5, np.float32).reshape(8, 1, 1)))


def averages_that_hang_over(sketch: Sketch) -> None:
    sketch.add("AveragePool", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")


def keras_padding_and_maximum(sketch: Sketch) -> None:
    sketch.add("Relu")
    to_last(sketch)
    sketch.add("Pad", sketch.constant(np.array([0, 1, 1, 0, 0, 1, 1, 0])))
    to_first(sketch)
    sketch.add("MaxPool", kernel_shape=[3, 3], strides=[2, 2])


def a_shape_cut_out(sketch: Sketch) -> None:
    before = sketch.last
    sketch.opset = 15
    sketch.add("Shape", start=0, end=1)
    first = sketch.last
    rest = sketch.constant(np.array([8, 7, 6]))
    sketch.nodes.append(helper.make_node("Concat", [first, rest], ["cut"], name="cut", axis=0))
    sketch.add("Reshape", "cut", x=before)


def padding_of_two_axes(sketch: Sketch) -> None:
    sketch.opset = 18
    pads, nothing = sketch.constant(np.array([2, 1, 0, 3])), sketch.constant(np.float32(0))
    sketch.add("Pad", pads, nothing, sketch.constant(np.array([3, 2])))
    sketch.convolution(8, 8, signs=False)


def a_bias_expanded(sketch: Sketch) -> None:
    """As torch's exporter writes bias.expand_as(x)."""
    before = sketch.last
    sketch.add("Shape")
    shape = sketch.last
    sketch.add("Expand", shape, x=sketch.numbers(1, 8, 1, 1))
    sketch.add("Add", before)


@pytest.mark.parametrize(
    "part",
    [
        a_bias_expanded,
        the_greatest_of_numbers,
        averages_that_hang_over,
        keras_padding_and_maximum,
        a_shape_cut_out,
        padding_of_two_axes,
    ],
)
def test_more_parts_of_networks(part: object, tmp_path: Path) -> None:
    sketch = Sketch((3, 9, 8))
    sketch.convolution(3, 8, signs=False)
    part(sketch)
    sketch.add("GlobalAveragePool")
    sketch.add("Flatten")
    sketch.classifier(8)
    check(sketch, tmp_path / "net.onnx")


def test_flattened_maps_side_by_side(tmp_path: Path) -> None:
    sketch = Sketch((6, 5, 3))
    sketch.add("Flatten")
    one = sketch.last
    sketch.add("Transpose", x="images", perm=[0, 3, 1, 2])
    sketch.convolution(3, 4, signs=False)
    to_last(sketch)
    sketch.add("Flatten")
    sketch.add("Concat", one, axis=-1)
    sketch.classifier(4 * 3 * 4 + 90)
    check(sketch, tmp_path / "net.onnx")


def test_a_softmax_behind_which_is_something_else(tmp_path: Path) -> None:
    sketch = Sketch((3, 5, 5))
    sketch.add("GlobalAveragePool")
    sketch.add("Flatten")
    sketch.classifier(3)
    logits = sketch.last
    sketch.add("Softmax")
    sketch.add("Cast", to=TensorProto.FLOAT)
    sketch.add("Identity")
    onnx.save(sketch.model(), tmp_path / "with.onnx")
    sketch.nodes, sketch.last = sketch.nodes[:-3], logits
    check(sketch, tmp_path / "without.onnx")
    x = torch.rand(2, 3, 5, 5)
    assert torch.equal(from_onnx(tmp_path / "with.onnx")(x), from_onnx(tmp_path / "without.onnx")(x))


@pytest.mark.parametrize("batch", [1, 4])
def test_a_batch_that_was_written_down(batch: int, tmp_path: Path) -> None:
    sketch = Sketch((3, 5, 5))
    sketch.convolution(3, 8, signs=False)
    sketch.add("Reshape", sketch.constant(np.array([batch, -1])))
    sketch.classifier(8 * 9)
    model = sketch.model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, tmp_path / "net.onnx")
    x = sketch.rng.normal(size=(batch, 3, 5, 5)).astype(np.float32)
    (expected,) = runtime.InferenceSession(model.SerializeToString()).run(None, {"images": x})
    compare(tmp_path / "net.onnx", x, expected)


def test_weights_of_eight_bits_by_qonnx(tmp_path: Path) -> None:
    sketch = Sketch((3, 5, 5))
    weight = sketch.rng.normal(size=(8, 3, 3, 3)).astype(np.float32)
    held = [sketch.constant(given) for given in (weight, np.float32(0.02), np.float32(0), np.float32(8))]
    domain = "qonnx.custom_op.general"
    sketch.nodes.append(helper.make_node("Quant", held, ["w"], name="q", domain=domain, signed=1, narrow=1))
    sketch.add("Conv", "w")
    sketch.add("GlobalAveragePool")
    sketch.add("Flatten")
    sketch.classifier(8)
    onnx.save(sketch.model(), tmp_path / "net.onnx")
    x = torch.rand(2, 3, 5, 5)
    steps = np.clip(np.round(weight / np.float32(0.02)), -127, 127) * np.float32(0.02)
    averaged = torch.nn.functional.conv2d(x, torch.from_numpy(steps)).mean((2, 3))
    classes = torch.tensor(numpy_helper.to_array(sketch.held[-1]))
    torch.testing.assert_close(from_onnx(tmp_path / "net.onnx")(x), averaged @ classes, rtol=1e-4, atol=1e-5)
