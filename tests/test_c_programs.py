"""Programs that use the C library, found by CMake and pkg-config, linked either way; what it exports to them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xnornet
from xnornet.zoo import locate

from .c_library import ROOT, installed, tool

__all__ = ["installed"]  # a fixture


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
