"""Turn the layers of a user's own torch module into quantized ones, in place."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn

from .layers import BinaryConv2d, BinaryLinear
from .methods import Method
from .methods import method as method_named
from .quantizers import InputQuantizer, WeightQuantizer

__all__ = ["BinarizeReport", "LayerReport", "Skip", "binarize_"]

Skip = str | Callable[[str, nn.Module], bool]

_NEVER_NEGATIVE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Softmax, nn.Softplus, nn.Hardsigmoid)
_NOT_CALLED = "not called with example_input"
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Linear, nn.Bilinear)


@dataclass(frozen=True)
class LayerReport:
    """What became of one convolution or dense layer.

    Attributes:
        name: its path; a shared layer has one name for each place, joined by commas.
        kind: its class before.
        weights: how many.
        changed: whether it is quantized now.
        note: why not, or what is special about it; empty where there is nothing to say.
    """

    name: str
    kind: str
    weights: int
    changed: bool
    note: str = ""


@dataclass(frozen=True)
class BinarizeReport:
    """What `binarize_` did; printed, it is a table.

    Attributes:
        method: the name of the method.
        layers: every convolution and dense layer, in the order that decided which is first and last; behind them
            modules of other classes that hold weights.
        traps: what is likely to train badly as it stands, one sentence each; they were also warned about.
    """

    method: str
    layers: tuple[LayerReport, ...]
    traps: tuple[str, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the layers that are quantized now."""
        return tuple(layer.name for layer in self.layers if layer.changed)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Names of the layers that were left as they are."""
        return tuple(layer.name for layer in self.layers if not layer.changed)

    def table(self) -> Table:
        """For people: one row a layer."""
        weights = sum(layer.weights for layer in self.layers)
        quantized = sum(layer.weights for layer in self.layers if layer.changed)
        count = f"{len(self.changed)} of {len(self.layers)} layers, {quantized:,} of {weights:,} weights"
        title = f"{count} are now {self.method}"
        table = Table(title=title, title_justify="left")
        for heading in ("layer", "was", "is"):
            table.add_column(heading, overflow="fold")
        table.add_column("weights", justify="right")
        table.add_column("note", overflow="fold")
        for layer in self.layers:
            now = self.method if layer.changed else "float"
            table.add_row(Text(layer.name), layer.kind, now, f"{layer.weights:,}", layer.note)
        return table

    def __str__(self) -> str:
        console = Console(width=120, color_system=None, markup=False, emoji=False, highlight=False)
        with console.capture() as capture:
            console.print(self.table())
            for trap in self.traps:
                console.print(f"warning: {trap}", soft_wrap=True)
        return capture.get().rstrip()


@dataclass
class _Candidate:
    names: list[str]
    layer: nn.Module
    smallest_input: float | None = None  # seen with the example; None: not seen
    called: bool = True  # not so where an example was run and the layer had no part in it

    @property
    def name(self) -> str:
        return ", ".join(self.names)


def binarize_(
    module: nn.Module,
    method: str | Method = "xnor",
    *,
    skip: Skip | Iterable[Skip] = ("first", "last"),
    example_input: Tensor | None = None,
) -> BinarizeReport:
    """Turn the convolutions and dense layers inside a module into quantized ones, in place.

    The layers stay the objects they are: weights, biases, geometry, device, dtype, mode, hooks, sharing and the
    parameters that an optimiser holds are kept; a method that centres weights centres and clips them, one whose latent
    weights are made for [-1, 1] (BinaryConnect, BinaryNet, kbit) scales each filter to reach 1. Only plain
    `torch.nn.Conv2d` and `torch.nn.Linear`, and the float convolutions of our networks, are changed; the report says
    what was and why not. After each optimiser step call `clip_weights_`, and keep weight decay off the latent weights.

    Args:
        module: any module.
        method: a name of `xnornet.nn.method`, or a `Method`.
        skip: what stays as it is: "first" and "last" (as the paper has it), paths ("layer1.0.conv1"), patterns of paths
            ("*.downsample.*"), functions of path and layer that return whether to skip it. () changes all: then the
            first layer takes its real input, as an image has no useful sign.
        example_input: run through the module once, without gradients, to see in which order the layers are called and
            what they take; without it, they are in order of definition.

    Returns:
        What was changed, what was skipped and why, and traps.

    Raises:
        ValueError: an unknown method, one that quantizes nothing, or a `skip` that names no layer.
    """
    chosen = method_named(method) if isinstance(method, str) else method
    if not (chosen.quantized_weights or chosen.quantized_inputs):
        raise ValueError(f"method '{chosen.name}' quantizes nothing")
    candidates = list(_candidates(module))
    if example_input is not None:
        candidates = _in_order_of_calls(module, candidates, example_input)
    rules = [skip] if isinstance(skip, str) or callable(skip) else list(skip)
    _check_rules(rules, candidates)
    rows: list[LayerReport] = []
    traps: list[str] = []
    if isinstance(module, nn.DataParallel):
        traps.append("DataParallel trains binary networks badly: use DistributedDataParallel")
    if not candidates:
        traps.append(f"{type(module).__name__} has no convolution or dense layer: nothing is quantized")
    behind, bypassed = _behind(module), _bypassed(module)
    last = max((position for position, found in enumerate(candidates) if found.called), default=None)
    for position, found in enumerate(candidates):
        layer = found.layer
        kind, weights = type(layer).__name__, _weights(layer)
        place = {"first": position == 0, "last": position == last}
        skipped = next((r for rule in rules if (r := _skips(rule, found, place))), None)
        reason = skipped or _obstacle(layer) or bypassed.get(id(layer)) or (None if found.called else _NOT_CALLED)
        if reason is not None:
            rows.append(LayerReport(found.name, kind, weights, False, reason))
            continue
        its = replace(chosen, float_layers=()).first if position == 0 and chosen.quantized_inputs else chosen
        if not (its.quantized_weights or its.quantized_inputs):
            rows.append(LayerReport(found.name, kind, weights, False, "first layer: its input stays real"))
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            adopted = BinaryConv2d if isinstance(layer, nn.Conv2d) else BinaryLinear
            adopted.adopt(layer, **its.quantizers())
        notes = ["first layer: its input stays real"] if its is not chosen else []
        if isinstance(layer.weight_quantizer, WeightQuantizer) and layer.weight_quantizer.adopted:
            notes.append(layer.weight_quantizer.adopted)
        traps += [f"{found.name}: {warning.message}" for warning in caught]
        traps += [f"{found.name}: {trap}" for trap in _traps(found, its, behind.get(found.names[0], (None, 0.0)))]
        rows.append(LayerReport(found.name, kind, weights, True, "; ".join(notes)))
    rows += _others(module)
    for trap in traps:
        warnings.warn(trap, stacklevel=2)
    return BinarizeReport(chosen.name, tuple(rows), tuple(traps))


def _others(module: nn.Module) -> Iterator[LayerReport]:
    """Modules that compute with weights of their own: what they compute is not known."""
    lazy, known = nn.parameter.UninitializedParameter, (*_LAYERS, torch.nn.utils.parametrize.ParametrizationList)
    for name, part in module.named_modules():
        own = [p for p in part.parameters(recurse=False) if not isinstance(p, lazy)]
        if not isinstance(part, known) and any(sum(size > 1 for size in p.shape) > 1 for p in own):
            note = "holds weights itself: put a Conv2d or Linear in its place, or quantize them in its forward()"
            yield LayerReport(name or type(part).__name__, type(part).__name__, _weights(part), False, note)


def _weights(layer: nn.Module) -> int:
    lazy = nn.parameter.UninitializedParameter
    return sum(p.numel() for p in layer.parameters(recurse=False) if not isinstance(p, lazy) and p.dim() > 1)


def _candidates(module: nn.Module) -> Iterator[_Candidate]:
    """Every convolution and dense layer once, with all its names, in order of definition."""
    found: dict[int, _Candidate] = {}
    for name, layer in module.named_modules(remove_duplicate=False):
        if isinstance(layer, _LAYERS):
            known = found.setdefault(id(layer), _Candidate([], layer))
            known.names.append(name or type(layer).__name__)
    yield from found.values()


def _in_order_of_calls(module: nn.Module, candidates: list[_Candidate], example: Tensor) -> list[_Candidate]:
    """The candidates as the module calls them, those that it does not call behind."""
    called: list[int] = []
    by_id = {id(found.layer): found for found in candidates}

    for found in candidates:
        found.called = False

    def see(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        called.append(id(layer))
        by_id[id(layer)].called = True
        if inputs and isinstance(inputs[0], Tensor) and inputs[0].numel():
            smallest = float(inputs[0].min())
            found = by_id[id(layer)]
            found.smallest_input = smallest if found.smallest_input is None else min(smallest, found.smallest_input)

    modes = {part: part.training for part in module.modules()}
    handles = [found.layer.register_forward_pre_hook(see) for found in candidates]
    try:
        with torch.no_grad():
            module.eval()(example)
    finally:
        for handle in handles:
            handle.remove()
        for part, training in modes.items():
            part.training = training
    order = [by_id[i] for i in dict.fromkeys(called)]
    return order + [found for found in candidates if found not in order]


def _check_rules(rules: list[Skip], candidates: list[_Candidate]) -> None:
    names = [name for found in candidates for name in found.names]
    for rule in rules:
        if not isinstance(rule, str) or rule in ("first", "last") or any(_matches(rule, name) for name in names):
            continue
        raise ValueError(f"skip: no convolution or dense layer is called '{rule}'; there are {', '.join(names)}")


def _matches(rule: str, name: str) -> bool:
    return name == rule or name.startswith(f"{rule}.") or fnmatchcase(name, rule)


def _skips(rule: Skip, found: _Candidate, place: dict[str, bool]) -> str | None:
    """Why this rule leaves the layer alone, or None."""
    if not isinstance(rule, str):
        return "skipped by your function" if any(rule(name, found.layer) for name in found.names) else None
    if rule in place:
        return f"{rule} layer" if place[rule] else None
    return f"skip: '{rule}'" if any(_matches(rule, name) for name in found.names) else None


def _obstacle(layer: nn.Module) -> str | None:
    """Why this layer cannot be changed, or None."""
    if isinstance(layer, BinaryConv2d | BinaryLinear):
        return "quantized already"
    if isinstance(layer, nn.modules.lazy.LazyModuleMixin):
        return "has no weights yet: run a batch through it first"
    if torch.nn.utils.parametrize.is_parametrized(layer):
        return "its weight is parametrized: remove that first"
    if type(layer) not in (*BinaryConv2d.plain, *BinaryLinear.plain):
        return f"no quantized form of {type(layer).__name__}"
    if any(hasattr(layer, name) for name in ("weight_g", "weight_orig")):
        return "its weight is normalised by a hook: remove that first"
    if isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros":
        return f"padding_mode '{layer.padding_mode}'"
    return None


def _bypassed(module: nn.Module) -> dict[int, str]:
    """The layers whose `forward` torch's fast path for inference never calls, and what to say of them."""
    encoders = [part for part in module.modules() if isinstance(part, nn.TransformerEncoderLayer)]
    said = "TransformerEncoderLayer reads its weight itself, past the layer"
    return {id(layer): said for part in encoders for layer in (part.linear1, part.linear2)}


