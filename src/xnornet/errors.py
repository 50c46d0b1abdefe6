"""The errors a user may see. Each is one line: the thing, its value, the remedy."""

from __future__ import annotations

__all__ = [
    "DataError",
    "FetchError",
    "FormatError",
    "StoppedError",
    "TrainingError",
    "UnsupportedError",
    "UsageError",
    "XnornetError",
]


class XnornetError(Exception):
    """Base of every error this package raises on purpose."""


class FormatError(XnornetError):
    """A packed file or a checkpoint is truncated, damaged, of another version, or describes an impossible model."""


class UnsupportedError(XnornetError):
    """Something valid that this package, or this CPU, cannot do; the message names the remedy."""


class DataError(XnornetError):
    """A data set or an image that cannot be read."""


class FetchError(XnornetError):
    """A published model that cannot be had: nowhere to fetch it from, no answer, other bytes, no room for it."""


class UsageError(XnornetError):
    """The command was called in a wrong way: an unknown name, a missing or impossible argument."""


class TrainingError(XnornetError):
    """A training run that cannot go on: a loss that is not a number, a run folder that cannot be written."""


class StoppedError(TrainingError):
    """A training run that was told to end (SIGTERM) and has saved where it stood; `resume` goes on with it."""
