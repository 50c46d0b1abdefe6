"""How each torch operator becomes ops of a packed model: one function an operator, found by name in a table."""

from __future__ import annotations

from . import elementwise, layers, pooling, scales, shapes
from .table import LOWERINGS

__all__ = ["LOWERINGS", "elementwise", "layers", "pooling", "remedy", "scales", "shapes"]

# What other operators stand for, or the export alone makes.
_UNTOLD = {"alias", "clone", "concat", "constant_pad_nd", "contiguous", "detach", "feature_dropout", "lift_fresh_copy"}
_UNTOLD |= {"log_softmax", "rsub", "softmax"}


def remedy(operator: str) -> str:
    """What to do about an operator that no function here lowers."""
    if "sign" in operator:
        return "torch.sign(0) is 0; use xnornet.nn.functional.sign or a layer's input_quantizer"
    if operator.startswith(("wrap_", "tag_")):  # higher-order operators
        return "take torch.no_grad, torch.enable_grad, torch.autocast and checkpoint out of forward()"
    known = {str(known).split(".")[1].rstrip("_") for known in LOWERINGS}
    return f"replace it by one of: {', '.join(sorted(name for name in known - _UNTOLD if not name.startswith('_')))}"
