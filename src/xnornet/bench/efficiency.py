"""The paper's model of how much faster a binary convolution is (section 4.1, figure 4): counting, not measuring."""

from __future__ import annotations

__all__ = ["speedup"]


def speedup(channels: int, filter_pixels: int, word_bits: int = 64) -> float:
    """``S = 64 c N / (c N + 64)``: one word of binary operations a clock against one real multiply-add.

    A filter of N pixels and c channels takes ``c N / 64`` word operations and one real one an output, for its scale;
    the image's size cancels out.

    Args:
        channels: c, of the input.
        filter_pixels: N, height times width of the filter.
        word_bits: of one logic operation; the paper's 64.
    """
    products = channels * filter_pixels
    return word_bits * products / (products + word_bits)
