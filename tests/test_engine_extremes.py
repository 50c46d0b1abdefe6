"""Valid models that nobody makes: a packed file may come from anywhere, and must neither crash nor hang."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xnornet import FormatError, _core, format, ops
from xnornet.engine import Model
from xnornet.graph import PackedModel
from xnornet.ops import Window
from xnornet.preprocess import Preprocess

from .engine_cases import ISAS, check, model_of, random_bits


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("twice", [False, True])
def test_the_input_is_the_output(channels: int, twice: bool) -> None:
    """Flattening one pixel computes nothing."""
    preprocess = Preprocess("RGB" if channels == 3 else "L", (1, 1), mean=(0.5,) * channels, std=(0.25,) * channels)
    layers = [ops.Flatten(name="flat", inputs=("input",)), ops.Flatten(name="logits", inputs=("flat",))]
    model = Model(PackedModel(tuple(layers[: 1 + twice]), preprocess, tuple("abc"[:channels])))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 1, channels), np.uint8)
    np.testing.assert_array_equal(model.run(pixels), preprocess.normalise(pixels).reshape(3, channels))
    floats = preprocess.normalise(pixels).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(model.run(floats), floats.reshape(3, channels))
    assert len(model.profile(pixels, repeat=1)) == 1


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("height", "width", "kernel"), [(1, 1, (9, 8)), (2, 3, (7, 20)), (5, 1, (4, 3))])
def test_windows_larger_than_the_image(isa: str, height: int, width: int, kernel: tuple[int, int]) -> None:
    """As many kinds of border as there are pixels."""
    rng = np.random.default_rng(0)
    top, left = kernel[0] - 1, kernel[1] - 1
    layers = [
        ops.Sign(name="sign", inputs=("input",)),
        ops.BinaryConv2d(
            name="conv",
            inputs=("sign",),
            window=Window(kernel, padding=(top, top, left, left)),
            weight=random_bits(rng, 3, *kernel, 2),
            padding_value=0,
            groups=1,
        ),
        ops.Affine(name="float", inputs=("conv",)),
    ]
    check(model_of((height, width, 2), layers), rng, isas=[isa])


def test_borders_without_number_are_refused() -> None:
    """A small file, and sums for 1.4 million kinds of border."""
    side = 1200
    window = Window((side, side), padding=(side - 1,) * 4)
    weight = random_bits(np.random.default_rng(0), 1, side, side, 1)
    layers = [
        ops.Sign(name="sign", inputs=("input",)),
        ops.BinaryConv2d(name="conv", inputs=("sign",), window=window, weight=weight, groups=1, padding_value=0),
        ops.Affine(name="float", inputs=("conv",)),
        ops.AvgPool2d(name="pool", inputs=("float",), window=Window((side, side)), count_padding=False),
    ]
    model = format.loads(format.dumps(model_of((1, 1, 1), layers)))
    with pytest.raises(FormatError, match="1440000 kinds of border") as caught:
        Model(model)
    assert "\n" not in str(caught.value)


def test_kinds_of_border_are_counted_before_they_are_made() -> None:
    """4 million of them; in a process of its own, as what others needed at most would hide what these do."""
    pytest.importorskip("resource")
    code = """if True:
        import resource, tests.conftest
        import numpy as np
        from xnornet import _core
        side = 2000
        graph = _core.Graph(1, 1, 1)
        window = ((side, side), (1, 1), (side - 1,) * 4, (1, 1))
        bits = np.zeros(side * side // 8, np.uint8)
        conv = graph.binary_conv2d("conv", graph.sign("sign", 0), bits, 1, window, 1, 0)
        graph.affine("float", conv, None, None)
        most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        before = most()
        try:
            _core.Plan(graph, np.ones(1, np.float32), np.ones(1, np.float32), 1, "", "float", "float")
        except ValueError as error:
            print("4000000 kinds of border" in str(error), most() - before < 16 << 10)
    """
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"


def test_padding_that_no_memory_holds_is_refused() -> None:
    """Of a value of 4 GB, whose padded copy would have more bytes than 64 bits can count."""
    graph = _core.Graph(1, 1, 1)
    value = 0
    for i in range(30):
        value = graph.concat(f"twice{i}", [value, value])
    with pytest.raises(ValueError, match="the padded input is too large"):
        graph.max_pool2d("pool", value, ((1, 1), (32768, 32768), (32768, 32767, 32768, 32767), (1, 1)))


def test_ops_without_number_are_refused() -> None:
    graph = _core.Graph(1, 1, 1)
    for i in range(1 << 14):
        graph.clamp(f"clamp{i}", i, -1.0, 1.0)
    with pytest.raises(ValueError, match="more than 16384 ops"):
        graph.clamp("last", 1 << 14, -1.0, 1.0)


@pytest.mark.parametrize("mode", ["max", "mean"])
def test_a_pool_needs_memory_for_the_image_and_not_for_its_window(mode: str) -> None:
    """By the window it would be 64 GiB a thread."""
    most = 1 << 15
    window = Window((most, most), padding=(most - 1, 0, most - 1, 0))
    name, inputs = "pool", ("input",)
    pool = (
        ops.MaxPool2d(name=name, inputs=inputs, window=window)
        if mode == "max"
        else ops.AvgPool2d(name=name, inputs=inputs, window=window, count_padding=False)
    )
    x = np.random.default_rng(0).standard_normal((2, 3, 1, 1)).astype(np.float32)
    np.testing.assert_array_equal(Model(model_of((1, 1, 3), [pool])).run(x), x.reshape(2, 3))


def test_a_profile_has_room_for_any_output() -> None:
    """Packed models end in one pixel; the graph beneath takes any."""
    graph = _core.Graph(64, 64, 3)
    graph.clamp("clamp", 0, -1.0, 1.0)
    ones = np.ones(3, np.float32)
    plan = _core.Plan(graph, ones, ones, 1, "", "float", "float")
    assert plan.profile(np.zeros((2, 64, 64, 3), np.uint8), 3)
