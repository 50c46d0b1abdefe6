"""Published models that do not come with the package: read where XNORNET_ZOO points, or fetched; or one clear line."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xnornet
from xnornet import FetchError
from xnornet.zoo import index, locate, where
from xnornet.zoo.fetch import cache_path

from .hosting import Server, Zoo, assert_runs, server, zoo

__all__ = ["server", "zoo"]  # fixtures


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
