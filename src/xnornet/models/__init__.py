"""Architectures, by name. One file each; `create` builds one."""

from .. import needs_torch as needs_torch
from .alexnet import AlexNet
from .bireal import BiRealNet18, ReActNet18
from .catalogue import catalogue
from .densenet import BinaryDenseNet
from .googlenet import GoogLeNet
from .meliusnet import MeliusNet
from .nin import NetworkInNetwork
from .quicknet import QuickNet, QuickNetLarge, QuickNetSmall
from .reactnet import ReActNet
from .real_to_binary import RealToBinary18
from .registry import MODELS, create, default_classes, image_size, options, register
from .resnet import ResNet18, ResNet20, ResNet34
from .sizes import Size, size_of
from .small_convnet import SmallConvNet
from .vgg19 import Vgg19
from .vgg_small import VggSmall

__all__ = [
    "MODELS",
    "AlexNet",
    "BiRealNet18",
    "BinaryDenseNet",
    "GoogLeNet",
    "MeliusNet",
    "NetworkInNetwork",
    "QuickNet",
    "QuickNetLarge",
    "QuickNetSmall",
    "ReActNet",
    "ReActNet18",
    "RealToBinary18",
    "ResNet18",
    "ResNet20",
    "ResNet34",
    "Size",
    "SmallConvNet",
    "Vgg19",
    "VggSmall",
    "catalogue",
    "create",
    "default_classes",
    "image_size",
    "options",
    "register",
    "size_of",
]
