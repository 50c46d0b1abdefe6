"""PyTorch on the CPU (oneDNN): eager, compiled, and 8-bit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy.typing as npt

from ..case import Case, Precision
from ..folding import fold_norms
from .base import Loaded, Peer, PeerUnavailable

__all__ = ["Compiled", "Eager", "Int8"]


class _Torch(Peer):
    """A network is a plain module, as people run it. An exported program, PyTorch's form of deployment, checks its
    inputs at every call, for which a small network took a fifth longer (by hand).

    Convolutions that see their whole input are dense layers (PyTorch would repack AlexNet's 6 x 6 weights on every run)
    and norms are folded. The input is channels-last beforehand.
    """

    def start(self) -> None:
        _torch()

    def convert(self, case: Case, folder: Path) -> Path:
        torch = _torch()
        from ...convert.to_torch import module_of

        with torch.no_grad():
            self._save(
                module_of(fold_norms(case.models["float"])), torch.from_numpy(case.x), path := folder / "model.pt"
            )
        return path

    def _save(self, module: Any, x: Any, path: Path) -> None:
        _torch().save(module, path)

    def _open(self, path: Path) -> Any:
        return _torch().load(path, weights_only=False)  # our own, of a moment ago

    def load(self, path: Path, x: npt.NDArray[Any], threads: int) -> Loaded:
        torch = _torch()
        torch.set_num_threads(threads)
        module = self._open(path)
        image = torch.from_numpy(x)
        network, note = self._ready(module, image)
        image = image.contiguous(memory_format=torch.channels_last)

        def run() -> npt.NDArray[Any]:
            with torch.inference_mode():
                out: npt.NDArray[Any] = network(image).numpy()
            return out

        return Loaded(run, f"torch {torch.__version__}, {note}")

    def _ready(self, module: Any, image: Any) -> tuple[Callable[[Any], Any], str]:
        raise NotImplementedError


class Eager(_Torch):
    """Operator by operator, channels-last."""

    def _ready(self, module: Any, image: Any) -> tuple[Callable[[Any], Any], str]:
        return module.to(memory_format=_torch().channels_last), "eager, channels-last"


class Compiled(_Torch):
    """By torch.compile, weights frozen and repacked; it needs a C++ compiler."""

    def _ready(self, module: Any, image: Any) -> tuple[Callable[[Any], Any], str]:
        return _compiled(module.to(memory_format=_torch().channels_last), image), "compiled, weights frozen"


class Int8(_Torch):
    """Weights and inputs of 8 bits, by torchao's quantizer for x86, calibrated on the input itself; then compiled.

    It quantizes exported programs.
    """

    weight_bits = 8
    precision: ClassVar[Precision | None] = "int8"

    def start(self) -> None:
        super().start()
        if find_spec("torchao") is None:
            raise PeerUnavailable("torchao is not installed; pip install 'xnornet[bench]'")
        import torchao.quantization.pt2e  # noqa: F401 (an exported program needs the operators it registers)

    def _save(self, module: Any, x: Any, path: Path) -> None:
        self.start()
        torch = _torch()
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        quantizer = x86.X86InductorQuantizer()
        quantizer.set_global(x86.get_default_x86_inductor_quantization_config())
        prepared = prepare_pt2e(torch.export.export(module, (x,)).module(), quantizer)
        prepared(x)
        torch.export.save(torch.export.export(convert_pt2e(prepared), (x,)), path)

    def _open(self, path: Path) -> Any:
        return _torch().export.load(path).module()

    def _ready(self, module: Any, image: Any) -> tuple[Callable[[Any], Any], str]:
        import torchao

        return _compiled(module, image), f"torchao {torchao.__version__}, compiled"


def _compiled(module: Any, image: Any) -> Callable[[Any], Any]:
    torch = _torch()
    from torch._inductor import config

    config.freezing = True
    with torch.no_grad():
        compiled: Callable[[Any], Any] = torch.compile(module)
        compiled(image.contiguous(memory_format=torch.channels_last))
    return compiled


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise PeerUnavailable("torch is not installed; pip install 'xnornet[train]'") from error
    warnings.simplefilter("ignore")
    return torch
