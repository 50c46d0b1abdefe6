"""Published models: what a name means, what the command says of them, and those in the package."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xnornet
from xnornet import FormatError, UsageError, format
from xnornet.zoo import Entry, entries, locate, named, where
from xnornet.zoo.index import write_entries

from .command import Run
from .hosting import Server, Zoo, assert_runs, server, zoo
from .networks import tiny_model, write_pictures

__all__ = ["server", "zoo"]  # fixtures
PACKAGE = Path(xnornet.__file__).parent / "zoo"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


# --- what a name means ---


def test_bundled_models_need_no_network(zoo: Zoo, no_network: None) -> None:
    entry = zoo.publish("tiny", bundled=True)
    assert_runs("tiny")
    assert where(entry) == "bundled"
    assert zoo.cached() == []


def test_a_file_wins_over_a_model(zoo: Zoo) -> None:
    zoo.publish("tiny", seed=0, bundled=True)
    Path("tiny").mkdir()
    assert_runs("tiny", seed=0)  # a folder is no file
    Path("tiny").rmdir()
    format.write(tiny_model(1), "tiny")
    assert_runs("tiny", seed=1)


def test_unknown_names_are_told_from_missing_files(zoo: Zoo) -> None:
    with pytest.raises(UsageError, match=r"'tiny' is neither a file nor .*no models are published yet"):
        xnornet.load("tiny")
    with pytest.raises(UsageError, match="'tiny' is no published model; none is published yet"):
        named("tiny")
    zoo.publish("tiny-a", bundled=True)
    zoo.publish("tiny-b")
    with pytest.raises(UsageError, match=r"'tiny' is neither a file .* check the path, or give one of tiny-a, tiny-b"):
        xnornet.load("tiny")
    with pytest.raises(UsageError, match="there are tiny-a, tiny-b"):
        named("tiny")
    for path in ("tiny-c.safetensors", "nowhere/tiny-a", Path("nowhere/tiny-a")):
        with pytest.raises(FormatError, match="No such file"):
            xnornet.load(path)
    Path("folder").mkdir()
    with pytest.raises(FormatError, match="directory"):
        xnornet.load("folder")
    with pytest.raises(UsageError, match="'' is neither a file"):
        xnornet.load("")


def test_a_path_may_begin_at_home(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(zoo.host))
    zoo.publish("tiny")
    assert_runs("~/tiny.safetensors")


@given(st.text(max_size=300))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert locate(text) == Path(text)


@given(st.text("abc01.-_/ \nA", max_size=8))
def test_names_of_models_are_no_paths(text: str) -> None:
    try:
        Entry(text, "a.safetensors", "0" * 64, 1, True, "data", 2, 0.5, "")
    except ValueError:
        return
    assert text
    assert not set(text) & set("/ \nA_")
    assert text[0] != "." != text[-1]


@pytest.mark.parametrize(("file", "sha256"), [("../a", "0" * 64), ("a", "0" * 63), ("a", "A" * 64), ("", "0" * 64)])
def test_entries_name_a_file_and_a_checksum(file: str, sha256: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        Entry("a", file, sha256, 1, True, "data", 2, 0.5, "")


def test_the_index_is_read_as_written(tmp_path: Path) -> None:
    first = Entry("b", "b.safetensors", "0" * 64, 1, True, "größe", 2, 0.8913, "A\nB")
    second = replace(first, name="a", bundled=False)
    write_entries([first, second], tmp_path)
    assert entries(tmp_path) == {"a": second, "b": first}
    assert list(entries(tmp_path)) == ["a", "b"]


# --- the command ---


def test_every_verb_takes_a_name(zoo: Zoo, run: Run, server: Server) -> None:
    zoo.publish("near", bundled=True)
    zoo.publish("far")
    pictures = write_pictures(Path("pictures"), tiny_model())
    for name in ("near", "far"):
        status, out, _ = run("classify", name, pictures / "cat" / "0.png", "--json")
        assert status == 0
        assert json.loads(out)[0]["classes"]
        assert "recipe: by hand" in run("inspect", name)[1]
        assert json.loads(run("eval", name, "--data", pictures, "--json")[1])["images"] == 12
        assert "conv2" in run("bench", name, "--per-layer")[1]
        assert json.loads(run("bench", name, "--seconds", "0.1", "--peers", "none", "--json")[1])
    assert server.requests == ["/far.safetensors"]


def test_errors_are_one_line(zoo: Zoo, run: Run) -> None:
    zoo.publish("far")
    for words, expected, kind in (
        (["inspect", "fa"], "'fa' is neither a file", 2),
        (["zoo", "fa"], "there are far", 2),
        (["classify", "fa", "photo.png"], "or give one of far", 2),
        (["bench", "far"], "set XNORNET_ZOO", 1),
        (["eval", "far"], "set XNORNET_ZOO", 1),
    ):
        status, _, err = run(*words)
        assert status == kind
        assert expected in err
        assert len(err.strip().splitlines()) == 1, err


def test_the_verb_zoo(zoo: Zoo, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("zoo") == (0, "no models are published yet\n", "")
    assert json.loads(run("zoo", "--json")[1]) == []
    near, far = zoo.publish("near", bundled=True), zoo.publish("far")
    status, out, _ = run("zoo")
    assert status == 0
    lines = {line.split()[1]: line for line in out.splitlines() if "animals" in line}
    for entry, place in ((near, "bundled"), (far, "needs XNORNET_ZOO")):
        for word in ("animals, 3 classes", "50.00%", f"{entry.bytes:,}", place, "A network of random weights."):
            assert word in lines[entry.name]
    monkeypatch.setenv("XNORNET_ZOO", str(zoo.host))
    records = json.loads(run("zoo", "--json")[1])
    assert [(record["name"], record["where"]) for record in records] == [("far", "in XNORNET_ZOO"), ("near", "bundled")]
    assert run("zoo", "near")[1] == "# near\n\nAbout [größe], 100 %.\n"
    assert json.loads(run("zoo", "near", "--json")[1])["card"].startswith("# near")
    assert "Example:" in run("zoo", "--help")[1]


# --- the package ---


def test_the_packages_index_is_that_of_its_files() -> None:
    models = entries()
    for entry in models.values():
        assert entry.card.startswith(f"# {entry.name}\n")
        assert entry.bundled == (PACKAGE / entry.file).exists()
        if entry.bundled:
            content = (PACKAGE / entry.file).read_bytes()
            assert len(content) == entry.bytes
            assert hashlib.sha256(content).hexdigest() == entry.sha256
            assert len(format.loads(content).labels) == entry.classes
    bundled = {entry.file for entry in models.values() if entry.bundled}
    assert {path.name for path in PACKAGE.glob("*.safetensors")} == bundled
    assert {path.stem for path in PACKAGE.glob("*.md")} == set(models)
