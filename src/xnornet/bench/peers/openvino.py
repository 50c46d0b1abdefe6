"""OpenVINO on the CPU: float32, 8-bit, and its BinaryConvolution, the strongest peer with binary kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy.typing as npt

from ..case import Case, Family, Precision
from ..folding import fold_norms
from .base import Loaded, Peer, PeerUnavailable
from .openvino_graph import OpenVinoGraph

__all__ = ["Binary", "Float", "Int8"]


class Float(Peer):
    """A float32 model."""

    def start(self) -> None:
        _openvino()

    def convert(self, case: Case, folder: Path) -> Path:
        ov = _openvino()
        graph = self._graph(ov, case)
        # Not ov.save_model: it would store weights in 16 bits.
        ov.serialize(graph.model, str(path := folder / "model.xml"), str(folder / "model.bin"))
        return path

    def _graph(self, ov: Any, case: Case) -> OpenVinoGraph:
        return OpenVinoGraph(ov, fold_norms(case.models["float"]), case.x.shape)

    def load(self, path: Path, x: npt.NDArray[Any], threads: int) -> Loaded:
        ov = _openvino()
        compiled = ov.Core().compile_model(str(path), "CPU", _settings(threads))
        request = compiled.create_infer_request()

        def run() -> npt.NDArray[Any]:
            out: npt.NDArray[Any] = request.infer({0: x}, share_inputs=True)[0]
            return out

        return Loaded(run, ", ".join([f"openvino {ov.__version__.split('-')[0]}", "float in", *_kernels(compiled)]))


class Int8(Float):
    """Fake quantization of all that goes into convolutions, ranges from the input itself; OpenVINO makes it 8-bit."""

    weight_bits = 8
    precision: ClassVar[Precision | None] = "int8"

    def _graph(self, ov: Any, case: Case) -> OpenVinoGraph:
        folded = fold_norms(case.models["float"])
        graph = OpenVinoGraph(ov, folded, case.x.shape)
        model = ov.Model(list(graph.nodes.values()), graph.model.get_parameters(), "ranges")
        values = ov.Core().compile_model(model, "CPU", _settings(1))({0: case.x})
        ranges = {name: (float(values[i].min()), float(values[i].max())) for i, name in enumerate(graph.nodes)}
        return OpenVinoGraph(ov, folded, case.x.shape, ranges)


class Binary(Float):
    """The binary network itself, with BinaryConvolution."""

    family: ClassVar[Family] = "xnor"
    precision: ClassVar[Precision | None] = None

    def _graph(self, ov: Any, case: Case) -> OpenVinoGraph:
        return OpenVinoGraph(ov, case.models["xnor"], case.x.shape)


def _settings(threads: int) -> dict[str, Any]:
    return {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}


def _kernels(compiled: Any) -> list[str]:
    """The kernels of its binary convolutions, as its runtime model names them."""
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    binary = [fact for fact in facts if fact["layerType"].astype(str) == "BinaryConvolution"]
    return sorted({str(fact["primitiveType"].astype(str)) for fact in binary})


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise PeerUnavailable("openvino is not installed; pip install 'xnornet[bench]'") from error
    return openvino