def _behind(module: nn.Module) -> dict[str, tuple[nn.Module, float]]:
    """What stands in front of each member of a Sequential, by path: the module, and the share that dropout drops on the
    way. Dropout, pooling and flattening are looked through."""
    dropout = (nn.Dropout, nn.Dropout1d, nn.Dropout2d)
    transparent = (*dropout, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity)
    before: dict[str, tuple[nn.Module, float]] = {}
    for path, sequence in module.named_modules():
        if isinstance(sequence, nn.Sequential):
            previous, kept = None, 1.0
            for name, part in sequence.named_children():
                if previous is not None:
                    before[f"{path}.{name}" if path else name] = previous, 1 - kept
                if isinstance(part, dropout):
                    kept *= 1 - part.p
                elif not isinstance(part, transparent):
                    previous, kept = part, 1.0
    return before


def _traps(found: _Candidate, method: Method, behind: tuple[nn.Module | None, float]) -> Iterator[str]:
    layer, (previous, dropped) = found.layer, behind
    if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1 and method.binary_weights:
        yield "a depthwise filter has few weights to share one scale, and loses much by signs; consider skipping it"
    quantizer = layer.input_quantizer
    if not isinstance(quantizer, InputQuantizer):
        return
    if quantizer.signed and not any(True for _ in quantizer.parameters()):
        seen = found.smallest_input is not None and found.smallest_input >= 0
        if isinstance(previous, _NEVER_NEGATIVE) or seen:
            source = (
                type(previous).__name__ if isinstance(previous, _NEVER_NEGATIVE) else "values that are never negative"
            )
            yield f"behind {source} all signs are +1; put a BatchNorm in front of it, or use method 'bwn'"
    signs = isinstance(previous, InputQuantizer) and previous.bits == 1 and previous.signed
    if signs and dropped < 1 and 1 / (1 - dropped) > getattr(quantizer, "clip", 1.0):
        yield (
            f"dropout makes signs +{1 / (1 - dropped):.3g} and -{1 / (1 - dropped):.3g}, where this layer's estimator "
            "passes no gradient: nothing in front of it learns; put dropout in front of the norm"
        )
    elif dropped and quantizer.bits == 1 and quantizer.signed:
        yield "what dropout in front of it drops becomes +1; put dropout in front of the norm"
