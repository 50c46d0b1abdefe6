"""Train convolutional networks with 1-bit weights and inputs, pack them small, run them fast on a CPU.

This module and all it imports run without PyTorch; `xnornet.nn`, `models`, `train` and `convert` need it.
"""

from .errors import DataError, FormatError, UnsupportedError, UsageError, XnornetError
from .preprocess import Preprocess

__version__ = "0.1.0"
__all__ = [
    "DataError",
    "FormatError",
    "Preprocess",
    "UnsupportedError",
    "UsageError",
    "XnornetError",
    "__version__",
]
