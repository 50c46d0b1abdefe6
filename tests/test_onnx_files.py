"""Networks in ONNX files, converted: beside ONNX Runtime, which computes what the file says."""

from __future__ import annotations

import gzip
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
from xnornet.errors import FormatError, UnsupportedError  # noqa: E402

INTEROP = Path(__file__).resolve().parents[2] / "shared" / "interop"
LARQ = INTEROP / "larq-onnx" / "3_30_30_QConv_16_3_QConv_32_2_Dense_43_ep_30.onnx.gz"
QONNX = INTEROP / "qonnx" / "TFC_1W1A.onnx"
IMAGES = 3


class Sketch:
    """A network in the making: a method adds nodes behind the last one, or behind `x`, and keeps its channels."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0, opset: int = 13) -> None:
        self.rng, self.shape, self.opset = np.random.default_rng(seed), shape, opset
        self.nodes, self.held = [], []
        self.last = "images"

    def constant(self, array: object) -> str:
        name = f"c{len(self.held)}"
        self.held.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def numbers(self, *shape: int, signs: bool = False) -> str:
        drawn = self.rng.normal(size=shape).astype(np.float32)
        return self.constant(np.where(drawn >= 0, np.float32(1), np.float32(-1)) if signs else drawn)

    def add(self, operator: str, *others: str, x: str | None = None, **attributes: object) -> str:
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [x or self.last, *others], [out], name=f"n{out}", **attributes))
        self.last = out
        return out

    def sign(self) -> str:
        """Larq's, by tf2onnx."""
        self.add("Sign")
        self.add("Add", self.constant(np.float32(0.1)))
        return self.add("Sign")

    def convolution(
        self, channels: int, filters: int, kernel: int = 3, signs: bool = True, **attributes: object
    ) -> str:
        return self.add("Conv", self.numbers(filters, channels, kernel, kernel, signs=signs), **attributes)

    def norm(self, channels: int) -> str:
        variance = self.constant(self.rng.uniform(0.5, 2, channels).astype(np.float32))
        return self.add("BatchNormalization", *(self.numbers(channels) for _ in range(3)), variance, epsilon=1e-3)

    def classifier(self, features: int, classes: int = 5) -> str:
        return self.add("MatMul", self.numbers(features, classes))

    def model(self) -> object:
        images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", *self.shape])
        logits = helper.make_tensor_value_info(self.last, TensorProto.FLOAT, ["n", "classes"])
        graph = helper.make_graph(self.nodes, "net", [images], [logits], self.held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def check(sketch: Sketch, path: Path) -> Model:
    """The module, and the packed model in the engine, yield what ONNX Runtime does."""
    model = sketch.model()
    onnx.save(model, path)
    x = sketch.rng.normal(size=(IMAGES, *sketch.shape)).astype(np.float32)
    (expected,) = runtime.InferenceSession(model.SerializeToString()).run(None, {"images": x})
    first = x if sketch.shape[0] in (1, 3) else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    return compare(path, first, expected)


def compare(path: Path, x: np.ndarray, expected: np.ndarray) -> Model:
    network = from_onnx(path)
    with torch.no_grad():
        logits = network(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    engine = Model(lower(network, torch.from_numpy(x[:1])))
    np.testing.assert_allclose(engine.run(x), logits, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    return engine


def to_last(sketch: Sketch) -> str:
    return sketch.add("Transpose", perm=[0, 2, 3, 1])


def to_first(sketch: Sketch) -> str:
    return sketch.add("Transpose", perm=[0, 3, 1, 2])


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


def test_plain_signs_are_warned_of(tmp_path: Path) -> None:
    sketch = Sketch((3, 6, 6))
    sketch.add("Sign")
    sketch.convolution(3, 8)
    sketch.add("GlobalAveragePool")
    sketch.add("Flatten")
    sketch.classifier(8)
    with pytest.warns(UserWarning, match="are Sign, which makes 0 of 0, a packed model \\+1"):
        check(sketch, tmp_path / "net.onnx")


def an_unknown_operator(sketch: Sketch) -> None:
    sketch.add("Erf")


def dense_of_an_image(sketch: Sketch) -> None:
    sketch.classifier(6)


def computed_weights(sketch: Sketch) -> None:
    sketch.add("Conv", "images")


def softmax_inside(sketch: Sketch) -> None:
    sketch.add("Softmax")
    sketch.add("Relu")


def a_quotient(sketch: Sketch) -> None:
    sketch.add("Div", "images")


def axes_that_are_dropped(sketch: Sketch) -> None:
    sketch.add("ReduceMean", axes=[2], keepdims=0)


def reflected(sketch: Sketch) -> None:
    sketch.add("Pad", sketch.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), mode="reflect")


def another_shape(sketch: Sketch) -> None:
    sketch.add("Reshape", sketch.constant(np.array([-1, 3, 36])))


def whole_numbers(sketch: Sketch) -> None:
    sketch.add("Cast", to=TensorProto.INT32)
    sketch.add("Cast", to=TensorProto.FLOAT)


def a_norm_in_training(sketch: Sketch) -> None:
    sketch.opset = 14
    held = [sketch.numbers(3) for _ in range(4)]
    sketch.nodes.append(
        helper.make_node("BatchNormalization", ["images", *held], ["y", "mean", "var"], name="norm", training_mode=1)
    )
    sketch.last = "y"


def dropout_in_training(sketch: Sketch) -> None:
    sketch.add("Dropout", sketch.constant(np.float32(0.5)), sketch.constant(np.bool_(True)))


def averages_of_others(sketch: Sketch) -> None:
    sketch.opset = 19
    sketch.add("AveragePool", kernel_shape=[2, 2], dilations=[2, 2])


def the_number_of_images(sketch: Sketch) -> None:
    sketch.add("Shape")
    sketch.add("Gather", sketch.constant(np.array(0)))
    sketch.add("Cast", to=TensorProto.FLOAT)
    sketch.nodes.append(helper.make_node("Mul", ["images", sketch.last], ["y"], name="scaled"))
    sketch.last = "y"


def a_random_number(sketch: Sketch) -> None:
    sketch.nodes.append(helper.make_node("RandomNormal", [], ["r"], name="drawn", shape=[1]))
    sketch.add("Add", "r")


def a_second_output(sketch: Sketch) -> None:
    sketch.nodes.append(helper.make_node("Dropout", ["images"], ["y", "mask"], name="dropped"))
    sketch.add("Mul", "mask", x="y")


def activations_of_four_bits(sketch: Sketch) -> None:
    held = [sketch.constant(np.float32(n)) for n in (0.1, 0, 4)]
    quant = helper.make_node("Quant", ["images", *held], ["y"], name="q", domain="qonnx.custom_op.general")
    sketch.nodes.append(quant)
    sketch.last = "y"


def a_constant_of_more_axes(sketch: Sketch) -> None:
    sketch.add("Add", sketch.numbers(1, 1, 3, 1, 1))


def maps_flattened_otherwise(sketch: Sketch) -> None:
    sketch.add("Flatten")
    one = sketch.last
    sketch.add("Transpose", x="images", perm=[0, 2, 3, 1])
    sketch.add("Flatten")
    sketch.add("Add", one)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (whole_numbers, "to a type of whole numbers; only FLOAT"),
        (a_norm_in_training, "the statistics of the batch; export the network in evaluation mode"),
        (dropout_in_training, "in training mode; export the network in evaluation mode"),
        (averages_of_others, "dilations \\[2, 2\\]; only averages of neighbours"),
        (the_number_of_images, "the number of images cannot be a value"),
        (a_random_number, "a random number cannot be packed"),
        (a_second_output, "takes 'mask', which no earlier node has as its first output"),
        (activations_of_four_bits, "Quant is not known; activations of several bits are not known"),
        (a_constant_of_more_axes, "a constant of 5 axes beside a value of 4"),
        (maps_flattened_otherwise, "of maps that were flattened otherwise"),
        (an_unknown_operator, "the operator Erf is not known; known are Add, "),
        (dense_of_an_image, "of an input of 4 axes; only \\(N, features\\) times a matrix"),
        (computed_weights, "its input 1 is computed; only a constant can be packed there"),
        (softmax_inside, "the operator Softmax is not known; only one behind the logits is left out"),
        (a_quotient, "of two computed values; sums, differences and products"),
        (axes_that_are_dropped, "over the axes \\[2\\], which are dropped"),
        (reflected, "of mode 'reflect', 4 axes; only images can be padded, by a constant"),
        (another_shape, "from \\[1, 3, 6, 6\\] to \\[1, 3, 36\\]; only flattening"),
    ],
)
def test_what_cannot_be_packed_is_named(part: object, said: str, tmp_path: Path) -> None:
    sketch = Sketch((3, 6, 6))
    part(sketch)
    onnx.save(sketch.model(), tmp_path / "net.onnx")
    with pytest.raises(UnsupportedError, match=said):
        from_onnx(tmp_path / "net.onnx")(torch.zeros(1, 3, 6, 6))


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


