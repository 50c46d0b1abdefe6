"""The timing harness itself: a known sleep, a wrong peer, peers that are missing, fail, die and hang."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from xnornet import format
from xnornet.bench import bench_file, bench_layer, bench_network
from xnornet.bench.case import Case, difference
from xnornet.bench.layers import Layer, layer_case
from xnornet.bench.peers import PEERS, choose, peer_class
from xnornet.bench.processes import Worker
from xnornet.bench.record import Record, Sample
from xnornet.bench.run import Limits, bench_case
from xnornet.bench.tables import _beside, layers
from xnornet.bench.turns import take_turns
from xnornet.errors import UsageError
from xnornet.float16 import to_float16
from xnornet.terminal import PlainConsole

from .networks import overflowing, tiny_model
from .peers import NAP

SPEC = "3x3:8x5x5:6"


@pytest.fixture(autouse=True)
def _workers_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


def records_of(*peers: str, seconds: float = 0.1, **options: object) -> dict[str, Record]:
    """The harness on a small layer, with peers of `tests.peers` beside ours."""
    chosen = {**choose([]), **{peer: f"tests.peers:{peer}" for peer in peers}}
    return {r.implementation: r for r in bench_case(layer_case(SPEC), seconds=seconds, peers=chosen, **options)}  # type: ignore[arg-type]


def test_a_known_sleep_is_timed_right_and_apart_from_others() -> None:
    records = records_of("Sleeper", "Talks", seconds=0.6)
    for name in ("Sleeper", "Talks"):
        record = records[name]
        assert record.median_ms == pytest.approx(1e3 * NAP, rel=0.05)
        assert record.min_ms is not None
        assert record.q1_ms is not None
        assert record.q3_ms is not None
        assert record.max_ms is not None
        assert 1e3 * NAP <= record.min_ms <= record.q1_ms <= record.median_ms <= record.q3_ms <= record.max_ms
        assert record.runs >= 10
        assert record.macs_per_cycle is not None
    ours = records["xnornet"]
    assert ours.median_ms is not None
    assert ours.median_ms < 1  # it does not wait for the sleepers
    assert ours.peak_rss_mib is not None
    assert 10 < ours.peak_rss_mib < 200  # of its own process, not of this one
    assert ours.file_bytes


def test_a_wrong_output_is_caught_and_not_timed() -> None:
    records = records_of("Wrong", "NotFinite")
    for name, reason in (("Wrong", "differs"), ("NotFinite", "not finite")):
        assert records[name].median_ms is None
        assert "WRONG OUTPUT" in records[name].note
        assert reason in records[name].note
    assert records["xnornet"].median_ms is not None


@pytest.mark.parametrize(
    ("peer", "reason"),
    [
        ("Missing", "nothing is not installed; pip install nothing"),
        ("Absent", "no_such_library"),
        ("Raises", "RuntimeError: cannot load this"),
        ("Exits", "ended with status 3: the last words"),
        ("Crashes", "killed by SIGSEGV"),
        ("Hangs", "no answer to 'load' within 3 s"),
        ("NoSuchClass", "NoSuchClass"),
    ],
)
def test_a_peer_that_fails_is_a_line_with_the_reason(peer: str, reason: str) -> None:
    start = time.monotonic()
    records = records_of(peer, limits=Limits(load=3))
    assert records[peer].median_ms is None
    assert reason in records[peer].note
    assert "\n" not in records[peer].note
    assert records["xnornet"].median_ms is not None
    assert time.monotonic() - start < 60


def test_turns_beside_busy_processes_are_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that works all the time beside the timing is seen, and the sample says so."""
    idle = take(monkeypatch, used=lambda: 0.0)
    assert idle.thrown_away == 0
    assert not idle.disturbed
    one_core = take(monkeypatch, used=time.perf_counter)
    assert one_core.disturbed
    assert one_core.thrown_away > 0
    assert one_core.median == pytest.approx(1e3 * NAP, rel=0.2)
    # The first second is busy, then the machine falls quiet: only quiet turns count.
    asked: list[float] = []

    def busy_at_first() -> float:
        asked.append(time.perf_counter())
        return min(asked[-1], asked[0] + 1)

    at_first = take(monkeypatch, used=busy_at_first)
    assert at_first.thrown_away > 0
    assert not at_first.disturbed


