"""ONNX Runtime on the CPU: float32, and 8-bit with static ranges."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ...graph import INPUT
from ..case import Case, Precision
from .base import Loaded, Peer, PeerUnavailable
from .int8 import most_code
from .onnx_graph import save

__all__ = ["Float", "Int8"]


class Float(Peer):
    """A float32 ONNX file."""

    def start(self) -> None:
        _onnxruntime()

    def convert(self, case: Case, folder: Path) -> Path:
        _onnxruntime()
        save(case.models["float"], case.x.shape, path := folder / "model.onnx")
        return path

    def load(self, path: Path, x: npt.NDArray[Any], threads: int) -> Loaded:
        ort = _onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feed = {INPUT: x}
        return Loaded(lambda: session.run(None, feed)[0], f"onnxruntime {ort.__version__}, float in")


class Int8(Float):
    """Quantized ahead by ONNX Runtime's own tool: QDQ form, weights by channel, calibrated on the input itself."""

    weight_bits = 8
    precision: ClassVar[Precision | None] = "int8"

    def convert(self, case: Case, folder: Path) -> Path:
        _onnxruntime()
        save(case.models["float"], case.x.shape, source := folder / "float.onnx")
        from onnxruntime import quantization as q

        class Reader(q.CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.batches: Iterator[dict[str, npt.NDArray[np.float32]]] = iter([{INPUT: case.x}])

            def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
                return next(self.batches, None)

        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it advises at length
        try:
            q.quantize_static(
                str(source),
                str(path := folder / "model.onnx"),
                Reader(),
                quant_format=q.QuantFormat.QDQ,
                per_channel=True,
                activation_type=q.QuantType.QUInt8,
                weight_type=q.QuantType.QInt8,
                reduce_range=most_code() < 127,
            )
        finally:
            logging.disable(before)
        source.unlink()
        return path


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise PeerUnavailable("onnxruntime is not installed; pip install 'xnornet[bench]'") from error
    onnxruntime.disable_telemetry_events()
    return onnxruntime
