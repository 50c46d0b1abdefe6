"""The names of the architectures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from ..nn import Method
from ..nn import method as method_named

__all__ = ["MODELS", "create", "options", "register"]

Architecture = TypeVar("Architecture", bound=Callable[..., nn.Module])
MODELS: dict[str, Callable[..., nn.Module]] = {}


def register(name: str) -> Callable[[Architecture], Architecture]:
    """Decorator: make ``architecture(method, num_classes=..., **options)`` known as `name`."""

    def add(architecture: Architecture) -> Architecture:
        if name in MODELS:
            raise ValueError(f"two models are named '{name}'")
        MODELS[name] = architecture
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
        ValueError: an unknown model, method or option.
    """
    known = options(name)
    if unknown := set(model_options) - set(known):
        raise ValueError(f"model '{name}' has no option {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    chosen = method_named(method) if isinstance(method, str) else method
    return MODELS[name](chosen, num_classes=num_classes, **model_options)


def options(name: str) -> dict[str, Any]:
    """Options of an architecture and their defaults. Raises ValueError for an unknown model."""
    if name not in MODELS:
        raise ValueError(f"unknown model '{name}'; there are {', '.join(MODELS)}")
    parameters = inspect.signature(MODELS[name]).parameters
    return {key: p.default for key, p in parameters.items() if key not in ("method", "num_classes")}
