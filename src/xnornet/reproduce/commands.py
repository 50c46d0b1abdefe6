"""The command of a run, as its row records it: `xnornet train RECIPE --data DATA KEY=VALUE ...`, quoted for a shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

__all__ = ["changes_in", "command_of"]


def command_of(recipe: str, data: str | None, changes: Mapping[str, str]) -> str:
    """The command that trains a run. `data` is what was given with ``--data``; None: the recipe's."""
    given = [] if data is None else ["--data", data]
    return shlex.join(["xnornet", "train", recipe, *given, *(f"{key}={value}" for key, value in changes.items())])


def changes_in(command: str) -> dict[str, str]:
    """What a command changes in its recipe, but for its data, which rows name in a column of their own."""
    words = shlex.split(command)[3:]  # behind "xnornet train RECIPE"
    return dict(word.partition("=")[::2] for word in (words[2:] if words[:1] == ["--data"] else words))
