"""The command: help, exit status, and one clear line for each error."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from xnornet.summary import summarise
from xnornet.terminal import PlainConsole

from .command import Run
from .networks import tiny_model


def test_help_shows_an_example_for_every_verb(run: Run) -> None:
    _, listing, _ = run("--help")
    for verb in ("train", "eval", "pack", "unpack", "inspect", "zoo", "classify", "bench"):
        assert verb in listing
        status, out, _ = run(verb, "--help")
        assert status == 0
        assert "Example:" in out
        assert f"xnornet {verb}" in out
        assert run(verb, "-h")[1] == out
        assert "<bool>" not in out  # --json true is no use of a flag
    assert run("-h")[1] == listing
    assert "<bool>" not in listing


@pytest.mark.parametrize("words", [(), ("--import", "json")])
def test_without_a_verb_there_is_the_help(run: Run, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XNORNET_IMPORT", "")  # which --import sets, for this process and those it starts
    status, out, err = run(*words)
    assert (status, err) == (2, "")
    assert out == run("--help")[1]
    assert "Usage: xnornet" in out


def test_version(run: Run) -> None:
    from xnornet import __version__

    assert run("--version")[1].strip() == f"xnornet {__version__}"


def test_nothing_is_lost_on_a_narrow_terminal() -> None:
    """Each row has lines of its own where its columns do not fit; no value is cut."""
    pytest.importorskip("torch")
    from xnornet.bench.tables import kernels
    from xnornet.models import catalogue as models
    from xnornet.train.recipes.catalogue import catalogue as recipes
    from xnornet.train.recipes.catalogue import values

    tables = (recipes()[0], values("fashion-xnor")[0], models()[0], summarise(tiny_model()).table(), kernels()[0])
    for table, width in itertools.product(tables, (40, 60, 80, 100, 160)):
        console = PlainConsole(width=width)
        with console.capture() as captured:
            console.print(table)
        text = captured.get()
        assert max(map(len, text.splitlines())) <= width, (table.title, width)
        assert "…" not in text, (table.title, width)
        words = "".join(text.split())
        for cell in (cell for column in table.columns for cell in column.cells):
            # Beside others a folded cell is not in one piece.
            assert width < 160 or all(word in text for word in str(cell).split()), (table.title, cell)
            assert "─" in text or "━" in text or "".join(str(cell).split()) in words, (table.title, width, cell)


def test_the_package_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "xnornet", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("xnornet ")


def test_wrong_use_is_status_2(run: Run, packed: Path, tmp_path: Path) -> None:
    for words, expected in (
        (["train", "no-such-recipe", "--out", tmp_path / "a"], "`xnornet recipes` lists all"),
        (["train", "fashion-xnor", "nonsense", "--out", tmp_path / "a"], "KEY=VALUE"),
        (["train", "fashion-xnor", "lr=1", "lr=2", "--out", tmp_path / "a"], "lr is given twice, as 1 and as 2"),
        (["train", "fashion-xnor", "epochs=2", "--epochs", "1"], "epochs is given twice, as 2 and as 1; leave one out"),
        (["train", "fashion-xnor", "method=bnn", "--method", "xnor"], "method is given twice, as bnn and as xnor"),
        (["reproduce", "fashion", "epochs=3", "--epochs", "1"], "epochs is given twice, as 3 and as 1"),
        (["train", "fashion-xnor", "num_nodes=2", "--out", tmp_path / "a"], "num_nodes=2: start it by torchrun"),
        (["train", "fashion-xnor", "optimiser=sgd", "momentum=1.5"], "momentum=1.5: below 1"),
        (["train", "fashion-xnor", "no_key=3", "--out", tmp_path / "a"], "no_key"),
        (["train", "fashion-xnor", "--method", "magic", "--out", tmp_path / "a"], "magic"),
        (["train", "fashion-xnor", "--epochs", "0", "--out", tmp_path / "a"], "epochs"),
        (
            ["train", "fashion-xnor", "--batch-size", "64"],
            "of a recipe, give batch_size=VALUE",
        ),
        (["bench"], "FILE"),
        (["bench", "--net", "alexnet", "--peers", "magic"], "magic"),
        (["bench", "--layer", "3x3", "--peers", "none"], "3x3"),
        (["reproduce", "fig2"], "fig4"),
        (["eval", packed], "--data"),
        (["classify", packed], "IMAGE"),
        (["classify", packed, "x.png", "--threads", "0"], "threads"),
        (["classify", packed, "x.png", "--threads", "2000"], "threads"),
        (["classify", packed, "x.png", "--top", "0"], "got '0'"),
        (["classify", packed, "x.png", "--top=-3"], "got '-3'"),
        (["classify", packed, ""], "word 3 of the command is empty; is a variable of the shell not set?"),
        (["classify", "", "x.png"], "word 2 of the command is empty"),
        (["data", ""], "word 2 of the command is empty"),
        (["eval", packed, "--data="], "--data= is empty"),
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
        (["eval", packed, "--data", "nowhere", "--against-torch", wrong], "wrong.ckpt: not a checkpoint"),
        (["pack", wrong, "-o", tmp_path / "out.safetensors"], "wrong.ckpt"),
        (["pack", tmp_path / "absent.ckpt"], "absent.ckpt"),
        (["pack", trained / "last.ckpt", "-o", "/proc/nowhere/m.safetensors"], "/proc/nowhere"),
        (["unpack", packed, "-o", tmp_path / "m.ckpt", "--data", "fashion-mnist-mini"], "does not say which network"),
        (["train", "fashion-xnor", "--data", tmp_path / "nowhere", "--out", tmp_path / "a"], "nowhere"),
    ):
        status, _, err = run(*words)
        assert status == 1, (words, err)
        assert expected in err, (words, err)
        assert len(err.strip().splitlines()) == 1, err
    assert sorted(tmp_path.iterdir()) == before


def test_an_interruption_while_it_starts_is_quiet() -> None:
    code = """
import sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from xnornet.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_may_be_full(packed: Path) -> None:
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "xnornet.cli", "inspect", str(packed)]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "xnornet: standard output: No space left on device\n"
