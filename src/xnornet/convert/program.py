"""What `torch.export` makes of a module: its operators one by one, each with the module it stands in."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..errors import UnsupportedError
from .lowerings import ARITHMETIC
from .nodes import where

__all__ = ["export", "leaves"]

aten = torch.ops.aten

_FILLED = {aten.full.default, aten.full_like.default, aten.new_full.default, aten.scalar_tensor.default}


def export(module: nn.Module, example_input: Tensor) -> torch.export.ExportedProgram:
    """Export a copy in float32 and eval mode on the CPU. Two images, so that a reshape that mixes images is seen.

    Raises UnsupportedError: no module, one that cannot be copied or traced, or does not take the input.
    """
    if not isinstance(module, nn.Module):
        file = "; `xnornet pack` packs checkpoints of `xnornet train`" if isinstance(module, str | Path) else ""
        raise UnsupportedError(f"a {type(module).__name__} is no torch.nn.Module; give the network itself{file}")
    module = getattr(module, "_orig_mod", module)  # that torch.compile was given
    for path, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            named = f"module '{path}': " if path else ""
            raise UnsupportedError(
                f"{named}a {type(part).__name__} is compiled by torch.jit; give the module it was made from"
            )
    try:
        # What a forward pass computed and left in an attribute, which torch refuses to copy.
        held = [t for part in module.modules() for t in leaves(vars(part)) if isinstance(t, Tensor)]
        memo = {id(tensor): tensor.detach().clone() for tensor in held if not tensor.is_leaf}
        frozen = copy.deepcopy(module, memo).cpu().float().eval().requires_grad_(False)
        for part in frozen.modules():  # or nn.Module.compile: nothing is gained by compiling for one pass
            part._compiled_call_impl = None
    except Exception as error:  # of the module's own
        raise UnsupportedError(f"{type(module).__name__} cannot be copied ({_first_line(error)})") from error
    example = torch.zeros(2, *example_input.shape[1:])
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            _check_state(frozen, example)
    except UnsupportedError:  # of a network of another framework, which says what it cannot
        raise
    except Exception as error:  # of the module's own
        said, told = _first_line(error), "give another example_input"
        if any(word in said for word in ("CUDA", "cuda", "NVIDIA")):
            told = "take .cuda() and device='cuda' out of forward(): what is made there goes to x.device"
        elif "Legacy autograd function" in said:
            told = "make forward and backward of it static (@staticmethod), and call it by .apply(x)"
        raise UnsupportedError(
            f"{type(module).__name__} does not take an input of shape {list(example.shape)} ({said}); {told}"
        ) from error
    program = _trace(frozen, example)
    if program.constants or any(node.target in ARITHMETIC | _FILLED and numbers for node, numbers in _numbers(program)):
        _check_batch(program, _trace(frozen, torch.zeros(3, *example.shape[1:])))
    return program


def _check_state(frozen: nn.Module, example: Tensor) -> None:
    """Run twice. What a forward pass keeps for the next would be packed as some pass left it; weights that it clips
    stay as they are from then on. Raises UnsupportedError.
    """
    frozen(example)
    before = {name: tensor.clone() for name, tensor in _state(frozen).items()}
    frozen(example)
    for name, tensor in _state(frozen).items():
        if name not in before or not _equal(tensor, before[name]):
            raise UnsupportedError(
                f"'{name}' changes with every forward pass, in eval mode too; write to it where self.training is True"
            )


def _state(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, those too that checkpoints leave out."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _equal(a: Tensor, b: Tensor) -> bool:
    """NaN equals itself here."""
    return torch.equal(a.nan_to_num(), b.nan_to_num())


def _trace(frozen: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """`torch.export`, whose complaints are of itself, as one line of the network. Raises UnsupportedError."""
    try:
        with warnings.catch_warnings(), torch.no_grad(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # torch prints the whole graph where it fails
            return torch.export.export(frozen, (example,))
    except Exception as error:  # torch.export raises what the traced code raises, and much of its own
        said, told = _first_line(error), "take data-dependent Python control flow out of forward()"
        if "fake tensor" in said:
            said = "a tensor that it cannot follow, as x.data is"
            told = (
                "use x.detach() for x.data, and torch functions that do not write to it, in forward(); weights are "
                "made there anew, as in F.conv2d(x, sign(self.weight)), not written to self.weight.data"
            )
        raise UnsupportedError(
            f"{type(frozen).__name__} cannot be exported by torch.export ({said}); {told}"
        ) from error


def _numbers(program: torch.export.ExportedProgram) -> list[tuple[fx.Node, list[float]]]:
    """Every operator with the numbers it computes with; those of shapes stand in lists."""
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    return [(node, [a for a in node.args if isinstance(a, int | float)]) for node in calls]


def _check_batch(two: torch.export.ExportedProgram, three: torch.export.ExportedProgram) -> None:
    """A trace holds x.size(0) as a number like any other; of more images it is another. Raises UnsupportedError."""
    told = "cannot be packed; keep x.size(0) out of the arithmetic in forward()"
    calls, others = _numbers(two), _numbers(three)
    for (node, numbers), (other, their_numbers) in zip(calls, others, strict=False):
        if (node.target, str(numbers)) != (other.target, str(their_numbers)):  # of NaN too
            raise UnsupportedError(
                f"{where(node)}, operator {node.target} with {numbers} for two images, {other.target} with "
                f"{their_numbers} for three {told}"
            )
    if len(calls) != len(others):
        raise UnsupportedError(f"{len(calls)} operators for two images and {len(others)} for three {told}")
    for (name, value), their_value in zip(two.constants.items(), three.constants.values(), strict=False):
        if isinstance(value, Tensor) and not _equal(value, their_value):
            raise UnsupportedError(f"a constant, '{name}', that is another for two images than for three {told}")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def leaves(tree: Any) -> list[Any]:
    """What stands in nested lists, tuples and dicts."""
    return list(torch.utils._pytree.tree_leaves(tree))
