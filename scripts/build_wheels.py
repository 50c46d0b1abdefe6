"""Build what a release uploads: wheels for Linux on x86-64 and ARM, for 64-bit Windows and for macOS, and the sources.

    python scripts/build_wheels.py [--out dist] [--target TARGET ...] [PYTHON ...]

PYTHON are interpreters, as `python3.12`; one of 3.12 or newer makes the wheel of all versions from 3.12 on (the stable
interface), older ones that of their own version. None given: those of 3.10, 3.11 and 3.12 that are on the PATH, or else
the running one. All are compiled by Zig's clang (PyPI: ziglang) against glibc 2.17, so that any Linux with that or a
newer one runs them, whatever machine they were made on; auditwheel checks that, and names them manylinux. For Windows
and macOS (11 and later, on Apple silicon) there is the wheel of 3.12 and later alone; that of Windows is linked against
a list of names in place of Python's own library. That these wheels keep to the stable interface, abi3audit checks.
All hold the engine for browsers where Emscripten is on the PATH.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("x86_64", "aarch64", "windows", "macos")
GLIBC = "2.17"  # the oldest that NumPy's and torch's wheels take is newer
MACOS = "11.0"  # the first on Apple silicon
STABLE = (3, 12)  # the version from which on one wheel is for all
WANTED = ("python3.10", "python3.11", "python3.12")
NEEDS = ("abi3audit", "auditwheel", "build", "wheel", "ziglang")
BUILD_NEEDS = ("scikit-build-core", "nanobind", "cmake", "ninja")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", metavar="PYTHON", help="interpreters to build for")
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder of the results; default: dist")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only for these; default: all")
    arguments = parser.parse_args()
    if missing := [name for name in NEEDS if not find_spec(name)]:
        raise SystemExit(f"build_wheels: needs {', '.join(missing)}: pip install '.[release]'")
    try:
        for made in build(arguments.pythons, arguments.target or TARGETS, arguments.out):
            print(made, flush=True)
    except (OSError, RuntimeError) as error:
        raise SystemExit(f"build_wheels: {error}") from None


def build(pythons: Sequence[str], targets: Sequence[str], out: Path) -> Iterator[Path]:
    """What is made, in `out`, as it comes: the archive of the sources, and a wheel for each interpreter and target."""
    interpreters = list(pythons) or [name for name in WANTED if shutil.which(name)] or [sys.executable]
    if not pythons and (absent := [name for name in WANTED if not shutil.which(name)]):
        print(f"build_wheels: no wheels for {', '.join(absent)}: not on the PATH", file=sys.stderr)
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    _web()
    yield _sources(out)
    for python in interpreters:
        environment = _environment(python)
        version = _version(environment)
        for target in targets:
            make = {"windows": _windows_wheel, "macos": _macos_wheel}.get(target, _linux_wheel)
            if make is not _linux_wheel and version < STABLE:
                continue
            print(f"building for {python} on {target}", file=sys.stderr)
            wheel = make(environment, target, out)
            if version >= STABLE:
                _run(["abi3audit", "--strict", str(wheel)])
            yield wheel


def _web() -> None:
    """The engine for browsers, which archive and wheels take along; without Emscripten none, rather than an old one."""
    if shutil.which("emcmake"):
        _run([sys.executable, str(ROOT / "scripts" / "build_wasm.py")])
    else:
        (ROOT / "src" / "xnornet" / "web" / "xnornet.wasm").unlink(missing_ok=True)
        print("build_wheels: no engine for browsers (`xnornet page`): emcmake is not on the PATH", file=sys.stderr)


def _environment(python: str) -> Path:
    """The interpreter of an environment with the tools that build, for the version of `python`."""
    folder = ROOT / "build" / "wheels" / "python{}.{}".format(*_version(python))
    if not (folder / "ready").exists():
        _run([python, "-m", "venv", str(folder)])
        _run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *BUILD_NEEDS])
        (folder / "ready").touch()
    return folder / "bin" / "python"


def _version(python: str | Path) -> tuple[int, ...]:
    said = _run([str(python), "-c", "import sys; print(*sys.version_info[:2])"])
    return tuple(int(number) for number in said.split())


def _linux_wheel(python: Path, target: str, out: Path) -> Path:
    suffix = _run([str(python), "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))"]).strip()
    environment = {
        # What the interpreter says of its own machine, were it one of the target's.
        "_PYTHON_HOST_PLATFORM": f"linux-{target}",
        "SETUPTOOLS_EXT_SUFFIX": suffix.replace(os.uname().machine, target),
    }
    with tempfile.TemporaryDirectory() as folder:
        raw = _compiled(python, target, f"{target}-linux-gnu.{GLIBC}", Path(folder), environment, {})
        named = Path(folder) / "named"
        _run(["auditwheel", "repair", "-w", str(named), str(raw)])
        (wheel,) = named.glob("*.whl")
        if (wanted := f"manylinux_{GLIBC.replace('.', '_')}_{target}") not in wheel.name:
            raise RuntimeError(f"{wheel.name} is no {wanted}: it needs a newer C library")
        return Path(shutil.move(wheel, out / wheel.name))


def _windows_wheel(python: Path, target: str, out: Path) -> Path:
    here = ROOT / "build" / "wheels" / "{}.{}-windows-python".format(*_version(python))
    headers = Path(_run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('include'))"]).strip())
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(headers, here / "include")
    shutil.copy(ROOT / "cmake" / "windows" / "pyconfig.h", here / "include")
    # What python3.dll has under these names is found when the module is loaded; here only the names are needed, and
    # nanobind comes with a list of them.
    nanobind = Path(_run([str(python), "-c", "import nanobind; print(nanobind.cmake_dir())"]).strip())
    names = [line.removeprefix("-U _") for line in (nanobind / "darwin-ld-cpython.sym").read_text().splitlines()]
    (here / "python3.def").write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *names, ""]))
    _run([_zig(), "dlltool", "-m", "i386:x86-64", "-d", str(here / "python3.def"), "-l", str(here / "python3.lib")])
    library = "python{}{}.lib".format(*_version(python))  # CMake wants one whose name says the version
    shutil.copy(here / "python3.lib", here / library)
    defines = {
        "Python_INCLUDE_DIR": here / "include",
        "Python_LIBRARY": here / library,
        "Python_SABI_LIBRARY": here / "python3.lib",
    }
    with tempfile.TemporaryDirectory() as folder:
        raw = _compiled(python, target, "x86_64-windows-gnu", Path(folder), {}, defines)
        return _named_stable(raw, "win_amd64", out)


def _macos_wheel(python: Path, target: str, out: Path) -> Path:
    # Python's headers are those of Linux, whose types are as wide; what differs, the stable interface does not show.
    with tempfile.TemporaryDirectory() as folder:
        raw = _compiled(python, target, f"aarch64-macos.{MACOS}", Path(folder), {}, {})
        return _named_stable(raw, f"macosx_{MACOS.replace('.', '_')}_arm64", out)


def _named_stable(wheel: Path, platform: str, out: Path) -> Path:
    """The wheel in `out`, named as one of all Python versions from STABLE on, for a platform."""
    tags = ["--python-tag", "cp{}{}".format(*STABLE), "--abi-tag", "abi3", "--platform-tag", platform]
    name = _run([sys.executable, "-m", "wheel", "tags", "--remove", *tags, str(wheel)]).split()[-1]
    return Path(shutil.move(wheel.with_name(name), out / name))


def _compiled(
    python: Path, target: str, triple: str, folder: Path, environment: Mapping[str, str], defines: Mapping[str, Path]
) -> Path:
    """The wheel that pip makes of the checkout by Zig for `triple`, in `folder`."""
    settings = {
        "build-dir": f"build/wheels/{python.parents[1].name}-{target}",
        "cmake.define.CMAKE_TOOLCHAIN_FILE": ROOT / "cmake" / "zig.cmake",
        **{f"cmake.define.{name}": value for name, value in defines.items()},
    }
    options = [word for key, value in settings.items() for word in ("--config-settings", f"{key}={value}")]
    command = [str(python), "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    _run([*command, *options, str(ROOT)], {"XNORNET_ZIG": _zig(), "XNORNET_ZIG_TARGET": triple, **environment})
    (wheel,) = folder.glob("*.whl")
    return wheel


def _zig() -> str:
    import ziglang

    return str(Path(ziglang.__file__).parent / "zig")


def _sources(out: Path) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        _run([sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, str(ROOT)])
        (archive,) = Path(folder).glob("*.tar.gz")
        return Path(shutil.move(archive, out / archive.name))


def _run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What it prints; RuntimeError with the end of what it said where it fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    every = {**os.environ, "PATH": path, **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=every, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-25:]
        raise RuntimeError("\n".join([f"{' '.join(command[:5])} ... ended with status {done.returncode}:", *said]))
    return done.stdout


if __name__ == "__main__":
    main()
