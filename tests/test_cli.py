"""The command: what each verb prints, its exit status, and one clear line for each error."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xnornet import cli, format

from .networks import tiny_model

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command in this process: (status, standard output, standard error)."""

    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xnornet", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        code = stop.value.code
        return (code if isinstance(code, int) else 0), printed.out, printed.err

    return call


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    format.write(tiny_model(), path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of one epoch of fashion-xnor, made by the command."""
    pytest.importorskip("lightning")
    folder = tmp_path_factory.mktemp("run")
    words = [sys.executable, "-m", "xnornet.cli", "train", "fashion-xnor", "--epochs", "1", "--out", str(folder)]
    subprocess.run(words, check=True, capture_output=True)
    return folder


def test_help_shows_an_example_for_every_verb(run: Run) -> None:
    _, listing, _ = run("--help")
    for verb in ("train", "eval", "pack", "inspect", "zoo", "classify", "bench"):
        assert verb in listing
        status, out, _ = run(verb, "--help")
        assert status == 0
        assert "Example:" in out
        assert f"xnornet {verb}" in out


def test_version(run: Run) -> None:
    from xnornet import __version__

    assert run("--version")[1].strip() == f"xnornet {__version__}"


def test_inspect(run: Run, packed: Path) -> None:
    status, out, _ = run("inspect", packed)
    assert status == 0
    for word in ("conv2", "binary_conv2d", f"{packed.stat().st_size:,}", "recipe: by hand", "32x less"):
        assert word in out
    records = json.loads(run("inspect", packed, "--json")[1])
    assert records["file_bytes"] == packed.stat().st_size
    assert records["labels"] == ["cat", "dog", "größe"]
    parts = ("header_bytes", "binary_weight_bytes", "float_weight_bytes", "other_bytes")
    assert sum(records[part] for part in parts) == records["file_bytes"]


def test_classify(run: Run, packed: Path, photo: Path) -> None:
    status, out, _ = run("classify", packed, photo, photo, "--top", "2")
    assert status == 0
    assert len(out.strip().splitlines()) == 2
    assert out.count("%") == 4
    (first, second) = json.loads(run("classify", packed, photo, photo, "--json")[1])
    assert first["classes"] == second["classes"]
    assert sum(probability for _, probability in first["classes"]) == pytest.approx(1)


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


def test_models(run: Run) -> None:
    pytest.importorskip("torch")
    status, out, _ = run("models", "--method", "bwn", "--json")
    assert status == 0
    alexnet = next(record for record in json.loads(out) if record["name"] == "alexnet")
    assert (alexnet["quantized_weights"], alexnet["options"]["width"]) == (58_236_928, 96)
    status, out, _ = run("models")
    assert status == 0
    assert "vgg_small" in out
    status, _, err = run("models", "--method", "xor")
    assert status == 2
    assert "unknown method 'xor'; there are float, bwn" in err


def test_train_pack_eval_classify(run: Run, trained: Path, tmp_path: Path) -> None:
    packed = tmp_path / "fashion.safetensors"
    status, out, _ = run("pack", trained / "last.ckpt", "-o", packed)
    assert status == 0
    assert f"{packed.stat().st_size:,} bytes" in out
    status, out, _ = run("eval", packed, "--against-torch", trained / "last.ckpt", "--json")
    assert status == 0
    records = json.loads(out)
    assert records["images"] == 2000
    assert records["against_torch"]["same"] is True
    assert records["top1"] > 0.5  # one epoch; chance is 0.1
    status, out, _ = run("eval", packed, "--data", "fashion-mnist-mini", "--threads", "2")
    assert f"top-1 {records['top1']:.2%}" in out
    records = json.loads(run("bench", packed, "--seconds", "0.1", "--json")[1])
    assert records[1]["implementation"] == "torch"
    assert records[1]["median_ms"] > 0
    assert "recipe" in run("inspect", packed)[1]


def test_wrong_use_is_status_2(run: Run, packed: Path, tmp_path: Path) -> None:
    for words, expected in (
        (["train", "no-such-recipe", "--out", tmp_path / "a"], "fashion-xnor"),
        (["train", "fashion-xnor", "nonsense", "--out", tmp_path / "a"], "KEY=VALUE"),
        (["train", "fashion-xnor", "no_key=3", "--out", tmp_path / "a"], "no_key"),
        (["train", "fashion-xnor", "--method", "magic", "--out", tmp_path / "a"], "magic"),
        (["train", "fashion-xnor", "--epochs", "0", "--out", tmp_path / "a"], "epochs"),
        (["bench"], "FILE"),
        (["bench", "--net", "alexnet", "--peers", "magic"], "magic"),
        (["bench", "--layer", "3x3", "--peers", "none"], "3x3"),
        (["reproduce", "fig2"], "fig4"),
        (["eval", packed], "--data"),
        (["classify", packed], "IMAGE"),
        (["classify", packed, "x.png", "--threads", "0"], "threads"),
        (["fly"], "fly"),
    ):
        status, _, err = run(*words)
        assert status == 2, words
        assert expected in err, (words, err)
        assert len(err.strip().splitlines()) == 1, err


def test_failures_are_status_1_and_one_line(run: Run, packed: Path, photo: Path, trained: Path, tmp_path: Path) -> None:
    text, cut, damaged, wrong = (tmp_path / n for n in ("text.png", "cut.png", "damaged.safetensors", "wrong.ckpt"))
    text.write_text("no image")
    cut.write_bytes(photo.read_bytes()[:300])
    damaged.write_bytes(packed.read_bytes()[:-1] + b"!")
    wrong.write_bytes(b"\x80\x02}q\x00.")  # a pickle
    before = sorted(tmp_path.iterdir())
    for words, expected in (
        (["inspect", tmp_path / "absent"], "absent"),
        (["inspect", damaged], "checksum"),
        (["classify", damaged, photo], "checksum"),
        (["classify", packed, text], "text.png"),
        (["classify", packed, cut], "corrupt"),
        (["classify", packed, tmp_path / "absent.png"], "no such file"),
        (["eval", packed, "--data", tmp_path / "nowhere"], "nowhere"),
        (["eval", packed, "--data", "fashion-mnist-mini"], "10 classes"),
        (["pack", wrong, "-o", tmp_path / "out.safetensors"], "wrong.ckpt"),
        (["pack", tmp_path / "absent.ckpt"], "absent.ckpt"),
        (["pack", trained / "last.ckpt", "-o", "/proc/nowhere/m.safetensors"], "/proc/nowhere"),
        (["train", "fashion-xnor", "--data", tmp_path / "nowhere", "--out", tmp_path / "a"], "nowhere"),
    ):
        status, _, err = run(*words)
        assert status == 1, (words, err)
        assert expected in err, (words, err)
        assert len(err.strip().splitlines()) == 1, err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_may_be_full(packed: Path) -> None:
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "xnornet.cli", "inspect", str(packed)]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode != 0
