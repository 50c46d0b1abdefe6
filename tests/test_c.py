"""The C library: built and installed as docs/c.md says, the same logits as Python, the same files refused."""

from __future__ import annotations

import copy
import ctypes
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import xnornet
from xnornet import FormatError, engine, format, ops
from xnornet.bits import BitArray
from xnornet.codes import CodeArray
from xnornet.graph import PackedModel
from xnornet.ops import Window
from xnornet.preprocess import Preprocess
from xnornet.zoo import entries, locate

from .documents import CHANGES, Change, odd_files, opened, sealed, with_document
from .engine_cases import integers, random_bits
from .networks import tiny_model

ROOT = Path(__file__).parents[1]


class Options(ctypes.Structure):
    _fields_ = (
        ("threads", ctypes.c_int),
        ("isa", ctypes.c_char_p),
        ("stem", ctypes.c_char_p),
        ("activations", ctypes.c_char_p),
        ("reserved", ctypes.c_void_p * 4),
    )


class Library:
    """xnornet.h by ctypes."""

    def __init__(self, path: Path) -> None:
        self.functions = ctypes.CDLL(str(path))
        for name, result, arguments in (
            ("load", "p", "so"),
            ("load_bytes", "p", "szo"),
            ("free", None, "p"),
            ("run_pixels", "i", "ppzp"),
            ("run_floats", "i", "ppzp"),
            ("label", "s", "pi"),
            ("error", "s", ""),
            ("version", "s", ""),
            *((what, "s", "p") for what in ("interpolation", "isa")),
            *((what, "i", "p") for what in ("height", "width", "channels", "resize", "classes")),
        ):
            kinds = {
                "p": ctypes.c_void_p,
                "s": ctypes.c_char_p,
                "i": ctypes.c_int,
                "z": ctypes.c_size_t,
                "o": ctypes.POINTER(Options),
                None: None,
            }
            function = getattr(self.functions, f"xnornet_{name}")
            function.restype, function.argtypes = kinds[result], [kinds[letter] for letter in arguments]
            setattr(self, name, function)

    def open(self, source: bytes | Path, **options: object) -> Model:
        """Raises ValueError with the library's reason."""
        chosen = ctypes.byref(Options(**options)) if options else None
        if isinstance(source, bytes):
            model = self.load_bytes(source, len(source), chosen)
        else:
            model = self.load(os.fsencode(source), chosen)
        if not model:
            raise ValueError(self.error().decode())
        return Model(self, model)


