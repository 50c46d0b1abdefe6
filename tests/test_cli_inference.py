"""What the command says of packed models and of images."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import xnornet
from xnornet import format, load
from xnornet.classify import classify
from xnornet.preprocess import Preprocess
from xnornet.summary import summarise
from xnornet.terminal import PlainConsole, visible

from .command import Run
from .networks import overflowing, tiny_model, write_pictures


def test_inspect(run: Run, packed: Path) -> None:
    status, out, _ = run("inspect", packed)
    assert status == 0
    fitted = "preprocessing: 12x12 (bilinear), mean"
    for word in ("conv2", "binary_conv2d", f"{packed.stat().st_size:,}", "recipe: by hand", "32x less", fitted):
        assert word in out
    records = json.loads(run("inspect", packed, "--json")[1])
    assert records["file_bytes"] == packed.stat().st_size
    assert records["labels"] == ["cat", "dog", "größe"]
    assert records["preprocess"] == json.loads(json.dumps(dataclasses.asdict(format.read(packed).preprocess)))
    parts = ("header_bytes", "binary_weight_bytes", "float_weight_bytes", "other_bytes")
    assert sum(records[part] for part in parts) == records["file_bytes"]


def test_inspect_is_readable_in_80_columns() -> None:
    """Names may be folded, none is lost, and numbers stay in one piece."""
    model = tiny_model()
    console = PlainConsole(width=80)
    with console.capture() as captured:
        console.print(summarise(model).table())
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    width = lines[2].index("op")  # of the first column
    names = "".join(line[:width].strip() for line in lines[4:])
    assert all(op.name in names for op in model.ops)
    words = {word for line in lines for word in line.split()}
    for row in summarise(model).rows:
        assert {f"{n:,}" for n in (row.weight_bytes, row.other_bytes) if n} <= words
    assert {"binary_conv2d", "max_pool2d"} <= words
    numbers = {"weights": 56_128_440, "weight_bytes": 224_513_760, "macs": 123_456_789}
    large = dataclasses.replace(summarise(model).rows[0], name="blocks.13.conv.scale", kind="binary_conv2d", **numbers)
    with console.capture() as captured:
        console.print(dataclasses.replace(summarise(model), rows=(large,)).table())
    assert {"224,513,760", "56.1M", "123M"} <= set(captured.get().split())


def hostile(packed: Path) -> Path:
    """A model whose names and texts mean something to rich or to a terminal."""
    model = tiny_model()

    def renamed(name: str) -> str:
        return name.replace("conv2", "feat[/0].:cat:[red]")

    ops = [dataclasses.replace(op, name=renamed(op.name), inputs=tuple(map(renamed, op.inputs))) for op in model.ops]
    labels = ("\x1b[31mcat\x1b[2J", "[bold]dog[/]", ":cat:")
    path = packed.with_name("f[v2]:cat:.safetensors")
    provenance = {"note[0]": "\x1b]0;title\x07\x9b1m[b]bold"}
    format.write(dataclasses.replace(model, ops=tuple(ops), labels=labels, provenance=provenance), path)
    return path


def test_texts_are_shown_as_they_are(run: Run, packed: Path, photo: Path) -> None:
    """Brackets are no markup, words between colons no emoji, and control characters do not reach the terminal."""
    file = hostile(packed)
    odd = photo.rename(photo.with_name("[b]x:cat:\x1b[2J.png"))
    _, out, _ = run("inspect", file)
    assert "feat[/0].:cat:[red]" in out
    assert r"note[0]: \x1b]0;title\x07\x9b1m[b]bold" in out
    _, classified, _ = run("classify", file, odd)
    for text in (r"[b]x:cat:\x1b[2J.png", r"\x1b[31mcat\x1b[2J", "[bold]dog[/]", " :cat: "):
        assert text in classified
    odd.write_bytes(b"?")
    status, _, err = run("classify", file, odd)
    assert status == 1
    assert r"[b]x:cat:\x1b[2J.png: not an image" in err
    assert all(visible(text) == text for text in (out, classified, err))


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
def test_names_that_are_no_text_are_printed(packed: Path, photo: Path) -> None:
    odd = photo.rename(photo.parent / os.fsdecode(b"na\xffme.png"))
    words = [sys.executable, "-m", "xnornet.cli", "classify", packed, odd, photo.parent / os.fsdecode(b"\xfe.png")]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    for more in ([], ["--json"]):
        done = subprocess.run([*words, *more], env=environment, capture_output=True, check=False)
        assert done.returncode == 1, "the last one is missing"
        assert rb"na\udcffme.png" in done.stdout
        assert rb"\udcfe.png: no such file" in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-8-sig"])
def test_json_is_json_in_any_encoding(packed: Path, photo: Path, encoding: str) -> None:
    odd = [photo.with_name(f"{name}.png") for name in ("é", "\N{GRINNING FACE}", "line\nend")]
    for path in odd:
        path.write_bytes(photo.read_bytes())
    words = [sys.executable, "-m", "xnornet.cli", "classify", packed, *odd]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([*words, "--json"], env=environment, capture_output=True, check=True)
    records = json.loads(done.stdout.decode(encoding))
    assert [record["image"] for record in records] == list(map(str, odd))
    assert {label for record in records for label, _ in record["classes"]} == {"cat", "dog", "größe"}
    plain = subprocess.run(words, env=environment, capture_output=True, check=True).stdout.decode(encoding)
    assert len(plain.splitlines()) == len(odd)
    assert r"line\nend.png: " in plain


def test_classify(run: Run, packed: Path, photo: Path) -> None:
    status, out, _ = run("classify", packed, photo, photo, "--top", "2")
    assert status == 0
    assert len(out.strip().splitlines()) == 2
    assert out.count("%") == 4
    (first, second) = json.loads(run("classify", packed, photo, photo, "--json")[1])
    assert first["classes"] == second["classes"]
    assert sum(probability for _, probability in first["classes"]) == pytest.approx(1)


def test_classify_ends_without_the_images_that_nobody_waits_for(
    packed: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Any] = []
    real = Preprocess.pixels

    def slow(self: Preprocess, image: Any) -> Any:
        decoded.append(image)
        time.sleep(0.02)
        return real(self, image)

    monkeypatch.setattr(Preprocess, "pixels", slow)
    found = classify(load(packed), [str(photo)] * 100, 1)
    assert next(found).classes
    found.close()
    assert len(decoded) < 64  # of the second 32, those under way


def test_images_are_named_by_texts_and_paths(packed: Path, photo: Path) -> None:
    """One of them need not stand in a list: a text is not the names that its letters are."""
    (expected,) = classify(load(packed), [str(photo)], 2)
    assert len(expected.classes or ()) == 2
    for names in (str(photo), photo, [photo], [photo.parent]):
        (found,) = (one for one in classify(load(packed), names, 2) if one.image == str(photo))
        assert found == expected
        json.dumps(found.record())


def test_classify_as_json_lines(run: Run, packed: Path, photo: Path, tmp_path: Path) -> None:
    """The records of --json, a line each."""
    names = [photo, tmp_path / "absent.png", photo]
    together = json.loads(run("classify", packed, *names, "--json")[1])
    status, out, err = run("classify", packed, *names, "--json-lines")
    assert [json.loads(line) for line in out.splitlines()] == together
    assert (status, len(err.splitlines())) == (1, 1)
    assert "error" in json.loads(out.splitlines()[1])
    assert run("classify", packed, photo, "--json", "--json-lines")[0] == 2


def test_classify_goes_on_after_bad_images(run: Run, packed: Path, photo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for name in ("b.png", "below/a.jpg"):
        Image.open(photo).save(folder / name)
    (folder / "a.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image by its name")
    empty = tmp_path / "empty"
    empty.mkdir()
    status, out, err = run("classify", packed, photo, tmp_path / "absent.png", folder, empty, "--top", "1")
    assert status == 1
    read = [photo, folder / "b.png", folder / "below" / "a.jpg"]
    assert [line.split(": ")[0] for line in out.splitlines()] == list(map(str, read))
    assert [line.split(": ")[1:] for line in err.splitlines()] == [
        [str(tmp_path / "absent.png"), "no such file"],
        [str(folder / "a.png"), "not an image that Pillow can read"],
        [str(empty), "a folder without images"],
    ]
    records = json.loads(run("classify", packed, folder, "--json")[1])
    assert [record["image"] for record in records] == [str(folder / name) for name in ("a.png", "b.png", "below/a.jpg")]
    assert records[0]["error"].endswith("a.png: not an image that Pillow can read")
    assert records[1]["classes"]
    many = run("classify", packed, *[folder / "b.png"] * 70, folder / "a.png", "--top", "1")
    assert (many[0], len(many[1].splitlines())) == (1, 70)


def test_many_images_keep_their_order(run: Run, packed: Path, tmp_path: Path) -> None:
    """A batch is decoded while another runs; each image gets its own classes."""
    noise = np.random.default_rng(0).integers(0, 256, (75, 12, 12, 3), np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    for i in (0, 31, 40):
        (tmp_path / f"{i:02}.png").write_bytes(b"no image")
    status, out, _ = run("classify", packed, tmp_path, "--json")
    records = json.loads(out)
    assert (status, [Path(record["image"]).name for record in records]) == (1, [f"{i:02}.png" for i in range(75)])
    assert [i for i, record in enumerate(records) if "error" in record] == [0, 31, 40]
    read = [record for record in records if "error" not in record]
    model = xnornet.load(packed)
    alone = [model.classify(record["image"])[0] for record in read]
    assert [dict(record["classes"]) for record in read] == [pytest.approx(dict(classes)) for classes in alone]
    assert len({str(record["classes"]) for record in read}) > 60


def test_classify_goes_on_after_folders_that_cannot_be_read(
    run: Run, packed: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("loop/below", "shut/inner"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "loop" / "below" / "l").symlink_to(".")
    (tmp_path / "loop" / "all").symlink_to(tmp_path)
    (tmp_path / "loop" / "self").symlink_to("self")
    for name in ("loop/a.png", "shut/b.png"):
        Image.open(photo).save(tmp_path / name)
    scandir = os.scandir

    def refuse(folder: Any) -> Any:  # as for a folder without permission, which root does not know
        if os.fspath(folder).endswith("inner"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    status, out, err = run("classify", packed, tmp_path / "loop", tmp_path / "shut", photo, "--top", "1")
    read = [tmp_path / "loop" / "a.png", tmp_path / "shut" / "b.png", photo]
    assert (status, [line.split(": ")[0] for line in out.splitlines()]) == (1, list(map(str, read)))
    assert err == f"xnornet: {tmp_path / 'shut' / 'inner'}: cannot be read (Permission denied)\n"


def test_classify_reads_standard_input(run: Run, packed: Path, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run("classify", packed, photo)[1].split(": ")[1]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    assert run("classify", packed, "-") == (0, f"-: {expected}", "")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes()[:300])))
    status, _, err = run("classify", packed, "-")
    assert status == 1
    assert err.startswith("xnornet: standard input: corrupt image")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes streams")
def test_streams_that_the_shell_closed(packed: Path, photo: Path) -> None:
    """What would be printed goes nowhere, and not to another stream; a standard input that is asked for is missed."""

    def closed(redirections: str, *words: object) -> tuple[int, str, str]:
        line = ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-m", "xnornet.cli", *map(str, words)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    told = "xnornet: standard input: closed; give it an image, as `< photo.jpg`\n"
    assert closed("<&-", "classify", packed, "-") == (1, "", told)
    told = "xnornet: standard input: cannot be read (Bad file descriptor)\n"
    assert closed("0>/dev/null", "classify", packed, "-") == (1, "", told)
    assert closed("<&- >&- 2>&-", "classify", packed, "-") == (1, "", "")
    assert closed(">&-", "zoo", "--json") == (0, "", "")
    assert closed(">&- 2>&-", "inspect", packed) == (0, "", "")
    assert closed("2>&-", "zoo", "nonsense") == (2, "", "")
    status, out, _ = closed("2>&-", "classify", packed, photo)
    assert (status, out.count("%")) == (0, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("kind", ["-", "pipe"])
def test_one_interrupt_ends_a_wait_for_an_image(packed: Path, photo: Path, tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    last = kind if kind == "-" else tmp_path / kind
    words = [sys.executable, "-m", "xnornet.cli", "classify", packed, *[photo] * 32, last, "--json-lines"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        for _ in range(32):
            assert json.loads(process.stdout.readline())["classes"]
        time.sleep(0.2)  # until it waits
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(30) == 130  # standard input stays open
        finally:
            process.kill()
        assert process.stderr.read() == b""


def test_kernels_and_stem_may_be_chosen(run: Run, packed: Path, photo: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "set", tiny_model())
    for words in (["classify", packed, photo], ["eval", packed, "--data", pictures]):
        status, _, err = run(*words, "--isa", "portable", "--stem", "integer")
        assert (status, err) == (0, "")
        assert "'sse9' is not available here; choose one of" in run(*words, "--isa", "sse9")[2]
        told = "xnornet: stem is 'short'; give one of: float, fixed, integer\n"
        assert run(*words, "--stem", "short")[::2] == (2, told)


def test_accuracy_of_each_class(run: Run, packed: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", tiny_model())
    words = ("eval", packed, "--data", pictures)
    whole = json.loads(run(*words, "--json")[1])
    assert "confusion" not in whole
    found = json.loads(run(*words, "--json", "--per-class")[1])
    assert [row["class"] for row in found["per_class"]] == ["cat", "dog", "größe"]
    assert sum(map(sum, found["confusion"])) == found["images"]
    right = [row["images"] * row["top1"] for row in found["per_class"]]
    assert right == pytest.approx([counts[index] for index, counts in enumerate(found["confusion"])])
    assert sum(right) == pytest.approx(whole["top1"] * whole["images"])
    status, out, _ = run(*words, "--per-class")
    assert status == 0
    for row in found["per_class"]:
        (line,) = (line for line in out.splitlines() if line.startswith(f"│ {row['class']} "))
        assert f"{row['top1']:.2%}" in line
        assert row["taken_for"] is None or f"{row['taken_for']} ({row['times']})" in line


def test_results_that_are_no_numbers(run: Run, packed: Path, photo: Path) -> None:
    format.write(overflowing(), packed)
    for more in ([], ["--json"]):
        status, out, err = run("classify", packed, photo, *more)
        assert (status, out) == (1, "")
        assert "logits are not finite" in err


def test_where_the_data_of_a_model_lies(run: Run, packed: Path) -> None:
    format.write(dataclasses.replace(tiny_model(), provenance={"data": "animals"}), packed)
    status, _, err = run("eval", packed)
    assert status == 1
    assert err.endswith(f"{packed} says that it was trained on that; give --data FOLDER\n")
    assert "--data FOLDER" not in run("eval", packed, "--data", "animals")[2]


@pytest.mark.parametrize(
    ("recipe", "data", "remedy"),
    [
        ("cifar10-vgg-xnor", "cifar10", "give --data FOLDER, or --data hf:cifar10"),
        ("imagenet-resnet18-xnor", "imagenette", "give --data FOLDER"),  # not what the recipe would take
        ("of-my-own", "cifar10", "give --data FOLDER"),
    ],
)
def test_where_the_hub_has_the_data_of_a_model(run: Run, packed: Path, recipe: str, data: str, remedy: str) -> None:
    provenance = {"data": data, "recipe": {"name": recipe}}
    format.write(dataclasses.replace(tiny_model(), provenance=provenance), packed)
    status, _, err = run("eval", packed)
    assert status == 1
    assert err.endswith(f"{packed} says that it was trained on that; {remedy}\n")


def test_memory_that_runs_out_is_one_line(run: Run, packed: Path, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("xnornet.engine.Model.run", run_out)
    status, _, err = run("classify", packed, photo)
    assert (status, err) == (1, "xnornet: not enough memory (it ran out); give less at once, or free some\n")
