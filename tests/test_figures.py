"""The paper's figures 1 and 4: our measurements as committed, tables and pictures."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from xnornet import __version__
from xnornet.bench import provenance
from xnornet.bench.figures import CHANNELS, FIGURES, channel_case, milliseconds, reproduce
from xnornet.bench.layers import bench_layer
from xnornet.bench.results import Results, read_rows
from xnornet.errors import UsageError, XnornetError
from xnornet.files import write_csv

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
POINT = "3x3:256x14x14:256"


def test_results_go_on_where_they_stopped(tmp_path: Path) -> None:
    path = tmp_path / "layers.csv"
    results = Results(path)
    records = bench_layer("3x3:8x5x5:6", seconds=0.02, peers=["scalar"])
    results._about["commit"] = "abc1234"
    assert not results.has("3x3:8x5x5:6", 1)
    results.add(records, "a command")
    results.add(records, "a command")  # in place of the first
    again = Results(path)
    assert len(again.rows) == len(records)
    assert not again.has("3x3:8x5x5:6", 1)  # of another commit
    again._about["commit"] = "abc1234"
    assert again.has("3x3:8x5x5:6", 1)
    assert not again.has("3x3:8x5x5:6", 2)
    again._about["commit"] = "uncommitted"
    again.rows[0]["commit"] = "uncommitted"
    assert not again.has("3x3:8x5x5:6", 1)  # who knows what code that was
    ms = milliseconds(again.rows, "3x3:8x5x5:6")
    assert ms["scalar"] == pytest.approx(records[-1].median_ms, rel=1e-4)


def test_figures_as_committed() -> None:
    """58x of the paper against the same kind of baseline, and 32x on weights, from the committed files."""
    rows = read_rows(RESULTS / "fig1.csv")
    ms = milliseconds(rows, POINT)
    assert ms["scalar"] / ms["xnornet"] >= 58
    size = {row["implementation"]: int(row["bytes"]) for row in rows if row["bytes"]}
    assert size["xnornet-float"] == 32 * size["xnornet"] == 32 * size["xnornet-bwn"]
    _, records = FIGURES["fig1"].table(RESULTS)
    assert [record["method"] for record in records] == ["float", "bwn", "xnor"]
    assert records[2]["ours"]["memory_saving"] == 32
    table, records = FIGURES["fig4"].table(RESULTS)
    assert table.row_count >= len(CHANNELS)
    measured = {record["case"]: record for record in records if "case" in record}
    assert measured[channel_case(256)]["model"] == pytest.approx(62.27, abs=0.005)
    assert measured[channel_case(256)]["faster_than_scalar"] >= 58
    memory = {row["network"]: row for row in read_rows(RESULTS / "fig4-memory.csv")}
    assert int(memory["alexnet"]["parameters"]) == 62_378_344  # 475 MiB in double precision, as the figure says
    for row in memory.values():
        assert int(row["inner_float_bytes"]) == 32 * int(row["inner_binary_bytes"])


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from xnornet.bench.plots import draw

    for name in (*FIGURES, "networks"):
        paths = draw(name, RESULTS, tmp_path)
        assert [path.suffix for path in paths] == [".png", ".svg"]
        assert all(path.stat().st_size > 10_000 for path in paths)


def test_the_papers_point_is_named_above_its_line() -> None:
    pytest.importorskip("matplotlib")
    from xnornet.bench.plots import _figure_1

    (axes,) = _figure_1(RESULTS).axes
    (text,) = (text for text in axes.texts if "the paper's 58x" in text.get_text())
    assert text.get_transform() == axes.get_xaxis_transform()
    assert text.get_position()[1] > 1


def test_a_figure_without_a_time_that_it_rests_on_says_which(tmp_path: Path) -> None:
    rows = [row for row in read_rows(RESULTS / "fig1.csv") if row["implementation"] != "scalar"]
    write_csv(tmp_path / "fig1.csv", rows)
    with pytest.raises(XnornetError, match=r"fig1.csv: no time of scalar \(not run\)"):
        FIGURES["fig1"].table(tmp_path)


def test_the_commit_is_that_of_this_checkout_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of a repository of somebody's work, in whose virtual environment the package is."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    author = ["-c", "user.name=A", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", tmp_path, *author, "commit", "-q", "--allow-empty", "-m", "work"], check=True)
    module = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages" / "xnornet" / "bench" / "provenance.py"
    monkeypatch.setattr(provenance, "__file__", str(module))
    assert provenance.revision() == f"v{__version__}"
    (tmp_path / "cpp").mkdir()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "src" / "xnornet" / "bench" / "provenance.py"))
    commit = subprocess.check_output(["git", "-C", tmp_path, "rev-parse", "--short", "HEAD"], text=True).strip()
    assert provenance.revision() == commit


def test_unknown_figure(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="fig1"):
        reproduce("fig2", tmp_path)


def test_the_page_is_what_the_files_say() -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "write_performance.py", "--check"], check=True)


def test_times_beside_busy_processes_have_a_star(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from performance.beside import beside

    rows = read_rows(RESULTS / "networks-zen4.csv")
    first = [row for row in rows if row["case"] == "alexnet" and row["threads"] == row["batch"] == "1"]
    assert "*" not in beside(first, ["alexnet"]).replace("**xnornet**", "")
    busy = [{**first[0], "median_ms": "3.70777", "note": "avx512 kernels; beside busy processes"}, *first[1:]]
    page = beside(busy, ["alexnet"])
    assert "| 3.71* |" in page
    assert page.endswith("\n\\* beside busy processes")


def test_all_that_is_faster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from performance import limits

    times = {
        "xnornet": 2.0,
        "xnornet-integer-stem": 1.0,
        "xnornet-bwn": 1.6,
        "torch": 1.0,
        "ncnn": 1.999,
        "openvino": 3,
    }
    about = {"isa": "avx2", "case": POINT, "threads": "1", "batch": "1"}
    rows = [{**about, "implementation": name, "median_ms": str(ms)} for name, ms in times.items()]
    monkeypatch.setattr(limits, "read", lambda name: rows if name == "layers.csv" else [])
    lines = [line for line in limits.limits().splitlines() if line.startswith("*")]
    assert lines == [f"* {POINT} (batch 1, 1 thread, avx2): PyTorch, float32 by 2.00x, xnornet, BWN by 1.25x"]


BENCHMARKS = sorted(path.name for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text())


def asked(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, ROOT / script, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_say_what_they_measure_and_measure_nothing(name: str) -> None:
    pytest.importorskip("torch")
    done = asked(f"benchmarks/{name}", "--help")
    assert done.returncode == 0, done.stderr
    assert f"python benchmarks/{name}" in done.stdout
    assert "--results FOLDER" in done.stdout
    assert "minute" in done.stdout or "seconds" in done.stdout


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("benchmarks/decoding.py", [], "the following arguments are required: DATA; see --help"),
        ("benchmarks/engine.py", ["magic"], "unknown piece 'magic'; there are layers, "),
        ("benchmarks/float16.py", ["model"], "'model' is not MODEL=DATA"),
        ("benchmarks/stems.py", ["--result"], "expected one argument"),
    ],
)
def test_benchmarks_say_in_one_line_what_is_wrong(script: str, words: list[str], said: str) -> None:
    done = asked(script, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("script", ["scripts/write_performance.py", "scripts/write_tables.py"])
def test_words_that_a_script_does_not_know_write_nothing(script: str) -> None:
    assert asked(script, "--help").returncode == 0
    assert asked(script, "--magic").returncode == 2


def test_every_figure_has_machine_commit_and_command() -> None:
    for name in ("fig1", "fig4", "fig4-memory", "layers", "networks"):
        with (RESULTS / f"{name}.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                assert row["machine"], name
                assert len(row["commit"]) == 7, (name, row["commit"])
                assert "xnornet" in row["command"], name
