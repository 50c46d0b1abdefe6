"""Architectures, by name. One file each; `create` builds one."""

from .alexnet import AlexNet
from .registry import MODELS, create, options, register
from .resnet import ResNet18
from .small_convnet import SmallConvNet

__all__ = ["MODELS", "AlexNet", "ResNet18", "SmallConvNet", "create", "options", "register"]