def take(monkeypatch: pytest.MonkeyPatch, used: object) -> Sample:
    monkeypatch.setattr("xnornet.bench.turns.processor_seconds", used)
    with tempfile.TemporaryDirectory() as name, Worker("tests.peers:Sleeper") as worker:
        np.save(x := Path(name) / "x.npy", np.zeros((1, 2), np.float32))
        worker.ask("load", x, x, [0], 1, limit=60)
        sample = take_turns({"Sleeper": worker}, seconds=0.75)["Sleeper"]
    assert isinstance(sample, Sample)
    return sample


def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    script = """
import os
from xnornet.bench.processes import Worker
print(Worker("tests.peers:Sleeper")._process.pid, flush=True)
os._exit(1)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    pid = int(done.stdout)
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.05)
    pytest.fail("the worker lives on")


def test_how_near_outputs_must_come() -> None:
    right = np.arange(-8, 8, dtype=np.float32).reshape(2, 8)
    assert difference(right.copy(), right, "exact") is None
    assert difference(right * 1.0001, right, "exact") is not None
    assert difference(right * 1.0001, right, "float") is None
    assert difference(right * 1.01, right, "float") is not None
    assert difference(right * 1.1, right, "int8") is None
    assert difference(right[:, ::-1], right, "int8") is not None
    assert difference(right * 1.001, right, "signs") is None
    assert "class" in str(difference(-right, right, "signs"))
    assert "shape" in str(difference(right.T, right, "float"))


@pytest.mark.parametrize("spec", ["3x3:256x14x14:256", "3x3:32x112x112:32:g32", "dense:4096:4096"])
def test_one_wrong_sum_of_a_layer_is_seen(spec: str) -> None:
    case = layer_case(spec)
    right = case.expected("xnor")
    wrong = right.copy()
    wrong.flat[right.size // 2] += 2
    assert difference(wrong, right, case.binary_precision) is not None


def test_layer_specs() -> None:
    assert Layer.parse("3x3:256x14x14:384") == Layer(3, 256, 14, 384, 1, 1)
    assert Layer.parse("5x5:96x27x27:256:s2:p0") == Layer(5, 96, 27, 256, 2, 0)
    assert Layer.parse("3x3:32x14x14:32:g32") == Layer(3, 32, 14, 32, 1, 1, 32)
    assert Layer.parse("dense:40:30") == Layer(1, 40, 1, 30)
    assert Layer.parse("3x3:256x14x14:256").macs == 14 * 14 * 256 * 256 * 9
    assert Layer.parse("3x3:32x14x14:32:g32").macs == 14 * 14 * 32 * 9
    assert Layer.parse("dense:40:30").weights == 1200
    wrong_ones = (
        "dense:0:10",
        "dense:10:0",
        "0x0:3x3x3:4",
        "3x3:99999x3x3:0",
        "3x5:1x2x2:1",
        "3x3:1x2x3:1",
        "conv",
        "3x3:0x4x4:1",
        "7x7:1x3x3:1:p0",
        "3x3:1x4x4:1:s0",
        "",
    )
    for wrong in (*wrong_ones, "3x3:32x14x14:32:g5", "3x3:32x14x14:32:g0"):
        with pytest.raises(UsageError, match="layer"):
            Layer.parse(wrong)
    with pytest.raises(UsageError, match="there are xnornet"):
        choose(["magic"])
    for spec, batch in (("3x3:99999x3x3:99999", 1), (SPEC, 10**12)):
        with pytest.raises(UsageError, match=f"layer '{spec}' in batches of {batch} needs .* MiB of memory"):
            layer_case(spec, batch=batch)


@pytest.mark.parametrize("spec", ["3x3:24x9x9:40", "5x5:13x8x8:7:s2"])
def test_layers_beside_peers(spec: str) -> None:
    """All but PyTorch's, which take seconds to import, and the compiled ones: those are `slow`."""
    quick = [name for name in PEERS if not name.startswith("torch")]
    records = {r.implementation: r for r in bench_layer(spec, seconds=0.02, peers=quick)}
    for name in ("xnornet", "xnornet-bits", "xnornet-bwn", "xnornet-float", "scalar"):
        assert records[name].median_ms is not None, records[name].note
    for name in ("onnxruntime", "openvino", "ncnn", "onnxruntime-int8", "openvino-int8", "openvino-binary"):
        record = records[name]
        if record.median_ms is None:  # missing here, or a layer it gets wrong
            assert "not installed" in record.note or "multiples of 8" in record.note, record.note
    assert any(reason in records["larq"].note for reason in ("no converted file", "not installed", "numpy<2"))


