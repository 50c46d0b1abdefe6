"""Our binary networks and layers as files of Larq Compute Engine, by its own converter, for `xnornet bench` to time.

    python scripts/larq_files.py FOLDER --net alexnet --net resnet18 --layer 3x3:256x14x14:256

The converter needs a TensorFlow older than the rest of the project's packages, so this runs in an environment of its
own, Python 3.10 or 3.11:

    pip install . torch larq larq-compute-engine tensorflow-cpu==2.15.1

A network is rebuilt op by op in Keras, as a user of Larq writes it: zero padding is TensorFlow's "same", signs are
Larq's, sums and thresholds are norms before signs, which the converter folds as it can. Where TensorFlow's "same" lies
on the other side of an image than torch's padding does (stride 2 of even sizes), the network is mirrored, both axes,
and its file is called so: of the mirrored image it computes the same, mirrored.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from functools import singledispatchmethod
from pathlib import Path
from typing import Any

import numpy as np

from xnornet import ops
from xnornet.bench.layers import layer_case
from xnornet.bench.networks import network_case
from xnornet.bench.peers.larq import file_name
from xnornet.errors import UnsupportedError, XnornetError
from xnornet.files import replacing
from xnornet.graph import INPUT, PackedModel

try:
    import larq
    import larq_compute_engine as engine
    import tensorflow as tf
except ImportError as error:
    lacking = str(error)
else:
    lacking = ""

# What may stand between a sign and the layer that multiplies it, and those layers.
_OF_SIGNS = ops.MaxPool2d | ops.Concat | ops.Flatten | ops.BinaryConv2d | ops.BinaryLinear


class KerasGraph:
    """A packed network in Keras; values are (1, H, W, C). Signs are taken by the layers that multiply them, as Larq's
    do: in front of those stands what the signs are of.

    Args:
        packed: the network.
        mirrored: both axes of the image, and of all filters, are turned round.

    Raises:
        UnsupportedError: the network holds what Keras or Larq cannot compute alike.
    """

    def __init__(self, packed: PackedModel, mirrored: bool = False) -> None:
        self.packed, self.mirrored = packed, mirrored
        image = tf.keras.Input(packed.values[INPUT].shape, batch_size=1)
        nodes = {INPUT: image}
        for op in packed.ops:
            if packed.values[op.inputs[0]].dtype == "bits" and not isinstance(op, _OF_SIGNS):
                raise UnsupportedError(f"'{op.name}': {op.kind} of signs is left out")
            nodes[op.name] = self.add(op, *(nodes[name] for name in op.inputs))
        self.model = tf.keras.Model(image, nodes[packed.ops[-1].name])

    @singledispatchmethod
    def add(self, op: ops.Op, *inputs: Any) -> Any:
        raise UnsupportedError(f"op {op.kind} has no counterpart here")

    @add.register
    def _(self, op: ops.Conv2d, x: Any) -> Any:
        w = op.window
        x = self.padded(x, w)
        if op.groups == x.shape[-1] == len(op.weight):
            layer = tf.keras.layers.DepthwiseConv2D(w.kernel_size, w.stride, dilation_rate=w.dilation)
            return self.set(layer, x, op.weight.transpose(3, 1, 2, 0), op.bias)  # Keras: (kh, kw, in, 1)
        layer = tf.keras.layers.Conv2D(
            len(op.weight), w.kernel_size, w.stride, dilation_rate=w.dilation, groups=op.groups
        )
        return self.set(layer, x, op.weight, op.bias)

    @add.register
    def _(self, op: ops.BinaryConv2d, x: Any) -> Any:
        w = op.window
        if op.groups != 1 or op.padding_value < 0:
            raise UnsupportedError(f"'{op.name}': groups, and padding by -1, are left out")
        x, padding = self.same(op.name, x, w)
        layer = larq.layers.QuantConv2D(
            len(op.weight.signs()),
            w.kernel_size,
            w.stride,
            padding=padding,
            pad_values=float(op.padding_value),
            dilation_rate=w.dilation,
            input_quantizer="ste_sign",
            kernel_quantizer="ste_sign",
            use_bias=False,
        )
        return self.set(layer, x, op.weight.signs(), None)

    @add.register
    def _(self, op: ops.BinaryLinear, x: Any) -> Any:  # Larq Compute Engine has no dense layer of bits
        signs = dict.fromkeys(("input_quantizer", "kernel_quantizer"), "ste_sign")
        layer = larq.layers.QuantConv2D(len(op.weight.signs()), 1, **signs, use_bias=False)
        return self.set(layer, x, op.weight.signs()[:, None, None], None)

    @add.register
    def _(self, op: ops.Linear, x: Any) -> Any:
        return self.set(tf.keras.layers.Conv2D(len(op.weight), 1), x, op.weight[:, None, None], op.bias)

    def set(self, layer: Any, x: Any, weight: Any, bias: Any) -> Any:
        """The layer on x with weights (out, kh, kw, in); Keras's depthwise ones are (in, kh, kw, out) with one out."""
        y = layer(x)
        turned = weight[:, ::-1, ::-1] if self.mirrored else weight
        kernel = np.ascontiguousarray(turned.transpose(1, 2, 3, 0), np.float32)
        given = [] if not layer.use_bias else [np.zeros(y.shape[-1], np.float32) if bias is None else bias]
        layer.set_weights([kernel, *given])
        return y

    @add.register
    def _(self, op: ops.Sign, x: Any) -> Any:
        return x

    @add.register
    def _(self, op: ops.Threshold, x: Any) -> Any:
        # Sums are integers: d >= T is d - (T - 0.5) > 0, d <= T is (T + 0.5) - d > 0.
        sign = np.where(op.descending, -1.0, 1.0)
        return norm(x, sign, 0.5 - sign * op.threshold)

    @add.register
    def _(self, op: ops.Affine, x: Any) -> Any:
        channels = x.shape[-1]
        if op.scale is None and op.bias is None:  # of integers, which are floats here
            return x
        scale = np.ones(channels) if op.scale is None else op.scale
        return norm(x, scale, np.zeros(channels) if op.bias is None else op.bias)

    @add.register
    def _(self, op: ops.Clamp, x: Any) -> Any:
        if (op.minimum, op.maximum) != (0.0, math.inf):
            raise UnsupportedError("a clamp other than ReLU is left out")
        return tf.keras.layers.ReLU()(x)

    @add.register
    def _(self, op: ops.PRelu, x: Any) -> Any:
        layer = tf.keras.layers.PReLU(shared_axes=(1, 2))
        y = layer(x)
        layer.set_weights([op.slope.reshape(1, 1, -1)])
        return y

    @add.register
    def _(self, op: ops.MaxPool2d, x: Any) -> Any:
        w = op.window
        x, padding = self.same(op.name, x, w)
        return tf.keras.layers.MaxPool2D(w.kernel_size, w.stride, padding)(x)

    @add.register
    def _(self, op: ops.AvgPool2d, x: Any) -> Any:
        w = op.window
        if any(w.padding) or w.dilation != (1, 1):
            raise UnsupportedError("average pools with padding or dilation are left out")
        if w.kernel_size == x.shape[1:3]:
            return tf.keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
        return tf.keras.layers.AveragePooling2D(w.kernel_size, w.stride)(x)

    @add.register
    def _(self, op: ops.Add, x: Any, y: Any) -> Any:
        return tf.keras.layers.Add()([x, y])

    @add.register
    def _(self, op: ops.Multiply, x: Any, y: Any) -> Any:
        return tf.keras.layers.Multiply()([x, y])

    @add.register
    def _(self, op: ops.Sigmoid, x: Any) -> Any:
        return tf.keras.layers.Activation("sigmoid")(x)

    @add.register
    def _(self, op: ops.Concat, *values: Any) -> Any:
        return tf.keras.layers.Concatenate()(list(values))

    @add.register
    def _(self, op: ops.Flatten, x: Any) -> Any:
        if op is not self.packed.ops[-1] and x.shape[1:3] != (1, 1):
            raise UnsupportedError("flattening a map within a network is left out")
        return x  # the output is compared in channels-first order

    def padded(self, x: Any, w: ops.Window) -> Any:
        """x with what the windows of a float layer see around it, and without what none sees."""
        around = self.around(x, w)
        if any(n > 0 for n in sum(around, ())):
            x = tf.keras.layers.ZeroPadding2D(tuple((max(a, 0), max(b, 0)) for a, b in around))(x)
        if any(n < 0 for n in sum(around, ())):
            x = tf.keras.layers.Cropping2D(tuple((max(-a, 0), max(-b, 0)) for a, b in around))(x)
        return x

    def same(self, name: str, x: Any, w: ops.Window) -> tuple[Any, str]:
        """(x, TensorFlow's name of its padding); where no window sees beyond x, without what none sees.

        Raises:
            UnsupportedError: TensorFlow has no name for it.
        """
        around = self.around(x, w)
        if all(max(both) <= 0 for both in around):
            return self.padded(x, w), "valid"
        shrunk = tuple(-(-size // stride) for size, stride in zip(x.shape[1:3], w.stride, strict=True))
        even = all(before >= 0 and 0 <= after - before <= 1 for before, after in around)
        if not even or w.output_size(*x.shape[1:3]) != shrunk:
            raise UnsupportedError(f"'{name}': padding {around} is not TensorFlow's \"same\"")
        return x, "same"

    def around(self, x: Any, w: ops.Window) -> tuple[tuple[int, int], tuple[int, int]]:
        """((above, below), (left, right)): rows and columns that the windows see around x; negative: of x not seen."""
        height, width = x.shape[1:3]
        top, _, left, _ = w.padding
        out = w.output_size(height, width)
        axes = zip((height, width), out, w.kernel_size, w.stride, w.dilation, (top, left), strict=True)
        both = []
        for size, count, kernel, stride, dilation, before in axes:
            after = (count - 1) * stride + (kernel - 1) * dilation + 1 - size - before
            both.append((after, before) if self.mirrored else (before, after))
        return both[0], both[1]


def norm(x: Any, scale: Any, bias: Any) -> Any:
    """A batch norm, a number a channel."""
    layer = tf.keras.layers.BatchNormalization(epsilon=0.0)
    y = layer(x, training=False)
    zeros, ones = np.zeros(len(scale)), np.ones(len(scale))
    layer.set_weights([np.asarray(a, np.float32) for a in (scale, bias, zeros, ones)])
    return y


def pooled_late(packed: PackedModel) -> PackedModel:
    """The network with sums that are pooled and then thresholded upwards in the other order: the same bits, and the
    converter then pools bits, where it would pool floats."""
    made = list(packed.ops)
    users = {name: [op for op in made if name in op.inputs] for name in packed.values}
    for op in packed.ops:
        pool = next((o for o in made if o.name == op.inputs[0]), None)
        alone = isinstance(pool, ops.MaxPool2d) and len(users[pool.name]) == 1
        if isinstance(op, ops.Threshold) and alone and not op.descending.any():
            i, j = made.index(pool), made.index(op)
            made[i] = replace(op, name=pool.name, inputs=pool.inputs)
            made[j] = replace(pool, name=op.name, inputs=(pool.name,))
    return replace(packed, ops=tuple(made))


def convert(name: str, packed: PackedModel, folder: Path) -> None:
    """Write the file of a network, mirrored where it must be."""
    late = pooled_late(packed)
    try:
        mirrored, graph = False, KerasGraph(late)
    except UnsupportedError:
        mirrored, graph = True, KerasGraph(late, mirrored=True)
    path = folder / file_name(name, mirrored)
    with replacing(path) as temporary:
        temporary.write_bytes(engine.convert_keras_model(graph.model))
    print(f"{path}: {path.stat().st_size:,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the files are written")
    parser.add_argument("--net", action="append", default=[], help="as for `xnornet bench`; repeat")
    parser.add_argument("--layer", action="append", default=[], help="as for `xnornet bench`; repeat")
    options = parser.parse_args()
    if lacking:
        parser.exit(1, f"{parser.prog}: {lacking}; --help says what to install\n")
    try:
        for name in options.net:
            convert(name, network_case(name).models["xnor"], options.folder)
        for spec in options.layer:
            convert(spec, layer_case(spec).models["xnor"], options.folder)
    except (XnornetError, OSError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
