"""A method of the user's own, by `--import`: the module of docs/methods.md, trained, packed and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from xnornet.extensions import import_extensions
from xnornet.reproduce.comparisons import Line
from xnornet.reproduce.processes import RunProcess

from .test_reproduce import TINY, write_data

METHODS = Path(__file__).parents[1] / "docs" / "methods.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the module lies, with a small data set; the working folder."""
    (code,) = re.findall(r"```python\n(# mine.py\n.*?)```", METHODS.read_text(), re.DOTALL)
    (tmp_path / "mine.py").write_text(code)
    write_data(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "xnornet.cli", *words], capture_output=True, text=True, check=False)


def test_a_method_of_ones_own(folder: Path) -> None:
    train = ["train", "fashion-xnor", "method=mine", "--data", "data", *TINY, "--out", "run"]
    refused = command(*train)
    assert refused.returncode == 2
    assert "unknown method 'mine'" in refused.stderr
    assert "--import MODULE" in refused.stderr
    done = command("--import", "mine", *train)
    assert done.returncode == 0, done.stderr
    refused = command("pack", "run/last.ckpt", "-o", "mine.safetensors")
    assert refused.returncode == 1
    assert refused.stderr.startswith("xnornet: run/last.ckpt: unknown method 'mine'; ")
    assert refused.stderr.endswith("; one of your own needs --import MODULE\n")
    done = command("--import", "mine", "pack", "run/last.ckpt", "-o", "mine.safetensors")
    assert done.returncode == 0, done.stderr
    shown = command("inspect", "mine.safetensors")
    assert "binary_conv2d" in shown.stdout
    assert "method: mine" in shown.stdout


def test_processes_of_reproduce_import_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XNORNET_IMPORT", "mine")
    changes = dict(change.split("=") for change in TINY) | {"method": "mine"}
    with RunProcess((Line("mine", "fashion-xnor"), "data", folder / "run", changes), 1, folder / "log") as process:
        while not process.done(timeout=1):
            pass
        row, _ = process.result()
    assert row["method"] == "mine"


def test_the_folder_stays_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For what a module imports in a function, behind all else; a module's own entry stays where it put it."""
    (tmp_path / "imports_late.py").write_text(
        "import sys\nsys.path.insert(0, 'its own')\n"
        "def late():\n    import imported_late\n    return imported_late.value\n"
    )
    (tmp_path / "imported_late.py").write_text("value = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XNORNET_IMPORT", "imports_late")
    path = [*sys.path]
    monkeypatch.setattr(sys, "path", [*path])
    for name in ("imports_late", "imported_late"):
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    import_extensions()
    assert sys.modules["imports_late"].late() == 3
    assert sys.path == ["its own", *path, str(tmp_path)]
    import_extensions()
    assert sys.path == ["its own", *path, str(tmp_path)]


def test_modules_of_the_environment_and_of_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (folder / f"{name}.py").write_text(f"import os\nprint('{name}', os.environ['XNORNET_IMPORT'])\n")
    monkeypatch.setenv("XNORNET_IMPORT", "a, b")
    done = command("--import", "b", "--import", "c", "recipes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == ["a a,b,c", "b a,b,c", "c a,b,c"]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("nowhere", "--import nowhere: there is no module of this name"),
        ("broken", "--import broken: ZeroDivisionError: division by zero; XNORNET_DEBUG=1 shows where"),
        ("needs", "--import needs: ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_a_module_that_cannot_be_imported(folder: Path, module: str, words: str) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "needs.py").write_text("import nowhere\n")
    done = command("--import", module, "recipes")
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert os.environ.get("XNORNET_IMPORT") is None
