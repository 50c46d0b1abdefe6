"""Other implementations of a layer. Each is imported only when it is timed; one that is missing says so.

A peer is a function ``(layer, weights, x, threads) -> (run, note)``: weights (out, in, kh, kw) of +1 / -1,
x (1, C, H, W) float32, ``run()`` -> (1, out, H, W) float32, from float to float. It raises `PeerUnavailable` with the
reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .layers import Layer

__all__ = ["PEERS", "PeerUnavailable"]

F32 = npt.NDArray[np.float32]
Run = Callable[[], F32]
Peer = Callable[["Layer", npt.NDArray[np.int8], F32, int], tuple[Run, str]]


class PeerUnavailable(Exception):
    """Why a peer cannot be timed here."""


def torch_float(layer: Layer, weights: npt.NDArray[np.int8], x: F32, threads: int) -> tuple[Run, str]:
    """PyTorch's float convolution (oneDNN) or dense layer on the signs of the input: the same numbers."""
    try:
        import torch
        from torch.nn import functional as F
    except ImportError as error:
        raise PeerUnavailable("torch is not installed; pip install 'xnornet[train]'") from error
    torch.set_num_threads(threads)
    signs = torch.from_numpy(np.where(x >= 0, np.float32(1), np.float32(-1)))
    filters = torch.from_numpy(weights.astype(np.float32))
    dense = layer.size == 1 and layer.kernel == 1
    if dense:
        signs, filters = signs.flatten(1), filters.flatten(1)
    else:
        signs, filters = (t.contiguous(memory_format=torch.channels_last) for t in (signs, filters))

    @torch.inference_mode()
    def run() -> F32:
        if dense:
            return F.linear(signs, filters)[:, :, None, None].numpy()
        out: F32 = F.conv2d(signs, filters, stride=layer.stride, padding=layer.padding).numpy()
        return out

    return run, f"torch {torch.__version__}, float32{'' if dense else ', channels-last'}, signs given"


def openvino_binary(layer: Layer, weights: npt.NDArray[np.int8], x: F32, threads: int) -> tuple[Run, str]:
    """OpenVINO's BinaryConvolution behind a two-level FakeQuantize.

    It needs input channels in multiples of 8 and padding of 2 at most; its weights share NumPy's buffer, which must
    live as long as the model; the quantiser must give 0 and 1. An exact 0 becomes -1 there, +1 here.
    """
    try:
        import openvino as ov
        from openvino import opset1
    except ImportError as error:
        raise PeerUnavailable("openvino is not installed; pip install 'xnornet[bench]'") from error
    if layer.in_channels % 8 or layer.padding > 2:
        raise PeerUnavailable("silently wrong for channels not in multiples of 8, refused for padding above 2")
    packed = np.packbits((weights > 0).ravel(), bitorder="little")
    numbers = [opset1.constant(np.float32(n)) for n in (0.0, 0.0, 0.0, 1.0)]
    parameter = opset1.parameter(list(x.shape), np.float32)
    bits = opset1.fake_quantize(parameter, *numbers, 2)
    constant = ov.op.Constant(ov.Tensor(packed, ov.Shape(weights.shape), ov.Type.u1))
    pads = [layer.padding] * 2
    node = opset1.binary_convolution(
        bits, constant, [layer.stride] * 2, pads, pads, [1, 1], "xnor-popcount", 0.0, "explicit"
    )
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERF_COUNT": True,
    }
    request = ov.Core().compile_model(ov.Model([node], [parameter], "layer"), "CPU", settings).create_infer_request()

    def run(_keep: Any = packed) -> F32:
        out: F32 = request.infer({0: x}, share_inputs=True)[0]
        return out

    run()
    kernels = [p.exec_type for p in request.profiling_info if p.node_type == "BinaryConvolution"]
    return (
        run,
        f"openvino {ov.__version__.split('-')[0]}, {', '.join(kernels) or 'no BinaryConvolution in its profile'}",
    )


PEERS: dict[str, Peer] = {"torch": torch_float, "openvino-binary": openvino_binary}
