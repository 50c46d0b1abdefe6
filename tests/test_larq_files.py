"""What scripts/larq_files.py does before it calls Keras, which the environment of these tests has not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scripts.larq_files import KerasGraph, pooled_late

from xnornet import ops, reference
from xnornet.ops import Window

from .networks import tiny_model


def test_bits_are_pooled_where_that_is_the_same() -> None:
    model = tiny_model()
    made = list(model.ops)
    at = next(i for i, op in enumerate(made) if isinstance(op, ops.Threshold))
    made[at] = replace(made[at], descending=np.zeros_like(made[at].descending))
    upwards = replace(model, ops=tuple(made))
    late = pooled_late(upwards)
    assert [op.kind for op in late.ops[at - 1 : at + 1]] == ["threshold", "max_pool2d"]
    pixels = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 1), np.uint8)
    np.testing.assert_array_equal(reference.run(late, pixels), reference.run(upwards, pixels))


def test_sums_that_are_thresholded_downwards_are_left_alone() -> None:
    model = tiny_model()
    assert all(kept is op for kept, op in zip(pooled_late(model).ops, model.ops, strict=True))


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))
def test_windows_of_the_mirrored_image_see_the_mirrored_pixels(
    size: int, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    window = Window((kernel, 1), (stride, 1), (padding, padding, 0, 0), (dilation, 1))
    count = window.output_size(size, 1)[0]
    if count < 1:
        return

    def seen(mirrored: bool) -> list[list[int]]:
        """The rows that each window reads, from those around the image on."""
        (before, after), _ = KerasGraph.around(
            SimpleNamespace(mirrored=mirrored),  # type: ignore[arg-type]
            SimpleNamespace(shape=(1, size, 1, 1)),
            window,
        )
        rows = [[i * stride + k * dilation - before for k in range(kernel)] for i in range(count)]
        assert rows[-1][-1] == size - 1 + after  # nothing is left over: "valid" windows end where the padded image does
        return rows

    turned = [[size - 1 - row for row in reversed(rows)] for rows in reversed(seen(True))]
    assert turned == seen(False)
