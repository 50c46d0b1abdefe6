"""The verbs of the command, in the order of the help."""

from __future__ import annotations

from collections.abc import Callable

from . import inference, measuring, training
from .app import Verb, app, run

__all__ = ["app", "run"]

_VERBS: dict[str, Callable[..., object]] = {
    "train": training.train,
    "recipes": training.recipes,
    "models": training.models,
    "pack": training.pack,
    "convert": training.convert,
    "unpack": training.unpack,
    "inspect": inference.inspect,
    "zoo": inference.zoo,
    "classify": inference.classify,
    "page": inference.page,
    "javascript": inference.javascript,
    "data": inference.data_,
    "eval": inference.eval_,
    "bench": measuring.bench,
    "reproduce": measuring.reproduce,
}
for name, verb in _VERBS.items():
    app.command(name=name, cls=Verb)(verb)
