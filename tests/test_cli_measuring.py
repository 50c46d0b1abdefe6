"""What the command measures."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from .command import Run
from .networks import tiny_model


def test_bench(run: Run, packed: Path) -> None:
    status, out, _ = run("bench", packed, "--seconds", "0.1")
    assert status == 0
    assert "xnornet" in out
    records = json.loads(run("bench", packed, "--seconds", "0.1", "--json")[1])
    assert records[0]["implementation"] == "xnornet"
    assert 0 < records[0]["min_ms"] <= records[0]["median_ms"] <= records[0]["max_ms"]
    assert records[1]["median_ms"] is None
    assert "architecture" in records[1]["note"] or "torch" in records[1]["note"]


def test_bench_per_layer_and_kernels(run: Run, packed: Path) -> None:
    names = {op.name for op in tiny_model().ops}
    records = json.loads(run("bench", packed, "--per-layer", "--json")[1])
    assert names & {record["name"] for record in records}
    assert "total" in run("bench", packed, "--per-layer")[1]
    listed = {record["name"]: record["available"] for record in json.loads(run("bench", "--list-kernels", "--json")[1])}
    assert listed["portable"] is True


def test_bench_fails_where_the_engine_does_not_run(run: Run, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XNORNET_ISA", "bogus")
    status, out, _ = run("bench", packed, "--seconds", "0.1", "--peers", "none", "--json")
    assert status == 1
    assert "XNORNET_ISA=bogus" in json.loads(out)[0]["note"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("bench", "bench needs a FILE, --layer, --net or --list-kernels"),
        ("bench FILE --layer 3x3:8x5x5:6", "FILE does not go with --layer"),
        ("bench --net alexnet --per-layer", "--per-layer does not go with --net"),
        ("bench FILE --per-layer --peers foo", "--per-layer does not go with --peers"),
        ("bench nosuch --list-kernels", "FILE does not go with --list-kernels"),
        ("bench FILE --seconds inf", "less than or equal to 3600"),
        ("bench FILE --peers none --batch 1000000000000", "needs"),
        ("bench FILE --per-layer --batch 1000000000000", "needs more memory than there is"),
        ("bench FILE --peers torch,magic", "unknown implementation 'magic'"),
        (
            "reproduce fig1 lr=3 --seeds 1 --no-new",
            "fig1 does not go with [KEY=VALUE]... and --seeds and --new/--no-new",
        ),
        ("reproduce fig4 --data mnist", "fig4 does not go with --data"),
        ("reproduce table1 --seconds 3", "table1 does not go with --seconds"),
    ],
)
def test_options_that_would_be_ignored_or_are_too_large_are_refused(
    run: Run, packed: Path, words: str, said: str
) -> None:
    status, _, err = run(*(packed if word == "FILE" else word for word in words.split()))
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_table_of_no_runs_is_refused(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    status, _, err = run("reproduce", "cifar10", "--no-new", "--results", tmp_path / "typo")
    assert status == 2
    assert err.endswith(
        "cifar10.csv does not exist; name by --results the folder that has it, or leave --no-new out to train\n"
    )
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "typo").exists()
    results = Path(__file__).parents[1] / "benchmarks" / "results"
    status, _, err = run("reproduce", "cifar10", "--no-new", "--results", results, "--seeds", "99")
    assert status == 2
    assert "cifar10.csv holds no run of these lines and seeds; " in err


@pytest.mark.parametrize(("missing", "what"), [("matplotlib", "fig1"), ("matplotlib", "fig4"), ("torch", "fig4")])
def test_figures_say_what_is_not_installed_before_they_measure(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, what: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    status, _, err = run("reproduce", what, "--results", tmp_path / "results")
    assert status == 2
    assert f"{missing}, which" in err
    assert "not installed; pip install 'xnornet[" in err
    assert not (tmp_path / "results").exists()
