"""Networks that were trained elsewhere, as torch modules: to be packed, or evaluated."""

from .bmxnet_file import from_bmxnet
from .onnx_file import from_onnx
from .torch7_file import from_torch7
from .xnor_net_pytorch_file import from_xnor_net_pytorch

__all__ = ["from_bmxnet", "from_onnx", "from_torch7", "from_xnor_net_pytorch"]
