"""Ops that reduce a sliding window: pooling, and the K map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Value, Windowed

__all__ = ["AvgPool2d", "InputScale", "MaxPool2d"]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class MaxPool2d(Windowed):
    """Maximum over a window, any dtype kept; taps outside the image are ignored."""

    kind: ClassVar[str] = "max_pool2d"

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32", "i32", "bits"))
        out = self._slide(values[0], values[0].shape[2], values[0].dtype)
        # Every window must hold at least one pixel, or its maximum is undefined.
        if self.window.misses(*values[0].shape[:2]):
            raise self._fail(f"padding {self.window.padding} leaves a window without a pixel")
        return out


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class AvgPool2d(Windowed):
    """Mean over a window, f32 -> f32; taps outside count as zeros where `count_padding`, else not at all."""

    kind: ClassVar[str] = "avg_pool2d"
    count_padding: bool = True

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        out = self._slide(values[0], values[0].shape[2], "f32")
        if not self.count_padding and self.window.misses(*values[0].shape[:2]):
            raise self._fail(f"padding {self.window.padding} leaves a window without a pixel")
        return out


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class InputScale(Windowed):
    """The K map, f32 (H, W, C) -> f32 (out H, out W, groups): mean |x| over each window (paper, section 3.2).

    The mean is over the group's channels and all taps; taps outside the image count as zeros in it.
    """

    kind: ClassVar[str] = "input_scale"
    groups: int = 1

    def infer(self, *values: Value) -> Value:
        self._take(values, ("f32",))
        if self.groups < 1 or values[0].shape[2] % self.groups:
            raise self._fail(f"{values[0].shape[2]} channels do not divide into {self.groups} groups")
        return self._slide(values[0], self.groups, "f32")
