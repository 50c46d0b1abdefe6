"""From a trained torch module to a packed model."""

from .from_torch import lower, pack

__all__ = ["lower", "pack"]
