"""Architectures, by name. One file each; `create` builds one."""

from .registry import MODELS, create, options, register
from .small_convnet import SmallConvNet

__all__ = ["MODELS", "SmallConvNet", "create", "options", "register"]