@pytest.mark.parametrize(
    "part",
    [the_greatest_of_numbers, averages_that_hang_over, keras_padding_and_maximum, a_shape_cut_out, padding_of_two_axes],
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


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"gone.onnx: no such file"):
        from_onnx(tmp_path / "gone.onnx")
    (tmp_path / "text.onnx").write_bytes(b"not at all" * 20)
    with pytest.raises(FormatError, match=r"text.onnx: is no ONNX file"):
        from_onnx(tmp_path / "text.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(FormatError, match=r"empty.onnx: is no ONNX file"):
        from_onnx(tmp_path / "empty.onnx")
    features = Sketch((7,))
    features.classifier(7)
    onnx.save(features.model(), tmp_path / "features.onnx")
    with pytest.raises(UnsupportedError, match=r"its input 'images' has shape \[None, 7\]; only images"):
        from_onnx(tmp_path / "features.onnx")


def test_without_onnx_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Exception, match=r"pip install 'xnornet\[onnx\]'"):
        from_onnx(tmp_path / "net.onnx")


@pytest.mark.skipif(not LARQ.exists(), reason="the Larq network is not beside the repository (shared/interop)")
def test_a_network_of_larq(tmp_path: Path) -> None:
    """Trained by others on traffic signs; integers throughout but for the first sums, so to the bit."""
    path = tmp_path / "larq.onnx"
    path.write_bytes(gzip.decompress(LARQ.read_bytes()))
    x = np.random.default_rng(0).uniform(0, 1, (64, 30, 30, 3)).astype(np.float32)
    session = runtime.InferenceSession(str(path))
    (expected,) = session.run(None, {session.get_inputs()[0].name: x})
    network = from_onnx(path)
    assert network.image == (30, 30, 3)
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    packed = lower(network, torch.from_numpy(first[:1]))
    assert sum(op.kind in ("binary_conv2d", "binary_linear") for op in packed.ops) == 2
    logits = Model(packed).run(first)
    assert np.array_equal(logits, network(torch.from_numpy(first)).numpy())
    likely = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(likely / likely.sum(1, keepdims=True), expected, atol=1e-6)


