"""Walk an exported program: constants are computed, every other operator is lowered to ops, in order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from ..errors import FormatError, UnsupportedError
from ..graph import INPUT
from .builder import Builder, Refusal, Symbol
from .idioms import rewrite
from .lowerings import LOWERINGS, remedy
from .nodes import memory_of, module_path, where
from .program import leaves

__all__ = ["walk"]


def walk(program: torch.export.ExportedProgram, builder: Builder) -> Symbol:
    """Lower every operator in order; what depends on parameters alone is computed at once. Returns the logits.

    Raises UnsupportedError: an operator that cannot be lowered, by name and module; no logits; NaN in a parameter.
    """
    signature = program.graph_signature
    state: dict[str, Any] = {**program.state_dict, **program.constants}
    held = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    known: dict[fx.Node, Any] = {}
    rewrite(program)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in held:
                known[node] = _finite(held[node.name], state[held[node.name]].detach()) if node.users else None
            else:
                known[node] = Symbol(INPUT, builder.values[INPUT], rank=4)
        elif node.op == "get_attr":
            known[node] = None  # the body of the operator that follows
        elif node.op == "call_function":
            known[node] = _lower_node(node, known, builder)
        elif node.op == "output":
            result = node.args[0][0] if len(node.args[0]) == 1 else None
            symbol = known.get(result) if isinstance(result, fx.Node) else None
            if not isinstance(symbol, Symbol):
                raise UnsupportedError("the module must return one tensor, the logits, computed from its input")
            return symbol
    raise UnsupportedError("the module returns nothing")


def _finite(name: str, tensor: Tensor) -> Tensor:
    """Signs of NaN would look like any others."""
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise UnsupportedError(f"'{name}' holds NaN or infinity; the training diverged: pack an earlier checkpoint")
    return tensor


def _lower_node(node: fx.Node, known: dict[fx.Node, Any], builder: Builder) -> Any:
    def value_of(argument: Any) -> Any:
        return fx.map_arg(argument, lambda inner: known[inner])

    args, kwargs = value_of(node.args), value_of(node.kwargs)
    builder.module_path = module_path(node)
    builder.operator = str(node.target).removeprefix("aten.").split(".")[0].rstrip("_")
    fake = node.meta.get("val")
    builder.output_shape = tuple(int(n) for n in fake.shape) if isinstance(fake, Tensor) else ()
    try:
        if not any(isinstance(a, Symbol) for a in [*leaves(args), *leaves(kwargs)]):
            if _is_random(node.target, args, kwargs):
                raise Refusal("a random number", "draw none where self.training is False")
            if isinstance(node.target, torch._ops.HigherOrderOperator):
                raise Refusal("this operator", remedy(str(node.target)))
            return node.target(*args, **kwargs)  # type: ignore[operator]
        lowering = LOWERINGS.get(node.target)
        if lowering is None:
            raise Refusal("this operator", remedy(str(node.target)))
        _check_in_place(node)
        result = lowering(builder, _bind(node.target, args, kwargs))
        if isinstance(result, Tensor):
            return result
        if isinstance(fake, Tensor) and fake.is_floating_point() and fake.dtype != torch.float32:
            raise Refusal(f"arithmetic in {fake.dtype}", "compute in float32; the packer takes 16-bit modules as such")
        expected = builder.output_shape  # empty: the operator yields nothing
        if expected and not result.is_scale_map and result.torch_shape(expected[0]) != expected:
            raise Refusal(f"a result of shape {list(expected)}", "only (N, C, H, W) and (N, features) can be")
        return result
    except (Refusal, FormatError) as refusal:
        raise UnsupportedError(f"{where(node)}, operator {node.target}: {refusal}") from refusal
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise UnsupportedError(
            f"{where(node)}, operator {node.target}: cannot be packed with such arguments ({said})"
        ) from error


def _check_in_place(node: fx.Node) -> None:
    """Symbols do not change. An operator that writes over its input changes every other tensor on the same memory,
    which is right here only where nobody reads those any more. Raises Refusal.
    """
    schema = getattr(node.target, "_schema", None)
    writes = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write] if schema else []
    if not writes:
        return
    bound = _bind(node.target, node.args, node.kwargs)
    before = set()
    for other in node.graph.nodes:
        if other is node:
            break
        before.add(other)
    for name in writes:
        memory = memory_of(bound[name]) if isinstance(bound[name], fx.Node) else node
        for other in before:
            later = [user for user in other.users if user is not node and user not in before]
            if later and memory_of(other) is memory:
                raise Refusal(
                    "an operator in place on what is read again later under another name",
                    "use inplace=False, or y = x + 1 for x += 1",
                )


def _is_random(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether every run would give something else: all that is tagged so, but for dropout that is off."""
    tagged = torch.Tag.nondeterministic_seeded in getattr(operator, "tags", ())
    return tagged and _bind(operator, args, kwargs).get("train") is not False


def _bind(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name, defaults filled in."""
    schema = operator._schema.arguments
    bound = {argument.name: argument.default_value for argument in schema}
    bound.update(zip((argument.name for argument in schema), args, strict=False))
    return {**bound, **kwargs}