class Model:
    def __init__(self, library: Library, pointer: int) -> None:
        self.library, self.pointer = library, pointer

    def __del__(self) -> None:
        self.library.free(self.pointer)

    def get(self, what: str, *args: int) -> Any:
        found = getattr(self.library, what)(self.pointer, *args)
        return found.decode() if isinstance(found, bytes) else found

    def run(self, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        logits = np.full((len(x), self.get("classes")), np.nan, np.float32)
        run = self.library.run_pixels if x.dtype == np.uint8 else self.library.run_floats
        x = np.ascontiguousarray(x)
        if run(self.pointer, x.ctypes.data, len(x), logits.ctypes.data):
            raise ValueError(self.library.error().decode())
        return logits


def tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the library lies, installed."""
    if given := os.environ.get("XNORNET_TEST_C"):  # by `make sanitize`
        return Path(given).resolve()
    cmake, ninja = tool("cmake"), tool("ninja")
    build, prefix = ROOT / "build" / "tests-c", tmp_path_factory.mktemp("prefix")
    build.mkdir(parents=True, exist_ok=True)
    with (build / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # each file of tests builds, in processes of their own
        for command in (
            [cmake, "-S", ROOT, "-B", build, "-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}", "-DCMAKE_INSTALL_LIBDIR=lib"],
            [cmake, "--build", build],
            [cmake, "--install", build, "--prefix", prefix],
        ):
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    return prefix


@pytest.fixture(scope="module")
def library(installed: Path) -> Library:
    return Library(installed / "lib" / "libxnornet.so")


def every_op() -> PackedModel:
    """What `tiny_model` lacks: a K map, codes, shortcuts, concatenation, multi-bit inputs, dense binary layers, weights
    of 16 bits."""
    rng = np.random.default_rng(1)

    def floats(*shape: int) -> npt.NDArray[np.float32]:
        return rng.standard_normal(shape).astype(np.float32)

    same = ops.Window((3, 3), padding=(1, 1, 1, 1))
    bits = BitArray.from_signs
    codes = CodeArray.from_values(2 * rng.integers(-4, 4, (4, 3, 3, 6)) + 1)
    dense = CodeArray.from_values(2 * rng.integers(-16, 16, (5, 8)) + 1)
    return PackedModel(
        ops=(
            ops.Quantize(name="q", inputs=("input",), bits=2, signed=True),
            ops.BinaryWeightConv2d(name="bw", inputs=("q",), window=same, weight=bits(floats(6, 3, 3, 3))),
            ops.InputScale(name="k", inputs=("bw",), window=same, groups=1),
            ops.Sign(name="s", inputs=("bw",)),
            ops.BinaryConv2d(name="b", inputs=("s",), window=same, weight=bits(floats(4, 3, 3, 6))),
            ops.Multiply(name="m", inputs=("b", "k")),
            ops.QuantizedConv2d(name="qc", inputs=("bw",), window=same, weight=codes),
            ops.MaxPool2d(name="mp", inputs=("qc",), window=ops.Window((4, 5))),
            ops.Sigmoid(name="g", inputs=("mp",)),
            ops.Multiply(name="gm", inputs=("m", "g")),
            ops.Add(name="gp", inputs=("gm", "g")),
            ops.Add(name="a", inputs=("gp", "qc")),
            ops.Conv2d(name="hc", inputs=("a",), window=same, weight=floats(4, 3, 3, 4).astype(np.float16)),
            ops.Concat(name="c", inputs=("hc", "m")),
            ops.AvgPool2d(
                name="p",
                inputs=("c",),
                window=ops.Window((5, 7), (5, 7), (1, 0, 1, 1)),
                count_padding=False,
            ),
            ops.Flatten(name="f", inputs=("p",)),
            ops.Clamp(name="h", inputs=("f",), minimum=-1.5, maximum=0.25),
            ops.QuantizedLinear(name="ql", inputs=("h",), weight=dense),
            ops.Linear(name="hl", inputs=("ql",), weight=floats(5, 5).astype(np.float16), bias=floats(5)),
            ops.Sign(name="s2", inputs=("hl",)),
            ops.BinaryLinear(name="bl", inputs=("s2",), weight=bits(floats(4, 5))),
            ops.Affine(name="logits", inputs=("bl",), bias=floats(4)),
        ),
        preprocess=Preprocess(mode="RGB", size=(4, 5), mean=(0.1, 0.2, 1 / 3), std=(0.3, 1, 1e-3)),
        labels=("a", "b", "c", "d"),
    )


def tiny_float16() -> PackedModel:
    """With 16 bits even where `to_float16` keeps 32: in front of a sign."""

    def rounded(op: ops.Op) -> ops.Op:
        return replace(op, weight=op.weight.astype(np.float16)) if isinstance(op, ops.Conv2d | ops.Linear) else op

    return replace(tiny_model(), ops=tuple(map(rounded, tiny_model().ops)))


def test_every_kind_of_op_is_tried() -> None:
    assert {op.kind for op in (*tiny_model().ops, *every_op().ops)} == set(ops.OP_TYPES)


@pytest.mark.parametrize("stem", [None, b"float", b"fixed", b"integer"])
@pytest.mark.parametrize("isa", engine.available_isas())
@pytest.mark.parametrize("make", [tiny_model, tiny_float16, every_op])
def test_the_same_logits(library: Library, make: Callable[[], PackedModel], isa: str, stem: bytes | None) -> None:
    packed = make()
    ours = engine.Model(packed, 2, isa=isa, stem=stem.decode() if stem else None)  # type: ignore[arg-type]
    theirs = library.open(format.dumps(packed), threads=2, isa=isa.encode(), stem=stem)
    height, width, channels = packed.input_shape
    rng = np.random.default_rng(0)
    for batch in (1, 3, 40):
        pixels = rng.integers(0, 256, (batch, height, width, channels), np.uint8)
        np.testing.assert_array_equal(theirs.run(pixels), ours.run(pixels))
        floats = rng.standard_normal((batch, channels, height, width)).astype(np.float32)
        np.testing.assert_array_equal(theirs.run(floats), ours.run(floats))


def test_activations_in_8_bits(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    window = Window((3, 3))
    first = ops.Conv2d(name="a", inputs=("input",), weight=integers(rng, 16, 3, 3, 1), window=window)
    second = ops.BinaryWeightConv2d(name="b", inputs=("a",), weight=random_bits(rng, 32, 3, 3, 16), window=window)
    packed = PackedModel(
        (first, second, ops.Flatten(name="flat", inputs=("b",))),
        Preprocess(mode="L", size=(8, 8), mean=(0.0,), std=(1.0,)),
        tuple(map(str, range(4 * 4 * 32))),
    )
    data = format.dumps(packed)
    x = rng.standard_normal((2, 1, 8, 8)).astype(np.float32)
    expected = {kind: engine.Model(packed, activations=kind).run(x) for kind in get_args(engine.Activations)}
    assert np.array_equal(expected["int8"], expected["float"]) == (engine.available_isas() == ["portable"])
    assert np.array_equal(library.open(data).run(x), expected["float"])
    assert np.array_equal(library.open(data, activations=b"int8").run(x), expected["int8"])
    monkeypatch.setenv("XNORNET_ACTIVATIONS", "int8")
    assert np.array_equal(library.open(data).run(x), expected["int8"])


def test_what_a_model_says_of_itself(library: Library, tmp_path: Path) -> None:
    preprocess = Preprocess(mode="L", size=(12, 12), resize=20, interpolation="bicubic", mean=(0.3,), std=(0.4,))
    packed = PackedModel(tiny_model().ops, preprocess, ("cat", 'q"\\\n', "größe 🦆"))
    format.write(packed, tmp_path / "größe.safetensors")
    model = library.open(tmp_path / "größe.safetensors")
    shape = tuple(model.get(what) for what in ("height", "width", "channels", "resize", "interpolation"))
    assert shape == (12, 12, 1, 20, "bicubic")
    assert [model.get("label", index) for index in range(-1, 4)] == [None, *packed.labels, None]
    assert model.get("isa") == engine.Model(packed).isa
    assert library.version().decode() == xnornet.__version__


@pytest.mark.parametrize("name", [entry.name for entry in entries().values() if entry.bundled])
def test_published_models(library: Library, name: str) -> None:
    net = xnornet.load(name)
    model = library.open(locate(name))
    x = np.random.default_rng(0).integers(0, 256, (2, *net.input_shape), np.uint8)
    np.testing.assert_array_equal(model.run(x), net.run(x))
    assert [model.get("label", index) for index in range(model.get("classes"))] == net.labels


def test_several_threads_run_one_model(library: Library) -> None:
    model = library.open(format.dumps(tiny_model()), threads=2)
    xs = np.random.default_rng(0).integers(0, 256, (50, 2, 12, 12, 1), np.uint8)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(model.run, xs))
    np.testing.assert_array_equal(
        np.stack(got), engine.Model(tiny_model()).run(xs.reshape(-1, 12, 12, 1)).reshape(50, 2, 3)
    )


def refused(library: Library, data: bytes) -> str:
    with pytest.raises(ValueError, match=".") as caught:
        library.open(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("change", [change for change, _ in CHANGES])
def test_impossible_models_are_refused(library: Library, change: Change) -> None:
    refused(library, with_document(change))


def test_damaged_files_are_refused(library: Library, tmp_path: Path) -> None:
    good = format.dumps(tiny_model())
    library.open(good)
    library.open(with_document(lambda document: None))
    for data, words in (
        (b"", "not a packed model"),
        (good[:100], "truncated"),
        (good[:-1], "truncated"),
        (good + b"\0", "goes on"),
        ((1 << 40).to_bytes(8, "little") + good[8:], "damaged"),
        (good.replace(b'"version":"3"', b'"version":"9"'), "version '9'"),
        (good[:-1] + bytes([good[-1] ^ 1]), "checksum"),
        (b"\x80\x04" + good[2:], "header"),
        (b"PK\3\4" + good[4:], "is a checkpoint, not a packed model; make one with `xnornet pack`"),
    ):
        assert words in refused(library, data)
    for data in (good[:4], good[:100], good[:-1], good + b"\0"):
        (tmp_path / "damaged").write_bytes(data)
        with pytest.raises(ValueError, match=re.escape(refused(library, data))):
            library.open(tmp_path / "damaged")
    with (tmp_path / "image.iso").open("wb") as file:
        file.truncate(1 << 42)  # takes no room
    for path, words in (("image.iso", "not a packed model"), ("absent", "No such file"), (".", "Is a directory")):
        with pytest.raises(ValueError, match=f"{tmp_path / path}: .*{words}"):
            library.open(tmp_path / path)


@pytest.mark.parametrize("pattern", [0x7C00, 0xFC00, 0x7E00, 0x7C01])
def test_numbers_of_16_bits_that_are_none_are_refused(library: Library, pattern: int) -> None:
    header, document, tensors = opened(format.dumps(tiny_float16()))
    begin = header["dense5.weight"]["data_offsets"][0]
    damaged = tensors[:begin] + pattern.to_bytes(2, "little") + tensors[begin + 2 :]
    library.open(sealed(header, document, tensors))
    assert "NaN or infinity" in refused(library, sealed(header, document, damaged))


def test_only_weights_may_have_16_bits(library: Library) -> None:
    header, document, tensors = opened(format.dumps(tiny_model()))
    bias = header["conv1.bias"]
    bias["dtype"], bias["shape"] = "F16", [2 * bias["shape"][0]]
    assert "F16, expected F32" in refused(library, sealed(header, document, tensors))


def test_what_json_lets_pass_is_refused(library: Library) -> None:
    for data in odd_files():
        refused(library, data)
    large = b'{"a":[' + b"0," * 8_000_000 + b"0]}"
    assert "too many values" in refused(library, len(large).to_bytes(8, "little") + large)
    name = "\x1b[31m\nx"
    assert refused(library, with_document(lambda d: d["ops"][1].update(inputs=[name]))).count("?[31m?x") == 1


@given(st.data())
def test_every_flipped_bit_is_noticed(library: Library, data: st.DataObject) -> None:
    damaged = bytearray(format.dumps(tiny_model()))
    position = data.draw(st.integers(0, len(damaged) * 8 - 1))
    damaged[position // 8] ^= 1 << (position % 8)
    refused(library, bytes(damaged))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a JSON document lie, all the way down."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from leaves(inner, (*path, key))


# What stands in place of a value: its neighbours in size, other types, far too much.
ODD = st.sampled_from(
    [None, True, False, 0, 1, 2, 3, 7, -1, 1.0, 0.5, 1e300, 1 << 31, 1 << 40, 10**30, "", "input", [], [1, 1], {}]
)


@given(st.data(), st.sampled_from([tiny_model, every_op]))
def test_files_that_python_refuses_and_no_others(
    library: Library, data: st.DataObject, make: Callable[[], PackedModel]
) -> None:
    """A model document with one or two values changed, its checksum right: nothing but the reader's own checks stands
    between it and the kernels. Where it is taken, the logits are the same."""
    header, document, tensors = opened(format.dumps(make()))
    document["provenance"] = {}
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from([path for path in leaves(document) if path]))
        inner = document
        for key in way:
            inner = inner[key]
        action = data.draw(st.sampled_from(["change", "remove", "repeat"]))
        if action == "change":
            inner[last] = data.draw(ODD)
        elif action == "remove":
            del inner[last]
        elif isinstance(inner, list):
            inner.append(copy.deepcopy(inner[last]))
        else:
            inner[f"{last}2"] = copy.deepcopy(inner[last])
    changed = sealed(header, document, tensors)
    try:
        packed = format.loads(changed)
        ours = engine.Model(packed)
    except FormatError:
        refused(library, changed)
        return
    theirs = library.open(changed)
    x = np.random.default_rng(0).integers(0, 256, (1, *packed.input_shape), np.uint8)
    np.testing.assert_array_equal(theirs.run(x), ours.run(x))


def test_misuse_is_told(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = format.dumps(tiny_model())
    for options, words in (
        ({"threads": -1}, "threads is -1"),
        ({"threads": 1025}, "threads is 1025"),
        ({"isa": b"mmx"}, "'mmx' is not available here; choose one of: "),
        ({"stem": b"bent"}, "stem is 'bent'; give float, fixed or integer"),
        ({"activations": b"int4"}, "activations is 'int4'; give float or int8"),
        ({"reserved": (ctypes.c_void_p * 4)(0, 7)}, "the options are not cleared; begin with "),
    ):
        with pytest.raises(ValueError, match=words):
            library.open(data, **options)
    assert library.open(data, isa=b"", stem=b"").run(np.zeros((1, 12, 12, 1), np.uint8)).shape == (1, 3)
    assert library.open(data, threads=0).run(np.zeros((1, 12, 12, 1), np.uint8)).shape == (1, 3)
    assert not library.load(None, None)
    assert library.error() == b"path is NULL"
    model = library.open(data)
    with pytest.raises(ValueError, match="batch is 0"):
        model.run(np.zeros((0, 12, 12, 1), np.uint8))
    x = np.zeros((3, 1, 12, 12), np.float32)
    x[1, 0, 3, 4] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in image 1"):
        model.run(x)
    assert library.run_pixels(None, None, 1, None) == -1
    assert library.error() == b"a pointer is NULL"
    for what in ("height", "width", "channels", "resize", "classes"):
        assert getattr(library, what)(None) == 0
    assert library.interpolation(None) is library.isa(None) is library.label(None, 0) is None
    library.free(None)
    monkeypatch.setenv("XNORNET_STEM", "bent")
    with pytest.raises(ValueError, match="XNORNET_STEM is 'bent'"):
        library.open(data)


def test_pipes_are_read(library: Library, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    data = format.dumps(tiny_model())
    with ThreadPoolExecutor(1) as pool:
        pool.submit((tmp_path / "pipe").write_bytes, data)
        assert library.open(tmp_path / "pipe").get("classes") == 3


@pytest.mark.skipif(not shutil.which("nm"), reason="needs nm")
def test_nothing_else_is_exported(installed: Path) -> None:
    command = ["nm", "--dynamic", "--defined-only", "--format=just-symbols", installed / "lib" / "libxnornet.so"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    declared = re.findall(r"(?<=[ *])(xnornet_\w+)\(", (ROOT / "cpp" / "c" / "xnornet.h").read_text())
    assert sorted(names) == sorted(set(declared))


@pytest.mark.parametrize(("version", "found"), [("", True), ("0.1", True), ("0.2", False), ("1.0", False)])
def test_cmake_finds_it(installed: Path, tmp_path: Path, version: str, found: bool) -> None:
    assert xnornet.__version__.startswith("0.1.")
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.20)\nproject(p LANGUAGES C)\nfind_package(xnornet {version} QUIET)\n"
        'file(WRITE found "${xnornet_FOUND}")\n'
    )
    command = [tool("cmake"), "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={installed}"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "found").read_text() == ("1" if found else "0")


plain_alone = pytest.mark.skipif("XNORNET_TEST_C" in os.environ, reason="a sanitizer brings libraries of its own")


@plain_alone
def test_cmake_links_the_static_library(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(p LANGUAGES C CXX)\nfind_package(xnornet REQUIRED)\n"
        f"add_executable(classify {ROOT}/examples/classify.c)\n"
        "target_link_libraries(classify PRIVATE xnornet::xnornet_static m)\n"
    )
    configure = [tool("cmake"), "-S", ".", "-B", "build", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    for command in ([*configure, f"-DCMAKE_PREFIX_PATH={installed}"], [tool("cmake"), "--build", "build"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    names_picture(tmp_path / "build" / "classify", tmp_path / "picture.ppm")
    assert (
        "xnornet" not in subprocess.run(["ldd", tmp_path / "build" / "classify"], capture_output=True, text=True).stdout
    )


@plain_alone
@pytest.mark.skipif(not shutil.which("cc") or not shutil.which("pkg-config"), reason="needs a C compiler, pkg-config")
def test_a_program_without_any_library(installed: Path, tmp_path: Path) -> None:
    """Linked statically as docs/c.md says."""
    env = {**os.environ, "PKG_CONFIG_PATH": str(installed / "lib" / "pkgconfig")}
    told = ["pkg-config", "--static", "--cflags", "--libs", "xnornet"]
    flags = subprocess.run(told, env=env, capture_output=True, text=True, check=True).stdout.split()
    program = tmp_path / "classify"
    subprocess.run(["cc", "-static", ROOT / "examples" / "classify.c", "-o", program, *flags], check=True)
    names_picture(program, tmp_path / "picture.ppm")
    said = subprocess.run(["ldd", program], capture_output=True, text=True)
    assert "not a dynamic executable" in said.stdout + said.stderr


def names_picture(program: Path, picture: Path) -> str:
    """What the example says of a picture, which it writes; as Python has it."""
    model = locate("cifar10-xnor")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(picture)
    done = subprocess.run([program, model, picture], capture_output=True, text=True, check=True)
    best = xnornet.load(model).classify(picture, top=5)[0]
    assert done.stdout.splitlines() == [str(picture), *(f"  {100 * p:5.1f} %  {label}" for label, p in best)]
    return done.stdout


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_the_example(installed: Path, tmp_path: Path) -> None:
    """Built as its first lines say, as far as pkg-config is at hand; the header is C99 and C++."""
    config = installed / "lib" / "pkgconfig"
    flags = [f"-I{installed}/include", f"-L{installed}/lib", "-lxnornet"]
    if shutil.which("pkg-config"):
        told = ["pkg-config", "--cflags", "--libs", "xnornet"]
        env = {**os.environ, "PKG_CONFIG_PATH": str(config)}
        flags = subprocess.run(told, env=env, capture_output=True, text=True, check=True).stdout.split()
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    source, program = ROOT / "examples" / "classify.c", tmp_path / "classify"
    flags += [f"-Wl,-rpath,{installed}/lib", "-lm"]
    subprocess.run(["cc", *strict, source, "-o", program, *flags], check=True)
    header = ["-x", "c++", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["c++", *header, installed / "include" / "xnornet.h"], check=True)

    model, picture = locate("cifar10-xnor"), tmp_path / "picture.ppm"
    said = names_picture(program, picture)
    kind, rest = picture.read_bytes().split(b"\n", 1)
    picture.write_bytes(kind + b"\n# Created by GIMP 2.10\n#\n" + rest.replace(b"\n", b" # pixels\n", 1))
    commented = subprocess.run([program, model, picture], capture_output=True, text=True, check=True)
    assert commented.stdout == said
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 70), np.uint8)).save(tmp_path / "grey.pgm")
    done = subprocess.run([program, model, tmp_path / "grey.pgm"], capture_output=True, text=True, check=True)
    best = xnornet.load(model).classify(tmp_path / "grey.pgm", top=5)[0]
    assert done.stdout.splitlines()[1:] == [f"  {100 * p:5.1f} %  {label}" for label, p in best]
    Image.new("RGB", (31, 32)).save(picture)
    cut, deep = tmp_path / "cut.ppm", tmp_path / "deep.ppm"
    cut.write_bytes(picture.read_bytes()[:-1])
    deep.write_bytes(b"P6 31 32 65535\n")
    for odd, said in (
        (cut, "is truncated, or too large"),
        (deep, "give a binary PPM or PGM file, 8 bits a channel"),
        (model, "give a binary PPM or PGM file, 8 bits a channel"),
        (tmp_path / "absent", "cannot be read"),
    ):
        done = subprocess.run([program, model, odd, picture], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (1, f"{odd}: {said}\n")
        assert done.stdout.startswith(str(picture)), "the others are classified all the same"

    (tmp_path / "program.c").write_text((ROOT / "docs" / "c.md").read_text().split("```c\n")[1].split("```")[0])
    subprocess.run(["cc", *strict, "program.c", "-o", "program", *flags], cwd=tmp_path, check=True)
    shutil.copy(model, tmp_path / "model.safetensors")
    done = subprocess.run([tmp_path / "program"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == xnornet.load(model).classify(np.zeros((32, 32, 3), np.uint8))[0][0][0]
