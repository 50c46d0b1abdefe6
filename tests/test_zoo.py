"""Published models: found by name, in the package, in the cache, or where XNORNET_ZOO points; or one clear line."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xnornet
from xnornet import FetchError, FormatError, Model, UsageError, cli, format
from xnornet.zoo import Entry, entries, index, locate, named, where
from xnornet.zoo.fetch import cache_path
from xnornet.zoo.index import write_entries

from .networks import tiny_model, write_pictures

PIXELS = np.random.default_rng(1).integers(0, 256, (2, 12, 12, 1), np.uint8)
PACKAGE = Path(xnornet.__file__).parent / "zoo"


class Zoo:
    """A package's folder, a folder that hosts files, and a cache, all empty, in the place of the real ones."""

    def __init__(self, folder: Path) -> None:
        self.package, self.host, self.cache = folder / "package", folder / "host", folder / "cache"
        for each in (self.package, self.host, self.cache):
            each.mkdir()
        write_entries([], self.package)

    def publish(self, name: str, seed: int = 0, *, bundled: bool = False) -> Entry:
        file = (self.package if bundled else self.host) / f"{name}.safetensors"
        size = format.write(tiny_model(seed), file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        entry = Entry(name, file.name, digest, size, bundled, "animals", 3, 0.5, "A network of random weights.")
        write_entries([*entries(self.package).values(), entry], self.package)
        (self.package / f"{name}.md").write_text(f"# {name}\n\nAbout [größe], 100 %.\n")
        return entry

    def cached(self) -> list[Path]:
        return [path for path in self.cache.rglob("*") if path.is_file()]


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    zoo = Zoo(tmp_path)
    monkeypatch.setattr(index, "FOLDER", zoo.package)
    monkeypatch.setenv("XDG_CACHE_HOME", str(zoo.cache))
    monkeypatch.delenv("XNORNET_ZOO", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return zoo


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


class Server:
    """Serves a folder on this machine; `damage` changes the bytes of an answer whose length was announced before."""

    def __init__(self, folder: Path) -> None:
        self.requests: list[str] = []
        self.damage: Callable[[bytes], bytes] = lambda data: data
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                file = folder / self.path.lstrip("/")
                if not file.is_file():
                    self.send_error(404)
                    return
                data = file.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(outer.damage(data))

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def server(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serves the hosting folder, and XNORNET_ZOO points there."""
    server = Server(zoo.host)
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("XNORNET_ZOO", server.url)
    yield server
    server.server.shutdown()
    thread.join()
    server.server.server_close()


def assert_runs(name: str, seed: int = 0) -> None:
    np.testing.assert_array_equal(xnornet.load(name).run(PIXELS), Model(tiny_model(seed)).run(PIXELS))


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


# --- fetching ---


@pytest.mark.parametrize("slash", ["", "/sub/"])
def test_fetched_once(zoo: Zoo, server: Server, slash: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = zoo.publish("tiny")
    (zoo.host / "sub").symlink_to(zoo.host)
    monkeypatch.delenv("XNORNET_ZOO")
    assert where(entry) == "needs XNORNET_ZOO"
    monkeypatch.setenv("XNORNET_ZOO", server.url + slash)
    assert where(entry) == "fetchable"
    assert_runs("tiny")
    assert where(entry) == "cached"
    assert zoo.cached() == [cache_path(entry)]
    assert len(server.requests) == 1
    (zoo.host / entry.file).unlink()
    assert_runs("tiny")
    monkeypatch.delenv("XNORNET_ZOO")
    assert_runs("tiny")
    assert len(server.requests) == 1


@pytest.mark.parametrize("form", ["folder", "relative folder", "file URL"])
def test_read_in_a_folder(zoo: Zoo, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it lies there, so that nothing need be written; what is in the cache comes first."""
    entry = zoo.publish("tiny")
    source = {"folder": f"{zoo.host}/", "relative folder": "../host", "file URL": zoo.host.as_uri()}[form]
    monkeypatch.setenv("XNORNET_ZOO", source)
    assert where(entry) == "in XNORNET_ZOO"
    assert locate("tiny").samefile(zoo.host / entry.file)
    assert_runs("tiny")
    assert zoo.cached() == []
    cached = cache_path(entry)
    cached.parent.mkdir()
    cached.write_bytes((zoo.host / entry.file).read_bytes())
    assert where(entry) == "cached"
    assert locate("tiny") == cached
    cached.unlink()
    (zoo.host / entry.file).write_bytes(b"other")
    assert where(entry) == "fetchable"
    with pytest.raises(FetchError, match="truncated"):
        locate("tiny")


def test_bytes_are_told(zoo: Zoo, server: Server) -> None:
    entry = zoo.publish("tiny")
    told: list[tuple[int, int]] = []
    locate("tiny", lambda done, total: told.append((done, total)))
    assert told[-1] == (entry.bytes, entry.bytes)


def test_the_cache_lies_at_home(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = zoo.publish("tiny")
    monkeypatch.setenv("HOME", "/home/me")
    for unusable in (None, "", "relative"):
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        if unusable is not None:
            monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert cache_path(entry).parent == Path("/home/me/.cache/xnornet")


def test_another_version_is_another_file(zoo: Zoo, server: Server) -> None:
    zoo.publish("tiny", seed=0)
    assert_runs("tiny", seed=0)
    zoo.publish("tiny", seed=1)
    assert_runs("tiny", seed=1)
    assert len(zoo.cached()) == 2


def test_a_damaged_copy_is_fetched_again(zoo: Zoo, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = zoo.publish("tiny")
    path = locate("tiny")
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:-1] + b"!", b""):
        path.write_bytes(damaged)
        assert_runs("tiny")
        assert path.read_bytes() == whole
    path.write_bytes(b"")
    monkeypatch.delenv("XNORNET_ZOO")
    with pytest.raises(FetchError, match=f"'tiny' does not come with the package.*{entry.file}"):
        xnornet.load("tiny")


def test_many_at_once(zoo: Zoo, server: Server) -> None:
    zoo.publish("tiny")
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(locate, ["tiny"] * 8))
    assert zoo.cached() == list(paths)
    assert_runs("tiny")


@given(data=st.data())
@settings(max_examples=30)
def test_no_other_bytes_get_into_the_cache(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        zoo = Zoo(tmp_path_factory.mktemp("zoo"))
        patch.setattr(index, "FOLDER", zoo.package)
        patch.setenv("XDG_CACHE_HOME", str(zoo.cache))
        patch.setenv("XNORNET_ZOO", str(zoo.host))
        entry = zoo.publish("tiny")
        file = zoo.host / entry.file
        whole = file.read_bytes()
        start = data.draw(st.integers(0, len(whole)))
        stop = data.draw(st.integers(start, len(whole)))
        other = whole[:start] + data.draw(st.binary(max_size=3)) + whole[stop:]
        file.write_bytes(other)
        if other == whole:
            locate("tiny")
        else:
            with pytest.raises(FetchError, match="tiny"):
                locate("tiny")
            assert zoo.cached() == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "does not come with the package; set XNORNET_ZOO to the folder or URL that holds tiny.safetensors"),
        ("/no/such/place", "there is no folder /no/such/place"),
        ("file:///no/such/place", "there is no folder /no/such/place"),
        (".", "tiny.safetensors: No such file or directory; put the file there"),
        ("ftp://example.org/zoo", "ftp:// is unknown; give a folder"),
        ("http://127.0.0.1:1", "Connection refused; check the network"),
        ("http://127.0.0.1:port", "check the network"),
        ("http://xnornet.invalid", "xnornet.invalid/tiny.safetensors: "),  # no such host, whoever says so
        ("http://a b", "check the network"),
    ],
)
def test_nothing_to_be_had(zoo: Zoo, source: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo.publish("tiny")
    monkeypatch.setenv("XNORNET_ZOO", source)
    refused(zoo, words)


def refused(zoo: Zoo, words: str) -> None:
    with pytest.raises(FetchError) as caught:
        xnornet.load("tiny")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert zoo.cached() == []


def test_wrong_answers(zoo: Zoo, server: Server) -> None:
    entry = zoo.publish("tiny")
    file = zoo.host / entry.file
    server.damage = lambda data: data[:-100]
    refused(zoo, f"truncated, {entry.bytes - 100:,} of {entry.bytes:,} bytes came")
    server.damage = lambda data: b""
    refused(zoo, "truncated, 0 of")
    server.damage = lambda data: data[:-1] + b"!"
    refused(zoo, "does not match the checksum of 'tiny'")
    server.damage = lambda data: data
    file.write_bytes(file.read_bytes() + b"!")
    refused(zoo, f"more than the {entry.bytes:,} bytes")
    file.unlink()
    refused(zoo, f"{server.url}/tiny.safetensors: HTTP 404 Not Found; check")
    zoo.publish("tiny")
    assert_runs("tiny")


def test_a_terminated_download_leaves_nothing(zoo: Zoo) -> None:
    """Bytes of a pipe that nobody fills come as slowly as can be."""
    entry = zoo.publish("far")
    (zoo.host / entry.file).unlink()
    os.mkfifo(zoo.host / entry.file)
    code = "from xnornet.zoo import fetch, index; from pathlib import Path\n"
    code += f"fetch.fetch(index.Entry(**{asdict(entry)}), Path({str(zoo.cache / 'm')!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "XNORNET_ZOO": str(zoo.host)})
    with (zoo.host / entry.file).open("wb") as pipe:
        pipe.write(bytes(10))
        pipe.flush()
        assert len(zoo.cached()) == 1
        process.terminate()
        assert process.wait(timeout=30) == 128 + signal.SIGTERM
    assert zoo.cached() == []


def test_parts_that_nobody_writes_any_more_are_removed(zoo: Zoo, server: Server) -> None:
    entry = zoo.publish("far")
    target = cache_path(entry)
    target.parent.mkdir(parents=True)
    names = (f".{target.name}.a.partial", f".{target.name}.b.partial", ".x.partial")
    abandoned, young, other = (target.with_name(name) for name in names)
    for path in (abandoned, young, other):
        path.write_bytes(b"part")
    for path in (abandoned, other):
        os.utime(path, (0, 0))
    assert_runs("far")
    assert set(zoo.cached()) == {target, young, other}


def test_the_cache_cannot_be_written(zoo: Zoo, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = zoo.publish("tiny")
    file = zoo.cache / "file"
    file.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    with pytest.raises(FetchError, match=r"file/xnornet/.*: cannot be written \(Not a directory\).*XDG_CACHE_HOME"):
        xnornet.load("tiny")
    assert server.requests == []
    file.unlink()
    monkeypatch.setenv("XDG_CACHE_HOME", str(zoo.cache))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (entry.bytes // 2, most))  # as a disk that fills while it is written
    try:
        refused(zoo, "cannot be written (File too large); make room")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert_runs("tiny")


# --- the command ---


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xnornet", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        return (stop.value.code if isinstance(stop.value.code, int) else 0), printed.out, printed.err

    return call


Run = Callable[..., tuple[int, str, str]]


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
