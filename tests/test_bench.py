"""The timing harness itself: a known sleep, a wrong peer, a missing peer."""

from __future__ import annotations

import time

import numpy as np
import pytest

from xnornet.bench import bench_layer, bench_network
from xnornet.bench.layers import Layer
from xnornet.bench.peers import PEERS, PeerUnavailable
from xnornet.bench.record import interleave
from xnornet.errors import UsageError


def test_interleave_times_a_known_sleep() -> None:
    samples = interleave({"nap": lambda: time.sleep(0.01), "nothing": lambda: None}, seconds=0.2)
    assert samples["nap"].median == pytest.approx(10, rel=0.2)
    assert samples["nothing"].median < 1
    assert samples["nap"].least <= samples["nap"].median <= samples["nap"].most
    assert len(samples["nap"].times_ms) >= 10


def test_layer_specs() -> None:
    assert Layer.parse("3x3:256x14x14:384") == Layer(3, 256, 14, 384, 1, 1)
    assert Layer.parse("5x5:96x27x27:256:s2:p0") == Layer(5, 96, 27, 256, 2, 0)
    assert Layer.parse("dense:40:30") == Layer(1, 40, 1, 30)
    assert Layer.parse("3x3:256x14x14:256").macs == 14 * 14 * 256 * 256 * 9
    for wrong in ("3x5:1x2x2:1", "3x3:1x2x3:1", "conv", "3x3:0x4x4:1", "7x7:1x3x3:1:p0", "3x3:1x4x4:1:s0", ""):
        with pytest.raises(UsageError, match="layer"):
            Layer.parse(wrong)


@pytest.mark.parametrize("spec", ["3x3:24x9x9:40", "dense:72:33", "5x5:13x8x8:7:s2"])
def test_layers_are_timed_and_outputs_checked(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(layer, weights, x, threads):  # type: ignore[no-untyped-def]
        size = layer.window.output_size(layer.size, layer.size)
        return (lambda: np.zeros((1, layer.out_channels, *size), np.float32)), "a peer"

    def absent(layer, weights, x, threads):  # type: ignore[no-untyped-def]
        raise PeerUnavailable("not installed")

    monkeypatch.setitem(PEERS, "wrong", wrong)
    monkeypatch.setitem(PEERS, "absent", absent)
    records = {record.implementation: record for record in bench_layer(spec, seconds=0.02)}
    for name in ("xnornet", "xnornet-bits", "torch"):
        assert records[name].median_ms is not None, records[name].note
    assert records["wrong"].median_ms is None
    assert "WRONG OUTPUT" in records["wrong"].note
    assert records["absent"].median_ms is None
    assert records["absent"].note == "not installed"
    openvino = records["openvino-binary"]
    if openvino.median_ms is None:  # missing here, or a layer it gets wrong
        assert "not installed" in openvino.note or "multiples of 8" in openvino.note


@pytest.mark.slow
def test_networks_are_timed_in_every_engine() -> None:
    records = {record.implementation: record for record in bench_network("resnet18", seconds=0.2)}
    assert set(records) == {"xnornet", "xnornet-integer-stem", "torch", "openvino", "openvino-binary"}
    for name in ("xnornet", "torch"):
        assert records[name].median_ms is not None
    for name in ("openvino", "openvino-binary"):
        assert records[name].median_ms is not None or "not installed" in records[name].note
    with pytest.raises(UsageError, match="resnet18"):
        bench_network("resnet19")
