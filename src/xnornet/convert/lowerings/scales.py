"""The paper's K map, and its like for features."""

from __future__ import annotations

from typing import Any

from ...nn import functional
from ...ops import InputScale, Window
from ..builder import Builder, Refusal, Symbol
from .table import aten, lowers, pair


@lowers(functional.INPUT_SCALE)
def _input_scale(build: Builder, args: dict[str, Any]) -> Symbol:
    top, bottom, left, right = args["padding"]
    window = Window(pair(args["kernel_size"]), pair(args["stride"]), (top, bottom, left, right), pair(args["dilation"]))
    out = build.add(InputScale, [build.real(args["x"])], suffix="input_scale", window=window, groups=args["groups"])
    return out.marked(is_scale_map=True)


@lowers(functional.FEATURE_SCALE)
def _feature_scale(build: Builder, args: dict[str, Any]) -> Symbol:
    if args["x"].rank != 2:
        raise Refusal("the feature scale of an image", "flatten it first")
    out = build.add(InputScale, [build.real(args["x"])], plain=True, suffix="input_scale", window=Window((1, 1)))
    return out.marked(is_scale_map=True)


@lowers(aten.repeat_interleave.self_int)
def _repeat_interleave(build: Builder, args: dict[str, Any]) -> Symbol:
    x: Symbol = args["self"]
    if not x.is_scale_map or args["dim"] not in (1, -3):
        raise Refusal("repeat_interleave", "it is understood only for the K map of a grouped convolution")
    return x  # `Multiply` spreads the map over the channels of each group
