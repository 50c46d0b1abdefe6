"""A zoo of random networks in the place of the published one, and a server of its files."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import xnornet
from xnornet import Model, format
from xnornet.zoo import Entry, entries, index
from xnornet.zoo.index import write_entries

from .networks import tiny_model

PIXELS = np.random.default_rng(1).integers(0, 256, (2, 12, 12, 1), np.uint8)


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
