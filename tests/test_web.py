"""The engine in WebAssembly, run by Node: the same bits as the portable kernels give natively."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scripts.build_wasm import build

import xnornet
from xnornet import engine, format, ops
from xnornet.graph import PackedModel
from xnornet.preprocess import Preprocess
from xnornet.web import write_package, write_page
from xnornet.zoo import entries, locate

from .documents import CHANGES, odd_files, with_document
from .engine_cases import model_of
from .networks import every_op, overflowing, tiny_float16, tiny_model
from .test_c_images import as_format, as_pillow
from .test_engine_graphs import random_network

ROOT = Path(__file__).parents[1]
TOOLS = ("emcmake", "node")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
BUNDLED = [entry.name for entry in entries().values() if entry.bundled]

pytestmark = [
    pytest.mark.web,
    pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {' and '.join(TOOLS)}"),
]

Array = npt.NDArray[Any]


class Web:
    """xnornet.js in Node."""

    def __init__(self, package: Path, folder: Path) -> None:
        self.package, self.folder = package, folder
        self.number = itertools.count()
        self.calls: list[dict[str, Any]] = []

    def file(self, data: bytes) -> Path:
        path = self.folder / str(next(self.number))
        path.write_bytes(data)
        return path

    def array(self, array: Array, **rest: int) -> dict[str, Any]:
        kinds = {"u1": "Uint8Array", "f4": "Float32Array", "i2": "Int16Array"}
        return {"file": str(self.file(array.tobytes())), "type": kinds[array.dtype.str[1:]], **rest}

    def call(self, model: PackedModel | bytes | str | Path, method: str, argument: Any = None, **rest: Any) -> None:
        """To be answered by `answers`."""
        data = format.dumps(model) if isinstance(model, PackedModel) else model
        source = self.array(np.frombuffer(data, np.uint8)) if isinstance(data, bytes) else str(data)
        if isinstance(argument, np.ndarray):
            argument = self.array(argument)
        self.calls.append({"model": source, "method": method, "argument": argument, **rest})

    def answers(self) -> list[Any]:
        """What the calls returned; of those that failed {"error", "name"}."""
        calls, self.calls = self.file(json.dumps(self.calls).encode()), []
        command = ["node", ROOT / "tests" / "web_calls.mjs", self.package / "xnornet.js", calls]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [
            base64.b64decode(answer["bytes"]) if "bytes" in answer else answer.get("found", answer)
            for answer in json.loads(done.stdout)
        ]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build()
    return write_package(tmp_path_factory.mktemp("web") / "xnornet")


@pytest.fixture
def web(package: Path, tmp_path: Path) -> Web:
    return Web(package, tmp_path)


def test_kernels(package: Path) -> None:
    """The C++ tests of the kernels."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    work = ROOT / "build" / "wasm-tests"
    for command in (
        [
            "emcmake",
            "cmake",
            "-S",
            ROOT,
            "-B",
            work,
            "-G",
            "Ninja",
            "-DXNORNET_BUILD_C=OFF",
            "-DXNORNET_BUILD_TESTS=ON",
        ],
        ["cmake", "--build", work],
        ["node", ROOT / "tests" / "wasi.mjs", work / "cpp" / "tests" / "xnornet_tests.wasm"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines() if " 0 failures" in line] == ["simd128", "portable"]


def compare(web: Web, models: list[PackedModel], batches: tuple[int, ...], **options: str) -> None:
    """Logits of pixels and of floats, in WebAssembly and of the portable kernels."""
    expected = []
    rng = np.random.default_rng(0)
    for packed in models:
        native = engine.Model(packed, isa="portable", **options)  # type: ignore[arg-type]
        height, width, channels = packed.input_shape
        for batch in batches:
            pixels = rng.integers(0, 256, (batch, height, width, channels), np.uint8)
            floats = (rng.standard_normal((batch, channels, height, width)) * 3).astype(np.float32)
            for x in (pixels, floats):
                with np.errstate(all="ignore"):
                    expected.append(native.run(x).tobytes())
                web.call(packed, "run", x, options=options)
    for index, (found, wanted) in enumerate(zip(web.answers(), expected, strict=True)):
        assert found == wanted, f"call {index}"


@pytest.mark.parametrize("stem", ["float", "fixed", "integer"])
@pytest.mark.parametrize("make", [tiny_model, tiny_float16, every_op])
def test_the_same_logits(web: Web, make: Callable[[], PackedModel], stem: str) -> None:
    compare(web, [make()], (1, 3, 40), stem=stem)


def random_file(seed: int) -> PackedModel:
    """A random network of 12 channels behind a convolution of as many filters: files have inputs of 1 or 3 channels."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((12, 1, 1, 3)).astype(np.float32)
    first = ops.Conv2d(name="first", inputs=("input",), weight=weight, window=ops.Window((1, 1)))
    rest = [
        replace(op, inputs=tuple("first" if name == "input" else name for name in op.inputs))
        for op in random_network(rng, int(rng.integers(3, 25)))
    ]
    model = model_of((6, 7, 3), [first, *rest])
    return replace(model, preprocess=Preprocess(mode="RGB", size=(6, 7)))


def test_random_networks(web: Web) -> None:
    compare(web, [random_file(seed) for seed in range(80)], (2,))


@pytest.mark.parametrize("name", BUNDLED)
def test_published_models(web: Web, name: str) -> None:
    compare(web, [format.read(locate(name))], (1, 2))


def test_what_a_model_says_of_itself(web: Web) -> None:
    labels = ("cat", 'q"\\\n', "größe 🦆")
    preprocess = Preprocess(mode="L", size=(12, 12), resize=20, interpolation="bicubic", mean=(0.3,), std=(0.4,))
    packed = PackedModel(tiny_model().ops, preprocess, labels)
    web.call(packed, "about")
    web.call(packed, "about", options={"isa": "portable"})
    about = {"height": 12, "width": 12, "channels": 1, "labels": list(labels)}
    assert web.answers() == [{**about, "isa": "simd128"}, {**about, "isa": "portable"}]


@as_pillow
@pytest.mark.parametrize("name", BUNDLED)
def test_images_of_any_size(web: Web, name: str) -> None:
    """Scaled as Pillow does, and given the same classes as in Python, as far as a float tells."""
    rng = np.random.default_rng(0)
    net = xnornet.load(name, isa="portable")
    pictures = []
    for mode, (height, width) in itertools.product(("RGB", "RGBA", "L"), ((31, 500), (600, 40), (224, 224))):
        shape = (height, width) if mode == "L" else (height, width, len(mode))
        pictures.append(picture := Image.fromarray(rng.integers(0, 256, shape, np.uint8)))
        image = web.array(as_format(picture, mode), width=width, height=height)
        web.call(locate(name), "prepare", image)
        web.call(locate(name), "classify", image, top=3)
    answers = web.answers()
    for picture, pixels, classes in zip(pictures, answers[::2], answers[1::2], strict=True):
        assert pixels == net.preprocess.pixels(picture).tobytes()
        (expected,) = net.classify([picture], top=3)
        assert [found["label"] for found in classes] == [label for label, _ in expected]
        np.testing.assert_allclose([found["probability"] for found in classes], [p for _, p in expected], rtol=1e-5)


def test_damaged_and_impossible_files_are_refused(web: Web) -> None:
    good = format.dumps(tiny_model())
    files = [b"", b"abc", good[:100], good[:-1], good + b"\0", good[:-1] + bytes([good[-1] ^ 1]), b"PK\3\4" + good[4:]]
    files += [with_document(change) for change, _ in CHANGES]
    files += odd_files()
    for data in files:
        web.call(data, "about")
    web.call(good, "about")
    *refused, taken = web.answers()
    for data, answer in zip(files, refused, strict=True):
        assert answer["name"] == "Error", (data[:80], answer)
        assert answer["error"].startswith("model: ")
        assert "\n" not in answer["error"]
    assert taken["isa"] == "simd128"


def test_sizes_beyond_32_bits_are_refused(web: Web) -> None:
    """Products of sizes each of which is small: they must not wrap to something small."""

    def pad(document: Any) -> None:
        document["ops"][0]["window"]["padding"] = [1 << 15] * 4

    def enlarge(document: Any) -> None:
        document["preprocess"].update(size=[1 << 14, 1 << 14], resize=None)

    for change in (pad, enlarge):
        web.call(with_document(change), "about")
    for answer in web.answers():
        assert re.search("too large|more memory", answer.get("error", "")), answer


def test_misuse_is_told(web: Web, package: Path) -> None:
    good, pixels = tiny_model(), np.zeros((1, 12, 12, 1), np.uint8)
    shown = (good, "classify", web.array(np.full((12, 12), 255, np.uint8), width=12, height=12))
    wrong = [
        ((web.folder / "absent", "about"), {}, "ENOENT"),
        (("http://127.0.0.1:9/model", "about"), {}, "http://127.0.0.1:9/model cannot be fetched"),
        ((ROOT / "README.md", "about"), {}, "README.md: is not a packed model"),
        (
            (good, "about"),
            {"options": {"isa": "avx2"}},
            "'avx2' is not available here; choose one of: simd128, portable",
        ),
        ((good, "about"), {"options": {"stem": "wooden"}}, "stem is 'wooden'"),
        ((good, "about"), {"options": {"wasm": str(web.folder / "no.wasm")}}, "no.wasm"),
        ((good, "run", pixels.ravel()[:-1]), {}, "the input has 143 numbers; give 144 an image"),
        ((good, "run", pixels.ravel()[:0]), {}, "batch is 0"),
        ((good, "run", pixels.astype(np.int16)), {}, "no Uint8Array of pixels and no Float32Array"),
        ((good, "run", np.full(144, np.nan, np.float32)), {}, "NaN or infinity in image 0"),
        ((good, "prepare", web.array(pixels, width=5, height=5)), {}, "5 x 5 has 144 bytes; give 1, 3 or 4 a pixel"),
        ((good, "prepare", web.array(np.zeros(144, np.float32), width=12, height=12)), {}, "data is no Uint8Array"),
        ((good, "prepare", {"data": [0] * 144, "width": 12, "height": 12}), {}, "data is no Uint8Array"),
        ((good, "classify", {"width": 0}), {}, "give an image"),
        ((good, "classify"), {}, "give an image"),
        *((shown, {"top": top}, f"top is {top}; give a whole number from 1") for top in (0, -1, 1.5)),
        ((overflowing(), *shown[1:]), {}, "the model's logits are not finite"),
    ]
    for arguments, options, _ in wrong:
        web.call(*arguments, **options)
    for answer, (_, _, words) in zip(web.answers(), wrong, strict=True):
        assert words in answer.get("error", answer)


def test_types_describe_what_there_is(package: Path) -> None:
    """Every public name of the library is in its .d.ts, and no other."""
    described = (package / "xnornet.d.ts").read_text()
    script = (
        "import(process.argv[1]).then(({ Model }) => "
        "console.log(JSON.stringify(Object.getOwnPropertyNames(Model.prototype))))"
    )
    library = (package / "xnornet.js").as_uri()
    done = subprocess.run(["node", "-e", script, library], capture_output=True, text=True, check=True)
    members = re.findall(r"^  (?:private |readonly )?(\w+)[(:]", described.split("export class Model")[1], re.MULTILINE)
    assert sorted(json.loads(done.stdout)) == sorted(members)


def test_the_package_installs(package: Path, tmp_path: Path) -> None:
    """As npm packs it; with it runs what docs/web.md says for Node."""
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", tmp_path], cwd=package, check=True)
    (archive,) = tmp_path.glob("*.tgz")
    assert archive.name == f"xnornet-{xnornet.__version__}.tgz"
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--offline", archive.name]
    subprocess.run(install, cwd=tmp_path, check=True)
    shutil.copy(locate(BUNDLED[0]), tmp_path / "model.safetensors")
    page = (ROOT / "docs" / "web.md").read_text()
    (tmp_path / "use.mjs").write_text(page.split("### In Node")[1].split("```js\n")[1].split("```")[0])
    done = subprocess.run(["node", "use.mjs"], cwd=tmp_path, capture_output=True, text=True)
    labels = [label for label, _ in xnornet.load(BUNDLED[0]).classify([Image.new("RGB", (640, 480))], top=3)[0]]
    assert re.findall("label: '(.*?)'", done.stdout) == labels, done.stdout + done.stderr


@pytest.mark.skipif(not BROWSER, reason="needs Chromium")
@pytest.mark.usefixtures("package")
def test_a_page(tmp_path: Path) -> None:
    """Of one file, from a disk, in a browser: what it shows once engine and model are there."""
    page = write_page(locate(BUNDLED[0]), tmp_path / "a page.html")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=20000",
        f"--user-data-dir={tmp_path}",
    ]
    done = subprocess.run(
        [str(BROWSER), *flags, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert f'<h1 id="name">{BUNDLED[0]}</h1>' in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    assert "<dd>simd128</dd>" in done.stdout
    assert '<div id="error" role="alert"></div>' in done.stdout
