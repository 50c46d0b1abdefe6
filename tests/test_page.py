"""Pages and the JavaScript library as files; what they do in a browser and in Node is in test_web.py."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

import pytest

from xnornet import __version__, format
from xnornet.web import package

from .command import Run
from .hosting import Zoo, server, zoo
from .networks import tiny_model

__all__ = ["server", "zoo"]  # fixtures

ENGINE = b"\0asm stands for the engine"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the compiled engine is looked for, and this one is found: whether this checkout has it is all the same."""
    path = tmp_path / "installed.wasm"
    path.write_bytes(ENGINE)
    monkeypatch.setattr(package, "WASM", path)
    return path


def inlined(page: Path, name: str) -> bytes:
    (text,) = re.findall(rf'<script type="text/plain" id="{name}">([^<]*)</script>', page.read_text(encoding="utf-8"))
    return base64.b64decode(text)


@pytest.mark.usefixtures("engine")
def test_a_page_holds_all_it_needs(run: Run, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    status, said, _ = run("page", packed, "-o", out, "--title", "Cats & <dogs>")
    assert status == 0
    assert said == f"{out}: {out.stat().st_size:,} bytes; open it in a browser\n"
    assert inlined(out, "model") == packed.read_bytes()
    assert inlined(out, "wasm") == ENGINE
    text = out.read_text(encoding="utf-8")
    assert "<title>Cats &amp; &lt;dogs&gt;</title>" in text
    (imports,) = re.findall(r'<script type="importmap">(.*?)</script>', text)
    kind, _, library = json.loads(imports)["imports"]["xnornet"].partition(",")
    assert kind == "data:text/javascript;base64"
    assert base64.b64decode(library) == (package.FOLDER / "xnornet.js").read_bytes()
    assert not re.findall(r'(?:src|href)="', text)


@pytest.mark.usefixtures("engine")
def test_a_page_is_named_as_its_model(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    status, said, _ = run("page", "cifar10-xnor", "--json")
    assert status == 0
    assert json.loads(said) == {"file": "cifar10-xnor.html", "bytes": Path("cifar10-xnor.html").stat().st_size}
    assert "<title>cifar10-xnor</title>" in Path("cifar10-xnor.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("engine", "server")
def test_a_page_of_a_fetched_model_has_its_name(run: Run, zoo: Zoo) -> None:
    """Not that of the file in the cache."""
    zoo.publish("tiny-1.5")
    assert json.loads(run("page", "tiny-1.5", "--json")[1])["file"] == "tiny-1.5.html"
    assert "<title>tiny-1.5</title>" in Path("tiny-1.5.html").read_text(encoding="utf-8")
    run("page", zoo.cached()[0], "-o", "other.html")
    assert f"<title>{zoo.cached()[0].stem}</title>" in Path("other.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("engine")
def test_a_model_may_come_through_a_pipe(run: Run, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    read, write = os.pipe()
    with open(write, "wb") as file:
        file.write(packed.read_bytes())  # fits into the pipe
    assert run("page", f"/dev/fd/{read}", "-o", out)[0] == 0
    os.close(read)
    assert inlined(out, "model") == packed.read_bytes()


@pytest.mark.usefixtures("engine")
def test_a_damaged_model_leaves_the_page_as_it_was(run: Run, tmp_path: Path) -> None:
    broken, out = tmp_path / "broken.safetensors", tmp_path / "page.html"
    broken.write_bytes(format.dumps(tiny_model())[:-1])
    out.write_text("before")
    status, _, said = run("page", broken, "-o", out)
    assert status == 1
    assert said.startswith(f"xnornet: {broken}: ")
    assert out.read_text() == "before"


@pytest.mark.usefixtures("engine")
def test_a_page_replaces_no_model(run: Run, packed: Path, tmp_path: Path) -> None:
    other, checkpoint = tmp_path / "other.safetensors", tmp_path / "last.ckpt"
    other.write_bytes(packed.read_bytes())
    checkpoint.write_bytes(b"PK\x03\x04 as torch.save has it")
    before = [path.read_bytes() for path in (packed, other, checkpoint)]
    for out, kind in ((packed, "packed model"), (other, "packed model"), (checkpoint, "checkpoint")):
        said = f"xnornet: {out}: a {kind} lies there; give the page another name, or move it away\n"
        assert run("page", packed, "-o", out) == (2, "", said)
    assert before == [path.read_bytes() for path in (packed, other, checkpoint)]


@pytest.mark.usefixtures("engine")
def test_the_library(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "xnornet"
    assert run("javascript", out)[0] == 0
    status, said, _ = run("javascript", out, "--json")  # again, over the first
    assert status == 0
    files = {path.name: path.stat().st_size for path in out.iterdir()}
    assert json.loads(said) == {"folder": str(out), "files": files}
    about = json.loads((out / "package.json").read_text())
    assert about["version"] == __version__
    assert set(files) == {*about["files"], "package.json", "LICENSE"}
    assert (out / "xnornet.wasm").read_bytes() == ENGINE


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("content", ['{"name": "mine", "dependencies": {}}', '{"private": true}', "[]", "{"])
def test_the_library_replaces_no_package_of_something_else(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "package.json").write_text(content)
    before = sorted(tmp_path.iterdir())
    remedy = f"give a folder of its own, as {tmp_path / 'xnornet'}"
    said = f"xnornet: {tmp_path}: a package.json of something else lies there; {remedy}\n"
    assert run("javascript", tmp_path) == (2, "", said)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "package.json").read_text() == content


@pytest.mark.parametrize("verb", ["page", "javascript"])
def test_without_the_engine(run: Run, engine: Path, packed: Path, tmp_path: Path, verb: str) -> None:
    engine.unlink()
    out = tmp_path / "out"
    status, said, error = run("page", packed, "-o", out) if verb == "page" else run("javascript", out)
    assert (status, said) == (1, "")
    assert error.startswith(f"xnornet: {engine} is not there: this installation has no engine for browsers")
    assert "for browsers; in a checkout with Emscripten (apt-get install emscripten) run `make web`" in error
    assert error.count("\n") == 1
    assert not out.exists()
