"""How implementations and networks are called on the pages, and what belongs together."""

from __future__ import annotations

NAMES = {
    "xnornet": "**xnornet**, XNOR",
    "xnornet-bits": "**xnornet**, XNOR, to bits",
    "xnornet-fixed-stem": "**xnornet**, XNOR, fixed-point stem",
    "xnornet-integer-stem": "**xnornet**, XNOR, integer stem",
    "xnornet-float16": "**xnornet**, XNOR, classifier in 16 bits",
    "xnornet-bwn": "xnornet, BWN",
    "xnornet-bwn-int8": "xnornet, BWN, 8-bit inputs",
    "xnornet-float": "xnornet, float32",
    "scalar": "scalar C++, float32",
    "torch": "PyTorch, float32",
    "torch-compiled": "PyTorch compiled, float32",
    "onnxruntime": "ONNX Runtime, float32",
    "openvino": "OpenVINO, float32",
    "ncnn": "ncnn, float32",
    "torch-int8": "PyTorch compiled, int8",
    "onnxruntime-int8": "ONNX Runtime, int8",
    "openvino-int8": "OpenVINO, int8",
    "openvino-binary": "OpenVINO, binary",
    "larq": "Larq Compute Engine, binary",
}
NETWORKS = {
    "alexnet": "AlexNet",
    "resnet18": "ResNet-18",
    "googlenet": "GoogLeNet variant",
    "vgg19": "VGG-19",
    "birealnet18": "Bi-Real Net-18",
    "realtobinary18": "Real-to-Binary Net-18",
    "quicknet": "QuickNet",
    "reactnet": "ReActNet",
    "binarydensenet": "BinaryDenseNet-28",
    "meliusnet": "MeliusNet-22",
}
TABLES = (
    ("alexnet", "resnet18"),
    ("googlenet", "vgg19"),
    ("birealnet18", "realtobinary18", "quicknet"),
    ("reactnet",),
    ("binarydensenet", "meliusnet"),
)
FLOAT = ("torch", "torch-compiled", "onnxruntime", "openvino", "ncnn")
INT8 = ("torch-int8", "onnxruntime-int8", "openvino-int8")
# Where not timed: of layers or networks only, or told once.
UNTOLD = ("scalar", "xnornet-fixed-stem", "xnornet-integer-stem", "xnornet-bwn-int8", "larq")
# Our XNOR form, seen or set otherwise.
SAME = ("xnornet", "xnornet-bits", "xnornet-fixed-stem", "xnornet-integer-stem", "xnornet-float16")
POINT = "3x3:256x14x14:256"  # the paper's layer
