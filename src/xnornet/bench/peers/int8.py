"""What 8-bit weights may be on this CPU."""

from __future__ import annotations

import platform

from ..procfs import processor_flags

__all__ = ["most_code"]


def most_code() -> int:
    """The greatest magnitude of an 8-bit weight's code: 127, or 63 on x86 without VNNI.

    There sums of two products of 8 bits stop at 16 bits, and weights of full range, all of them in a binary layer,
    overflow: outputs were off by 0.7 of their size. ONNX Runtime's manual advises 7 bits; OpenVINO's tools take them.
    """
    narrow = platform.machine() in ("x86_64", "AMD64") and not {"avx512_vnni", "avx_vnni"} & processor_flags()
    return 63 if narrow else 127
