"""Make networks of Larq's layers with random weights, their ONNX files by tf2onnx, and what Keras computes of them.

pip install larq tensorflow-cpu==2.15.1 "tf2onnx<1.17" "onnx<1.17" "numpy<2"    # Python 3.10 or 3.11
python tests/from_larq/make.py                                                    # writes beside itself
"""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path

import larq
import numpy as np
import tensorflow as tf
import tf2onnx
from tensorflow.keras import layers

FOLDER = Path(__file__).parent
BINARY = {
    "input_quantizer": "ste_sign",
    "kernel_quantizer": "ste_sign",
    "kernel_constraint": "weight_clip",
    "use_bias": False,
}


def shortcuts() -> tf.keras.Model:
    """Blocks of Bi-Real Net's kind behind a stem that pads more below and right, signs padded with +1 and with 0."""
    image = layers.Input((24, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.MaxPool2D(3, strides=2, padding="same")(x)
    y = larq.layers.QuantConv2D(8, 3, padding="same", pad_values=1.0, **BINARY)(x)
    x = layers.add([x, layers.BatchNormalization()(y)])
    short = layers.Conv2D(16, 1)(layers.AvgPool2D(2)(x))
    y = larq.layers.QuantConv2D(16, 3, strides=2, padding="same", **BINARY)(x)
    x = layers.add([short, layers.BatchNormalization(scale=False)(layers.ReLU()(y))])
    x = layers.GlobalAvgPool2D()(layers.ReLU()(x))
    return tf.keras.Model(image, layers.Activation("softmax")(layers.Dense(5)(x)))


def flattened() -> tf.keras.Model:
    """Binary dense layers behind a flattened map, whose features Keras counts channels last."""
    net = tf.keras.Sequential([layers.Input((12, 10, 1))])
    net.add(larq.layers.QuantConv2D(8, 3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip"))
    net.add(layers.BatchNormalization(scale=False))
    net.add(larq.layers.QuantConv2D(16, 3, padding="same", **BINARY))
    net.add(layers.MaxPool2D(2))
    net.add(layers.BatchNormalization(scale=False))
    net.add(layers.Flatten())
    net.add(larq.layers.QuantDense(24, **BINARY))
    net.add(layers.BatchNormalization(scale=False))
    net.add(larq.layers.QuantDense(5, **BINARY))
    return net


def gated() -> tf.keras.Model:
    """A depthwise layer, a gate, PReLU, scaled weights, concatenation."""
    image = layers.Input((20, 20, 3))
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, padding="same")(image)))
    x = layers.Conv2D(16, 1)(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
    scaled = {**BINARY, "input_quantizer": "approx_sign", "kernel_quantizer": larq.quantizers.MagnitudeAwareSign()}
    y = larq.layers.QuantConv2D(16, 3, padding="same", **scaled)(x)
    y = layers.BatchNormalization()(layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_uniform")(y))
    gate = layers.Dense(4, activation="relu")(layers.GlobalAvgPool2D()(x))
    gate = layers.Reshape((1, 1, 16))(layers.Dense(16, activation="sigmoid")(gate))
    x = layers.add([layers.multiply([y, gate]), x])
    x = layers.concatenate([x, larq.layers.QuantConv2D(8, 3, padding="same", **BINARY)(x)])
    x = layers.AvgPool2D(3, strides=2)(layers.LeakyReLU(0.1)(layers.BatchNormalization()(x)))
    return tf.keras.Model(image, layers.Dense(5)(layers.GlobalAvgPool2D()(x)))


def with_norms_drawn(net: tf.keras.Model, rng: np.random.Generator) -> tf.keras.Model:
    """As after training, not the identity."""
    for layer in net.layers:
        if isinstance(layer, layers.BatchNormalization):
            *others, variance = layer.get_weights()
            drawn = [rng.normal(0, 0.5, array.shape) for array in others]
            layer.set_weights([*drawn, rng.uniform(0.5, 1.5, variance.shape)])
    return net


def main() -> None:
    tf.keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    for make in (shortcuts, flattened, gated):
        net = with_norms_drawn(make(), rng)
        images = rng.normal(size=(2, *net.input_shape[1:])).astype(np.float32)
        signature = (tf.TensorSpec((None, *net.input_shape[1:]), tf.float32, name="images"),)
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            tf2onnx.convert.from_keras(net, input_signature=signature, opset=13, output_path=file.name)
            packed = gzip.compress(Path(file.name).read_bytes(), mtime=0)
        (FOLDER / f"{make.__name__}.onnx.gz").write_bytes(packed)
        np.savez_compressed(FOLDER / f"{make.__name__}.npz", images=images, outputs=net.predict(images, verbose=0))


if __name__ == "__main__":
    main()
