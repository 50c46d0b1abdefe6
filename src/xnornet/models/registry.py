"""The names of the architectures."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from ..nn import Method
from ..nn import method as method_named

__all__ = ["MODELS", "create", "default_classes", "image_size", "options", "register"]

Architecture = TypeVar("Architecture", bound=Callable[..., nn.Module])
MODELS: dict[str, Callable[..., nn.Module]] = {}
_IMAGE_SIZES: dict[str, int] = {}


def register(name: str, image_size: int = 224) -> Callable[[Architecture], Architecture]:
    """Decorator: make ``architecture(method, num_classes=..., **options)`` known as `name`.

    Args:
        name: for `create`.
        image_size: height and width in pixels of the images that it was made for.
    """

    def add(architecture: Architecture) -> Architecture:
        if name in MODELS:
            raise ValueError(f"two models are named '{name}'")
        MODELS[name] = architecture
        _IMAGE_SIZES[name] = image_size
        return architecture

    return add


def create(name: str, method: str | Method = "xnor", num_classes: int = 10, **model_options: Any) -> nn.Module:
    """Build a network with fresh weights, in training mode.

    Args:
        name: one of `MODELS`.
        method: a name of `xnornet.nn.method`, or a `Method`.
        num_classes: outputs of the last layer.
        model_options: of this architecture; `options(name)` lists them with their defaults.

    Raises:
        ValueError: an unknown model, method or option, or a value that the architecture cannot take.
    """
    known = options(name)
    if unknown := set(model_options) - set(known):
        raise ValueError(f"model '{name}' has no option {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for key, value in {"num_classes": num_classes, **model_options}.items():
        _check(name, key, value, known.get(key, 1))
    chosen = method_named(method) if isinstance(method, str) else method
    return MODELS[name](chosen, num_classes=num_classes, **model_options)


def options(name: str) -> dict[str, Any]:
    """Options of an architecture and their defaults. Raises ValueError for an unknown model."""
    return {key: value for key, value in _defaults(name).items() if key not in ("method", "num_classes")}


def default_classes(name: str) -> int:
    """How many classes an architecture was made for. Raises ValueError for an unknown model."""
    return int(_defaults(name)["num_classes"])


def image_size(name: str) -> int:
    """Height and width in pixels of the images that an architecture was made for. Raises ValueError as `options`."""
    return int(options(name).get("image_size", _IMAGE_SIZES[name]))


def _defaults(name: str) -> dict[str, Any]:
    if name not in MODELS:
        raise ValueError(
            f"unknown model '{name}'; there are {', '.join(MODELS)}; one of your own needs --import MODULE"
        )
    return {key: parameter.default for key, parameter in inspect.signature(MODELS[name]).parameters.items()}


def _check(name: str, key: str, value: Any, default: Any) -> None:
    """Raise ValueError unless `value` is of the default's kind. Whole numbers count something, so they are positive."""
    needs = {bool: "true or false", int: "a whole number, 1 or more", float: "a number, 0 or more", str: "text"}
    kind = type(default)
    if kind not in needs:
        return
    fits = isinstance(value, int | float if kind is float else kind) and isinstance(value, bool) == (kind is bool)
    if not fits or (kind is int and value < 1) or (kind is float and not 0 <= value < math.inf):
        raise ValueError(f"model '{name}', {key}={value}: needs {needs[kind]}")
