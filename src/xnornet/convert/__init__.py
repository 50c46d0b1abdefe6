"""From a trained torch module to a packed model, and back."""

from .. import needs_torch as needs_torch
from .from_torch import lower, pack
from .unpack import settle, unpack

__all__ = ["lower", "pack", "settle", "unpack"]
