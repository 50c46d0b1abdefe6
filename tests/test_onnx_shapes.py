"""What takes parts of maps, adds to them, or sums them up an axis at a time, in ONNX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from .onnx_sketch import Sketch, check, to_first, to_last


def each_second(sketch: Sketch, *axes: int) -> None:
    """As torch's exporter writes x[:, :, ::2, ::2]: a node an axis, with an end beyond all."""
    for axis in axes:
        sketch.add("Slice", *(sketch.constant(np.array([n])) for n in (0, 2**63 - 1, axis, 2)))


def option_a(sketch: Sketch) -> None:
    """The shortcut of CIFAR's ResNets: pixels left out, channels of zeros added."""
    before = sketch.last
    sketch.convolution(8, 16, signs=False, strides=[2, 2], pads=[1, 1, 1, 1])
    conv = sketch.last
    sketch.last = before
    each_second(sketch, 2, 3)
    sketch.add("Pad", sketch.constant(np.array([0, 4, 0, 0, 0, 4, 0, 0])))
    sketch.add("Add", conv)
    sketch.convolution(16, 8, signs=False)
    sketch.add("GlobalAveragePool")
    sketch.add("Flatten")


def channels_of_zeros_before_a_maximum(sketch: Sketch) -> None:
    """The pad around the map is one of what is never the greatest; channels are of zeros all the same."""
    sketch.add("Relu")
    sketch.add("Pad", sketch.constant(np.array([0, 1, 0, 0, 0, 1, 1, 1])))
    sketch.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    sketch.convolution(10, 8, kernel=2, signs=False)
    sketch.add("GlobalAveragePool")
    sketch.add("Flatten")


def pixels_left_out_channels_last(sketch: Sketch) -> None:
    to_last(sketch)
    each_second(sketch, 1, -2)
    sketch.add("Pad", sketch.constant(np.array([0, 0, 0, 1, 0, 0, 0, 0])))
    to_first(sketch)
    sketch.convolution(9, 8, signs=False)
    sketch.add("GlobalAveragePool")
    sketch.add("Flatten")


def a_slice_of_all(sketch: Sketch) -> None:
    sketch.add("Slice", *(sketch.constant(np.array(n)) for n in ([0, 0], [2**31 - 1, 8])))
    sketch.add("GlobalAveragePool")
    sketch.add("Flatten")


def rows_then_columns(sketch: Sketch) -> None:
    sketch.add("ReduceMean", axes=[3], keepdims=0)
    sketch.add("ReduceMax", axes=[2], keepdims=0)


def columns_then_rows_channels_last(sketch: Sketch) -> None:
    to_last(sketch)
    sketch.add("ReduceMax", axes=[1], keepdims=0)
    sketch.add("ReduceMean", axes=[1], keepdims=0)


def all_pixels(sketch: Sketch) -> None:
    sketch.add("Reshape", sketch.constant(np.array([0, 8, -1])))
    sketch.add("Relu")
    sketch.add("ReduceMean", axes=[2], keepdims=0)


def all_pixels_channels_last(sketch: Sketch) -> None:
    to_last(sketch)
    sketch.add("Reshape", sketch.constant(np.array([0, -1, 8])))
    sketch.add("Mul", sketch.numbers(8))
    sketch.add("Transpose", perm=[0, 2, 1])
    sketch.add("ReduceMax", axes=[-1], keepdims=0)


@pytest.mark.parametrize(
    "part",
    [
        option_a,
        channels_of_zeros_before_a_maximum,
        pixels_left_out_channels_last,
        a_slice_of_all,
        rows_then_columns,
        columns_then_rows_channels_last,
        all_pixels,
        all_pixels_channels_last,
    ],
)
def test_parts_and_sums_of_maps(part: object, tmp_path: Path) -> None:
    sketch = Sketch((3, 9, 8))
    sketch.convolution(3, 8, signs=False)
    part(sketch)
    sketch.classifier(8)
    check(sketch, tmp_path / "net.onnx")


def test_rows_flattened(tmp_path: Path) -> None:
    """A number a row and channel, in the graph's order."""
    sketch = Sketch((3, 9, 8))
    sketch.convolution(3, 8, signs=False)
    sketch.add("ReduceMean", axes=[3], keepdims=0)
    sketch.add("Transpose", perm=[0, 2, 1])
    sketch.add("Flatten")
    sketch.classifier(7 * 8)
    check(sketch, tmp_path / "net.onnx")
