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
_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_IMAGE_SIZES: dict[str, int] = {}


def register(name: str, image_size: int = 224) -> Callable[[Architecture], Architecture]:
    """Decorator: make ``architecture(method, num_classes=..., **options)`` known as `name`.

    Args:
        name: for `create`.
        image_size: height and width in pixels of the images that it was made for.

    Raises:
        ValueError: the name is taken, or `create` could not call the architecture so.
    """

    def add(architecture: Architecture) -> Architecture:
        if name in MODELS:
            raise ValueError(f"two models are named '{name}'")
        _check_signature(name, architecture)
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
    """How many classes an architecture was made for, or else 10. Raises ValueError for an unknown model."""
    return int(_defaults(name).get("num_classes", 10))


def image_size(name: str) -> int:
    """Height and width in pixels of the images that an architecture was made for. Raises ValueError as `options`."""
    return int(options(name).get("image_size", _IMAGE_SIZES[name]))


def _defaults(name: str) -> dict[str, Any]:
    if name not in MODELS:
        raise ValueError(
            f"unknown model '{name}'; there are {', '.join(MODELS)}; one of your own needs --import MODULE"
        )
    parameters = inspect.signature(MODELS[name]).parameters.values()
    return {p.name: p.default for p in parameters if p.kind not in _ANY and p.default is not p.empty}


def _check_signature(name: str, architecture: Callable[..., nn.Module]) -> None:
    """Raise ValueError unless ``architecture(method, num_classes=...)`` is a call of it."""
    signature = inspect.signature(architecture)
    try:
        signature.bind(None, num_classes=10)
    except TypeError as error:
        raise ValueError(
            f"model '{name}': what takes {signature} cannot be called with (method, num_classes=10) ({error}); have it "
            "take these two, and give all others defaults"
        ) from error


def _check(name: str, key: str, value: Any, default: Any) -> None:
    """Raise ValueError unless `value` is of the default's kind. Whole numbers count something, so they are positive,
    and other numbers are not negative, unless the default is."""
    needs = {bool: "true or false", int: "a whole number, 1 or more", float: "a number, 0 or more", str: "text"}
    kind = type(default)
    if kind not in needs:
        return
    least = 1 if kind is int else 0
    bounded = kind in (int, float) and default >= least
    fits = isinstance(value, int | float if kind is float else kind) and isinstance(value, bool) == (kind is bool)
    if fits and bounded:
        fits = value >= least
    if fits and kind is float:
        fits = abs(value) < math.inf or value == default
    if not fits:
        said = needs[kind] if bounded else needs[kind].partition(",")[0]
        raise ValueError(f"model '{name}', {key}={value}: needs {said}")