@pytest.mark.skipif(not QONNX.exists(), reason="the QONNX network is not beside the repository (shared/interop)")
def test_a_network_of_brevitas() -> None:
    """BipolarQuant is computed here by its definition: ONNX Runtime does not know it."""
    model = onnx.load(QONNX)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    x = np.random.default_rng(0).uniform(0, 1, (32, 1, 28, 28)).astype(np.float32)

    def signs(array: np.ndarray) -> np.ndarray:
        return np.where(array >= 0, 1.0, -1.0)

    value = signs(2 * x.reshape(32, -1) - 1)
    for weight, norm in (("38", "features.3"), ("46", "features.7"), ("54", "features.11")):
        sums = value @ signs(held[weight]).T
        scale, shift, mean, variance = (
            held[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        epsilon = next(node.attribute[0].f for node in model.graph.node if node.op_type == "BatchNormalization")
        value = signs((sums - mean) / np.sqrt(variance + epsilon) * scale + shift)
    sums = value @ signs(held["62"]).T
    spread = np.sqrt(held["76"].astype(np.float64))
    expected = (sums - held["features.15.running_mean"]) / spread * held["features.15.weight"] + held[
        "features.15.bias"
    ]
    network = from_onnx(QONNX)
    packed = lower(network, torch.from_numpy(x[:1]))
    assert [op.kind for op in packed.ops].count("binary_linear") == 4
    np.testing.assert_allclose(Model(packed).run(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["shortcuts", "flattened", "gated"])
def test_what_larq_and_tf2onnx_make(name: str, tmp_path: Path) -> None:
    """Of Larq's layers with random weights, beside what Keras computes: see from_larq/make.py."""
    folder = Path(__file__).parent / "from_larq"
    path = tmp_path / "net.onnx"
    path.write_bytes(gzip.decompress((folder / f"{name}.onnx.gz").read_bytes()))
    with np.load(folder / f"{name}.npz") as held:
        images, expected = held["images"], held["outputs"]
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    network = from_onnx(path)
    packed = lower(network, torch.from_numpy(x[:1]))
    assert sum(op.kind in ("binary_conv2d", "binary_linear") for op in packed.ops) == (3 if name == "flattened" else 2)
    logits = Model(packed).run(x)
    if name == "shortcuts":  # which ends in a softmax
        logits = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