def test_torch_runs_the_same_layer() -> None:
    pytest.importorskip("torch")
    records = {r.implementation: r for r in bench_layer("3x3:24x9x9:40", seconds=0.02, peers=["torch"])}
    assert records["torch"].median_ms is not None, records["torch"].note


def file_of(model: object, path: Path) -> Path:
    """A packed file that says that it holds this model."""
    format.write(replace(tiny_model(), provenance={"model": model}), path)
    return path


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"name": "mynet"}, "'mynet' cannot be built for this file (unknown model 'mynet'"),
        ({"name": "vgg_small", "options": {"nosuch": 3}}, "has no option nosuch"),
        ({"name": "vgg_small", "options": {"width": "wide"}}, "cannot be built for this file"),
        ({"name": "alexnet", "options": {"in_channels": 1}}, "'alexnet' cannot be built for this file"),
        ("vgg_small", "the file does not say which architecture it holds"),
    ],
)
def test_files_of_other_networks_have_no_float_twin(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], model: object, reason: str
) -> None:
    pytest.importorskip("torch")
    ours, torch = bench_file(file_of(model, tmp_path / "a.safetensors"), seconds=0.02)
    assert ours.median_ms is not None
    assert torch.median_ms is None
    assert torch.note.startswith("no float32 twin: ")
    assert reason in torch.note
    assert capfd.readouterr().err == ""


def test_a_float_twin_is_built_only_for_those_who_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xnornet.models", None)
    path = file_of({"name": "vgg_small"}, tmp_path / "a.safetensors")
    stems = ["xnornet-fixed-stem", "xnornet-integer-stem"]
    peers = [*stems, "xnornet-float16", "xnornet-bwn"]
    records = {r.implementation: r for r in bench_file(path, seconds=0.02, peers=peers)}
    half = records["xnornet-float16"]
    assert half.bytes == len(format.dumps(to_float16(format.read(path)))) == half.file_bytes
    assert half.median_ms is not None
    for name in ["xnornet", *stems]:
        assert records[name].bytes == path.stat().st_size
        assert records[name].median_ms is not None
    assert records["xnornet-bwn"].note == "a file holds one form of its network, which xnornet runs; --net times all"


