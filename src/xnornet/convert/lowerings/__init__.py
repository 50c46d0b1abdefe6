"""How each torch operator becomes ops of a packed model: one function an operator, found by name in a table."""

from __future__ import annotations

import re

from . import elementwise, layers, pooling, scales, shapes
from .elementwise import ARITHMETIC
from .shapes import ALIASES
from .table import LOWERINGS

__all__ = ["ALIASES", "ARITHMETIC", "LOWERINGS", "elementwise", "layers", "pooling", "remedy", "scales", "shapes"]

# What other operators stand for, or the export alone makes.
_UNTOLD = {"alias", "clone", "concat", "constant_pad_nd", "contiguous", "detach", "feature_dropout", "lift_fresh_copy"}
_UNTOLD |= {"log_softmax", "rsub", "softmax", "feature_alpha_dropout", "clip", "concatenate", "divide", "multiply"}
_UNTOLD |= {"negative", "subtract", "true_divide", "feature_scale", "input_scale", "quantize", "to", "_to_copy"}
_UNTOLD |= {"type_as", "view_as", "reshape_as", "slice", "matmul", "mm", "sign", "sgn"}
_UNTOLD |= {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"}


# What to take instead of operators that networks often have, by how their names begin.
_INSTEAD: dict[tuple[str, ...], str] = {
    ("gelu", "elu", "celu", "selu", "mish", "softplus"): "use ReLU, PReLU, LeakyReLU or SiLU",
    ("group_norm", "layer_norm", "native_layer_norm", "instance_norm"): "use BatchNorm2d, or BatchNorm1d of features",
    ("conv_transpose", "upsample", "pixel_shuffle"): "classifiers alone can be packed, and they do not enlarge maps",
    ("chunk", "split", "slice", "select", "narrow", "permute", "transpose"): "parts of a value and other orders of its "
    "axes cannot be taken: give each branch a convolution of its own, or groups=",
    ("adaptive_max_pool",): "use x.amax((2, 3)), MaxPool2d or AdaptiveAvgPool2d",
    ("ge", "gt", "le", "lt", "where", "greater", "less"): "for signs use xnornet.nn.functional.sign, or "
    "torch.where(x >= 0, 1.0, -1.0)",
    ("channel_shuffle", "pixel_unshuffle"): "give the next convolution the groups or the size that it is to have",
    ("reflection_pad", "replication_pad"): "use zero padding",
    ("abs",): "for XNOR-Net's K use xnornet.nn.functional.input_scale, or a layer with input_scale='k'",
}


def remedy(operator: str) -> str:
    """What to do about an operator that no function here lowers."""
    if operator.startswith(("wrap_", "tag_")):  # higher-order operators
        return "take torch.no_grad, torch.enable_grad, torch.autocast and checkpoint out of forward()"
    name = operator.removeprefix("aten.").split(".")[0].strip("_")
    for names, told in _INSTEAD.items():
        if re.match(rf"({'|'.join(names)})(?![a-z])", name):
            return f"{told}; docs/packing.md lists what can be packed"
    known = {str(known).split(".")[1].rstrip("_") for known in LOWERINGS}
    told = ", ".join(sorted(name for name in known - _UNTOLD if not name.startswith("_")))
    return f"replace it by one of: {told}; see docs/packing.md"
