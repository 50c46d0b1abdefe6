"""The runs of a comparison: made once, one by one or at once, resumed, and their rows written."""

from __future__ import annotations

import csv
import json
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("lightning")

from xnornet import cli
from xnornet.bench.provenance import revision
from xnornet.bench.record import Record
from xnornet.errors import TrainingError, UsageError
from xnornet.reproduce import training
from xnornet.reproduce.commands import changes_in, command_of
from xnornet.reproduce.comparisons import COMPARISONS, Comparison, Line, comparison
from xnornet.reproduce.rows import Rows
from xnornet.reproduce.table import make
from xnornet.reproduce.training import make_run, reproduce
from xnornet.train.checkpoint import load_record

from .data_files import write_idx
from .results import rows_of
from .training import shrink


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    import xnornet.train.run as run
    from xnornet.data import open_dataset

    one = COMPARISONS["fashion"]
    monkeypatch.setitem(COMPARISONS, "fashion", one.only(["XNOR"]))  # the others take no other path
    small = shrink(open_dataset("fashion-mnist-mini"))
    monkeypatch.setattr(run, "open_dataset", lambda name: small)
    monkeypatch.setattr(training, "open_dataset", lambda name: small)


TINY = ["epochs=2", "batch_size=20", "model.width=4"]


def test_makes_every_run_once(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["xnornet", "reproduce", "fashion", "--out", str(tmp_path / "runs"), "--results", str(tmp_path), *TINY]

    def run(*more: str) -> str:
        monkeypatch.setattr("sys.argv", [*command, *more])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code
        return capsys.readouterr().out

    first = json.loads(run("--seeds", "3,3", "--json"))  # with nothing else on standard output
    assert len(first) == 1
    written = (tmp_path / "fashion.csv").read_bytes()
    rows = list(csv.DictReader(written.decode().splitlines()))
    assert [(row["line"], row["seed"]) for row in rows] == [(line.label, "3") for line in comparison("fashion").lines]
    for row in rows:
        assert row["test_top1_engine"] == row["test_top1_torch"] or int(row["disagreements"]) > 0
        assert float(row["engine_ms"]) > 0
        assert float(row["float_ms"]) > 0
    curves = list(csv.DictReader((tmp_path / "fashion-curves.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in curves] == [1, 2]
    assert (tmp_path / "fashion.png").read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr(training, "train", None)  # a second run has nothing to train
    again = run("--seeds", "3", "checkpoint_minutes=1")
    assert again.count("| 1 |") == 1
    assert (tmp_path / "fashion.md").read_text().strip() in again
    assert (tmp_path / "fashion.csv").read_bytes() == written
    run("--seeds", "3", "--data", "path/to/fashion-mnist-mini")
    run("--seeds", "3", "lr=0.1", "--no-new")
    for other, said in (("lr=0.1", "lr=0.003, not 0.1"), ("--data=mnist", "data=fashion-mnist-mini, not mnist")):
        monkeypatch.setattr("sys.argv", [*command, "--seeds", "3", other])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 2
        assert f"has a run of 'XNOR, binary weights and inputs', seed 3, with {said}" in capsys.readouterr().err


def write_data(folder: Path) -> None:
    folder.mkdir()
    for split in ("train", "t10k"):
        write_idx(
            folder / f"{split}-images-idx3-ubyte", np.random.default_rng(0).integers(0, 256, (60, 28, 28), np.uint8)
        )
        write_idx(folder / f"{split}-labels-idx1-ubyte", (np.arange(60) % 10).astype(np.uint8))


@pytest.mark.slow
def test_runs_at_once_and_one_that_teaches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run is a process of its own; the pupil waits for its teacher; times come when all is done."""
    write_data(tmp_path / "data")
    lines = (
        Line("float", "fashion-float"),
        Line("xnor", "fashion-xnor", {"method": "xnor-cbap"}),
        Line("taught", "fashion-xnor", teacher="float"),
    )
    compared = Comparison("three", "Three", lines, seeds=(5,))

    def rows(times: bool, only: Comparison = compared) -> list[dict[str, str]]:
        changes = dict(change.split("=") for change in TINY)
        folders = {"out": tmp_path / "runs", "results": tmp_path}
        list(reproduce(only, data=str(tmp_path / "data"), overrides=changes, jobs=2, times=times, **folders))
        with (tmp_path / "three.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    made = rows(times=False)
    assert {row["line"] for row in made} == {"float", "xnor", "taught"}
    assert all(row["engine_ms"] == row["times_machine"] == "" for row in made)
    assert {row["short_of"] for row in made} == {"2 of 25 epochs, width 4"}
    printed = capsys.readouterr().out
    assert all(printed.count(f"{line.label}, seed 5: epoch   2/2  loss") == 1 for line in lines)
    assert "epoch   2/2" in (tmp_path / "runs" / "fashion-xnor-taught-seed5" / "train.log").read_text()
    record = load_record(tmp_path / "runs" / "fashion-xnor-taught-seed5" / "last.ckpt")
    assert record.recipe["teacher"] == str(tmp_path / "runs" / "fashion-float-seed5" / "last.ckpt")
    bench_file, order = training.bench_file, []

    def watched(path: Path, seconds: float) -> list[Record]:
        order.append(path.parent.name)
        return bench_file(path, seconds=seconds)

    monkeypatch.setattr(training, "bench_file", watched)
    monkeypatch.setattr(training, "_ROUNDS", 2)  # each takes long enough
    timed = rows(times=True, only=compared.only(["float", "xnor"]))
    assert order == order[:2] * 2  # in turns
    assert len(set(order)) == 2
    assert [(row["line"], row["commit"]) for row in timed] == [(row["line"], row["commit"]) for row in made]
    for row in timed:
        if row["line"] != "taught":
            assert row["times_commit"] == revision()
            assert float(row["engine_ms"]) > 0
            assert float(row["float_ms"]) > 0
    changes = dict(change.split("=") for change in TINY) | {"init_from": record.recipe["teacher"]}
    begun, _ = make_run(Line("begun", "fashion-float"), str(tmp_path / "data"), tmp_path / "runs" / "begun", changes)
    assert begun["short_of"] == "2 of 25 epochs, begun with last.ckpt, width 4"


def test_runs_one_by_one_can_be_interrupted(tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They train in the main thread, where an interruption arrives, and a later call goes on from there."""

    def interrupted(*args: object, **kwargs: object) -> None:
        assert threading.current_thread() is threading.main_thread()
        raise KeyboardInterrupt

    changes = dict(change.split("=") for change in TINY)
    how = {"out": tmp_path / "runs", "results": tmp_path, "overrides": changes, "seeds": (1,), "times": False}
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(reproduce(comparison("fashion"), **how))
    assert len(list(reproduce(comparison("fashion"), **how))) == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_runs_at_once_end_with_the_command(tmp_path: Path, number: signal.Signals, status: int) -> None:
    write_data(tmp_path / "data")
    words = ["reproduce", "fashion", "--only", "XNOR", "--seeds", "0,1", "--jobs", "2", "--data", "data"]
    command = [sys.executable, "-m", "xnornet.cli", *words, "--epochs", "5000", *TINY[1:]]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as main:
        assert main.stdout is not None
        begun: set[str] = set()
        while len(begun) < 2:
            line = main.stdout.readline()
            assert line
            begun |= {line.split(": epoch")[0]} if ": epoch" in line else set()
        of_threads = Path(f"/proc/{main.pid}/task").glob("*/children")
        children = [pid for of_thread in of_threads for pid in of_thread.read_text().split()]
        assert len(children) == 2
        main.send_signal(number)
        said = main.stdout.read()
    assert main.returncode == status
    assert ("the same command goes on where it stopped" in said) == (number == signal.SIGTERM)
    until = time.monotonic() + 60
    while any(lives(pid) for pid in children):
        assert time.monotonic() < until
        time.sleep(0.05)


def lives(pid: str) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_pictures_need_matplotlib_before_anything_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(training, "train", None)
    with pytest.raises(UsageError, match=r"matplotlib.* not installed; pip install 'xnornet\[bench\]'"):
        make("fashion", results=tmp_path, pictures=tmp_path, out=tmp_path)


def test_a_run_has_its_rows_once_in_order(tmp_path: Path) -> None:
    """Also where a run was stopped between the writing of its curves and of its row, and is made again."""
    rows = Rows(tmp_path / "results", "fashion")
    epochs = [{"line": "a, b", "seed": "0", "epoch": str(epoch)} for epoch in (1, 2)]
    row = {"line": "a, b", "seed": "0", "engine_ms": ""}
    for seed in "012":
        rows.put({**row, "seed": seed}, [{**epoch, "seed": seed} for epoch in epochs])
    rows.put(row, epochs)
    rows.put({**row, "engine_ms": "1.5"})
    written = rows_of(rows.table)
    assert [(row["seed"], row["engine_ms"]) for row in written] == [("0", "1.5"), ("1", ""), ("2", "")]
    assert [(row["seed"], row["epoch"]) for row in rows_of(rows.curves)] == [(s, e) for s in "012" for e in "12"]
    assert rows.of(Line("a, b", ""), 0) == written[0]
    assert rows.of(Line("a, b", ""), 3) is None


def test_commands_that_share_a_folder_of_results_lose_no_rows(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from xnornet.reproduce.rows import Rows
for seed in range(20):
    Rows(Path(sys.argv[1]), "fashion").put({"line": sys.argv[2], "seed": seed}, [{"line": sys.argv[2], "seed": seed}])
"""
    both = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), line]) for line in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    for name in ("fashion", "fashion-curves"):
        assert len({(row["line"], row["seed"]) for row in rows_of(tmp_path / f"{name}.csv")}) == 40


@given(
    data=st.none() | st.text(min_size=1),
    changes=st.dictionaries(st.from_regex(r"[a-z_.]+", fullmatch=True), st.text()),
)
def test_a_recorded_command_can_be_read_back(data: str | None, changes: dict[str, str]) -> None:
    command = command_of("fashion-xnor", data, changes)
    assert changes_in(command) == changes
    assert (["--data", data] == shlex.split(command)[3:5]) == (data is not None)


def test_a_run_that_fails_leaves_the_others(tmp_path: Path) -> None:
    write_data(tmp_path / "data")
    lines = (Line("bad", "fashion-float", {"lr": "1e30"}), Line("good", "fashion-float"))
    changes = dict(change.split("=") for change in TINY)
    folders = {"out": tmp_path / "runs", "results": tmp_path}
    two = Comparison("two", "Two", lines, seeds=(0,))
    with pytest.raises(TrainingError, match="training diverged"):
        list(reproduce(two, data=str(tmp_path / "data"), overrides=changes, jobs=2, times=False, **folders))
    with (tmp_path / "two.csv").open(newline="") as file:
        assert [row["line"] for row in csv.DictReader(file)] == ["good"]


@pytest.mark.parametrize("bad", ["a", "1;2"])
def test_seeds_are_numbers(bad: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["xnornet", "reproduce", "fashion", "--seeds", bad])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "whole numbers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=7", "seed=7: give --seeds 7"),
        (
            "method=bnn",
            "method=bnn: 'XNOR-Net' of 'ablation' is the line with method=xnor",
        ),
        ("input_scale=k", "input_scale=k: 'with K"),
    ],
)
def test_what_lines_differ_by_cannot_be_overridden(override: str, said: str, tmp_path: Path) -> None:
    changes = dict([override.split("=")])
    with pytest.raises(UsageError, match=said):
        list(reproduce(comparison("ablation"), out=tmp_path, results=tmp_path, overrides=changes))


@pytest.mark.parametrize(("name", "key", "value"), [("fashion", "method", "bnn"), ("cifar10", "model", "resnet20")])
def test_what_the_recipes_of_lines_differ_by_cannot_be_overridden(
    name: str, key: str, value: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"{key}={value}: '.*' of '{name}' is the line with {key}="):
        list(reproduce(comparison(name), out=tmp_path, results=tmp_path, overrides={key: value}))


def test_the_written_table_holds_what_there_is(tmp_path: Path) -> None:
    """Not only what the last command chose."""
    write_data(tmp_path / "data")
    changes = dict(change.split("=") for change in TINY)
    how = {"out": tmp_path / "runs", "results": tmp_path, "pictures": tmp_path, "times": False, "overrides": changes}
    make("fashion", data=str(tmp_path / "data"), seeds=(0,), only=["float"], **how)
    printed, rows = make("fashion", data=str(tmp_path / "data"), seeds=(1,), only=["XNOR"], **how)
    assert len(rows) == 1
    assert "| float |" not in printed
    written = (tmp_path / "fashion.md").read_text()
    assert written.count("| 1 |") == 2
    assert "| BWN, binary weights | not run" in written