def test_bytes_are_those_of_the_implementations_numbers(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    model = {"name": "vgg_small", "options": {"width": 4, "in_channels": 1, "image_size": 12}}
    records = {
        r.implementation: r
        for r in bench_file(file_of(model, tmp_path / "a"), seconds=0.02, peers=["onnxruntime", "onnxruntime-int8"])
    }
    float_, int8 = (records[name] for name in ("onnxruntime", "onnxruntime-int8"))
    assert float_.median_ms is not None, float_.note
    assert int8.median_ms is not None, int8.note
    assert int8.bytes != float_.bytes


def test_bytes_of_a_network_are_those_of_its_weights() -> None:
    """A bit a binary weight, four bytes a weight of float layers, two where 16 bits are asked and no sign follows."""
    model = tiny_model()
    case = Case("tiny", {"xnor": model}, np.zeros((1, 1, 12, 12), np.float32))
    bits = (16 * 72 + 8 * 72 + 6 * 72) // 8
    for name, each in (("xnornet", 4), ("xnornet-fixed-stem", 4), ("openvino-binary", 4), ("xnornet-float16", 2)):
        kind = peer_class(choose([name])[name])
        assert case.weight_bytes(kind.family, kind.weight_bits) == bits + 4 * 72 + each * 18


def test_weights_beyond_16_bits_are_noted(tmp_path: Path) -> None:
    """And nothing that was timed is lost."""
    flat, dense = overflowing().ops
    large = replace(dense, weight=np.full((3, 144), 1e5, np.float32))  # type: ignore[call-arg]
    format.write(replace(overflowing(), ops=(flat, large)), path := tmp_path / "large.safetensors")
    records = {r.implementation: r for r in bench_file(path, seconds=0.02, peers=["xnornet-float16"])}
    half = records["xnornet-float16"]
    assert "beyond 65504" in half.note
    assert half.median_ms is half.bytes is None
    assert records["xnornet"].median_ms is not None


def record(name: str, ms: float | None, note: str = "", size: int | None = None) -> Record:
    numbers = dict.fromkeys((f.name for f in fields(Record)), None) | {"threads": 1, "batch": 1, "runs": 10, "macs": 1}
    times = {f"{which}_ms": ms for which in ("median", "q1", "q3", "min", "max")}
    return Record(**{**numbers, **times, "case": "", "implementation": name, "note": note, "bytes": size})


def printed(table: object, width: int) -> str:
    console = PlainConsole(width=width, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_the_table_says_who_is_slower_and_shows_texts_as_they_are() -> None:
    ours = record("xnornet", 2.0)
    others = record("xnornet-bits", 1.0), record("[red]torch", None, "pip install 'xnornet[train]'")
    text = printed(_beside("f[v2].safetensors", [ours, *others, record("fast", 0.5), record("slow", 3.0)]), 200)
    for part in ("f[v2].safetensors", "[red]torch", "pip install 'xnornet[train]'", "4.00x slower", "1.5x faster"):
        assert part in text
    assert "faster" not in next(line for line in text.splitlines() if "xnornet-bits" in line)


def test_the_table_is_readable_in_80_columns(tmp_path: Path) -> None:
    """No name and no number is broken; notes stand below, each once, and beside the numbers where there is room."""
    busy = "amx kernels, uint8 in; 6 turns taken again; beside busy processes"
    table = _beside(
        "alexnet.safetensors, batch 1, 1 thread",
        [
            record("xnornet", 5.387, busy, 23_803_008),
            record("xnornet-integer-stem", 4.293, busy, 23_803_008),
            record("torch-compiled", 34.95, "torch 2.13.0+cpu, compiled, weights frozen", 249_471_104),
        ],
    )
    for width in (80, 100):
        lines = printed(table, width).splitlines()
        assert max(map(len, lines)) <= width
        words = {word for line in lines for word in line.split()}
        assert {"implementation", "xnornet-integer-stem", "249,471,104", "34.95", "load"} <= words
        assert {"processes", "torch-compiled"} <= words
        assert "\n".join(lines).count("beside") == 1
        rows = [line for line in lines if "23,803,008" in line]
        assert len(rows) == 2
        assert not any("kernels" in row for row in rows)
    wide = printed(table, 160).splitlines()
    assert sum(busy in line and "23,803,008" in line for line in wide) == 2
    file = tmp_path / "tiny.safetensors"
    format.write(tiny_model(), file)
    lines = printed(layers(file, threads=1, batch=1)[0], 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert {"MACs/cycle", "binary_conv2d", "total"} <= {word for line in lines for word in line.split()}
    narrow = printed(table, 40)
    assert max(map(len, narrow.splitlines())) <= 40
    assert "bytes: 249,471,104" in narrow


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "resnet18"])
def test_networks_are_timed_in_every_engine(name: str) -> None:
    records = {record.implementation: record for record in bench_network(name, seconds=0.2)}
    assert set(records) == set(PEERS)
    for record in records.values():
        if record.implementation not in ("scalar", "larq"):
            assert record.median_ms is not None or "not installed" in record.note, record
    with pytest.raises(UsageError, match="resnet18"):
        bench_network("resnet19")
