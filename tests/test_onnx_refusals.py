"""What is refused, or warned of, in ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from xnornet.convert import from_onnx  # noqa: E402
from xnornet.errors import FormatError, UnsupportedError  # noqa: E402

from .onnx_sketch import Sketch, check  # noqa: E402


def plain_sign(sketch: Sketch) -> None:
    """And what makes a network of it."""
    sketch.add("Sign")
    sketch.convolution(3, 8)
    sketch.add("GlobalAveragePool")
    sketch.add("Flatten")
    sketch.classifier(8)


def test_plain_signs_are_warned_of(tmp_path: Path) -> None:
    sketch = Sketch((3, 6, 6))
    plain_sign(sketch)
    with pytest.warns(UserWarning, match="module 'nv0': a sign that makes 0 of 0"):
        check(sketch, tmp_path / "net.onnx")


def test_a_sign_of_what_is_often_0_is_refused(tmp_path: Path) -> None:
    sketch = Sketch((3, 6, 6))
    sketch.add("Relu")
    plain_sign(sketch)
    with pytest.raises(UnsupportedError, match="module 'nv1'.*of what was cut off at 0"):
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


def a_mean_of_features(sketch: Sketch) -> None:
    sketch.add("Flatten")
    sketch.add("ReduceMean", axes=[1], keepdims=0)


def features_that_change_places(sketch: Sketch) -> None:
    sketch.add("Flatten")
    sketch.add("Transpose", perm=[1, 0])


def axes_that_are_left_out(sketch: Sketch) -> None:
    sketch.add("Transpose", perm=[0, 2, 1])


def some_features(sketch: Sketch) -> None:
    sketch.add("Flatten")
    sketch.add("Slice", *(sketch.constant(np.array([n])) for n in (0, 5, 1)))


def from_the_end(sketch: Sketch) -> None:
    sketch.add("Slice", *(sketch.constant(np.array([n])) for n in (-1, -9, 2, -1)))


def images_of_zeros(sketch: Sketch) -> None:
    sketch.add("Pad", sketch.constant(np.array([0, 0, 0, 0, 1, 0, 0, 0])))


def reflected(sketch: Sketch) -> None:
    sketch.add("Pad", sketch.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), mode="reflect")


def reflected_before_a_maximum(sketch: Sketch) -> None:
    sketch.add("Relu")
    reflected(sketch)
    sketch.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])


def a_row_for_each_image(sketch: Sketch) -> None:
    sketch.add("Flatten")
    sketch.add("Gemm", sketch.numbers(108, 1), sketch.numbers(1, 1))
    sketch.add("Gemm", sketch.numbers(1, 3), sketch.numbers(3, 1))


def joined_without_an_axis(sketch: Sketch) -> None:
    sketch.nodes.append(helper.make_node("Concat", ["images", "images"], ["y"], name="joined"))
    sketch.last = "y"


def classes_over_images(sketch: Sketch) -> None:
    sketch.add("Flatten")
    sketch.classifier(108)
    sketch.add("Softmax", axis=0)


def another_shape(sketch: Sketch) -> None:
    sketch.add("Reshape", sketch.constant(np.array([-1, 9, 12])))


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
        (a_mean_of_features, "over the axes \\[1\\] of 2; only over height, width or both"),
        (features_that_change_places, "\\[1, 0\\] of 2 axes; only axes of images"),
        (axes_that_are_left_out, "\\[0, 2, 1\\] of 4 axes; only axes of images"),
        (some_features, "of 2 axes; only rows and columns"),
        (from_the_end, "step -1; only steps forward"),
        (images_of_zeros, "of images; only channels, height and width"),
        (reflected, "of mode 'reflect', 4 axes; only images can be padded, by a constant"),
        (reflected_before_a_maximum, "of mode 'reflect', 4 axes"),
        (a_row_for_each_image, "with C of shape \\[3, 1\\]; one row for all images"),
        (joined_without_an_axis, "'joined' \\(Concat\\): 'axis'"),
        (classes_over_images, "the operator Softmax is not known"),
        (another_shape, "from \\[1, 3, 6, 6\\] to \\[1, 9, 12\\]; only flattening"),
    ],
)
def test_what_cannot_be_packed_is_named(part: object, said: str, tmp_path: Path) -> None:
    sketch = Sketch((3, 6, 6))
    part(sketch)
    onnx.save(sketch.model(), tmp_path / "net.onnx")
    with pytest.raises(UnsupportedError, match=said):
        from_onnx(tmp_path / "net.onnx")(torch.zeros(1, 3, 6, 6))


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
