"""The command: what each verb prints, its exit status, and one clear line for each error."""

from __future__ import annotations

import dataclasses
import errno
import io
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from xnornet import cli, format
from xnornet.summary import summarise
from xnornet.terminal import PlainConsole, visible

from .networks import overflowing, tiny_model, write_pictures

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command in this process: (status, standard output, standard error)."""

    def call(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xnornet", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        code = stop.value.code
        return (code if isinstance(code, int) else 0), printed.out, printed.err

    return call


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    format.write(tiny_model(), path)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of one epoch of fashion-xnor, made by the command."""
    pytest.importorskip("lightning")
    folder = tmp_path_factory.mktemp("run")
    words = [sys.executable, "-m", "xnornet.cli", "train", "fashion-xnor", "--epochs", "1", "--out", str(folder)]
    subprocess.run(words, check=True, capture_output=True)
    return folder


def test_help_shows_an_example_for_every_verb(run: Run) -> None:
    _, listing, _ = run("--help")
    for verb in ("train", "eval", "pack", "unpack", "inspect", "zoo", "classify", "bench"):
        assert verb in listing
        status, out, _ = run(verb, "--help")
        assert status == 0
        assert "Example:" in out
        assert f"xnornet {verb}" in out


def test_version(run: Run) -> None:
    from xnornet import __version__

    assert run("--version")[1].strip() == f"xnornet {__version__}"


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


def test_nothing_is_lost_on_a_narrow_terminal() -> None:
    """Each row has lines of its own where its columns do not fit; no value is cut."""
    pytest.importorskip("torch")
    from xnornet.bench.tables import kernels
    from xnornet.models import catalogue as models
    from xnornet.train.recipes.catalogue import catalogue as recipes
    from xnornet.train.recipes.catalogue import values

    tables = (recipes()[0], values("fashion-xnor")[0], models()[0], summarise(tiny_model()).table(), kernels()[0])
    for table, width in itertools.product(tables, (40, 60, 80, 100, 160)):
        console = PlainConsole(width=width)
        with console.capture() as captured:
            console.print(table)
        text = captured.get()
        assert max(map(len, text.splitlines())) <= width, (table.title, width)
        assert "…" not in text, (table.title, width)
        words = "".join(text.split())
        for cell in (cell for column in table.columns for cell in column.cells):
            # Beside others a folded cell is not in one piece.
            assert width < 160 or all(word in text for word in str(cell).split()), (table.title, cell)
            assert "─" in text or "━" in text or "".join(str(cell).split()) in words, (table.title, width, cell)


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


def test_kernels_and_stem_may_be_chosen(run: Run, packed: Path, photo: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "set", tiny_model())
    for words in (["classify", packed, photo], ["eval", packed, "--data", pictures]):
        status, _, err = run(*words, "--isa", "portable", "--stem", "integer")
        assert (status, err) == (0, "")
        assert "'sse9' is not available here; choose one of" in run(*words, "--isa", "sse9")[2]
        told = "xnornet: stem is 'short'; give one of: float, fixed, integer\n"
        assert run(*words, "--stem", "short")[::2] == (2, told)


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
    assert f"{packed} says that it was trained on that; say by --data where it lies" in err
    assert "--data where" not in run("eval", packed, "--data", "animals")[2]


def test_memory_that_runs_out_is_one_line(run: Run, packed: Path, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("xnornet.engine.Model.run", run_out)
    status, _, err = run("classify", packed, photo)
    assert (status, err) == (1, "xnornet: not enough memory (it ran out); give less at once, or free some\n")


def test_the_package_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "xnornet", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("xnornet ")


def test_bench(run: Run, packed: Path) -> None:
    status, out, _ = run("bench", packed, "--seconds", "0.1")
    assert status == 0
    assert "xnornet" in out
    records = json.loads(run("bench", packed, "--seconds", "0.1", "--json")[1])
    assert records[0]["implementation"] == "xnornet"
    assert 0 < records[0]["min_ms"] <= records[0]["median_ms"] <= records[0]["max_ms"]
    assert records[1]["median_ms"] is None
    assert "architecture" in records[1]["note"] or "torch" in records[1]["note"]


def test_bench_per_layer_and_kernels(run: Run, packed: Path) -> None:
    names = {op.name for op in tiny_model().ops}
    records = json.loads(run("bench", packed, "--per-layer", "--json")[1])
    assert names & {record["name"] for record in records}
    assert "total" in run("bench", packed, "--per-layer")[1]
    listed = {record["name"]: record["available"] for record in json.loads(run("bench", "--list-kernels", "--json")[1])}
    assert listed["portable"] is True


def test_bench_fails_where_the_engine_does_not_run(run: Run, packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XNORNET_ISA", "bogus")
    status, out, _ = run("bench", packed, "--seconds", "0.1", "--peers", "none", "--json")
    assert status == 1
    assert "XNORNET_ISA=bogus" in json.loads(out)[0]["note"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("bench", "bench needs a FILE, --layer, --net or --list-kernels"),
        ("bench FILE --layer 3x3:8x5x5:6", "FILE does not go with --layer"),
        ("bench --net alexnet --per-layer", "--per-layer does not go with --net"),
        ("bench FILE --per-layer --peers foo", "--per-layer does not go with --peers"),
        ("bench nosuch --list-kernels", "FILE does not go with --list-kernels"),
        ("bench FILE --seconds inf", "less than or equal to 3600"),
        ("bench FILE --peers none --batch 1000000000000", "needs"),
        ("bench FILE --per-layer --batch 1000000000000", "needs more memory than there is"),
        ("bench FILE --peers torch,magic", "unknown implementation 'magic'"),
        (
            "reproduce fig1 lr=3 --seeds 1 --no-new",
            "fig1 does not go with [KEY=VALUE]... and --seeds and --new/--no-new",
        ),
        ("reproduce fig4 --data mnist", "fig4 does not go with --data"),
        ("reproduce table1 --seconds 3", "table1 does not go with --seconds"),
    ],
)
def test_options_that_would_be_ignored_or_are_too_large_are_refused(
    run: Run, packed: Path, words: str, said: str
) -> None:
    status, _, err = run(*(packed if word == "FILE" else word for word in words.split()))
    assert status == 2
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_table_of_no_runs_is_refused(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    status, _, err = run("reproduce", "cifar10", "--no-new", "--results", tmp_path / "typo")
    assert status == 2
    assert err.endswith(
        "cifar10.csv does not exist; name by --results the folder that has it, or leave --no-new out to train\n"
    )
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "typo").exists()
    results = Path(__file__).parents[1] / "benchmarks" / "results"
    status, _, err = run("reproduce", "cifar10", "--no-new", "--results", results, "--seeds", "99")
    assert status == 2
    assert "cifar10.csv holds no run of these lines and seeds; " in err


@pytest.mark.parametrize(("missing", "what"), [("matplotlib", "fig1"), ("matplotlib", "fig4"), ("torch", "fig4")])
def test_figures_say_what_is_not_installed_before_they_measure(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, what: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    status, _, err = run("reproduce", what, "--results", tmp_path / "results")
    assert status == 2
    assert f"{missing}, which" in err
    assert "not installed; pip install 'xnornet[" in err
    assert not (tmp_path / "results").exists()


def test_models(run: Run) -> None:
    pytest.importorskip("torch")
    status, out, _ = run("models", "--method", "bwn", "--json")
    assert status == 0
    alexnet = next(record for record in json.loads(out) if record["name"] == "alexnet")
    assert (alexnet["quantized_weights"], alexnet["options"]["width"]) == (58_236_928, 96)
    status, out, _ = run("models")
    assert status == 0
    assert "vgg_small" in out
    status, _, err = run("models", "--method", "xor")
    assert status == 2
    assert "unknown method 'xor'; there are float, bwn" in err


def test_recipes(run: Run) -> None:
    status, out, err = run("recipes")
    assert (status, err) == (0, "")
    assert "cifar10-vgg-xnor" in out
    listed = json.loads(run("recipes", "--json")[1])
    assert {"name", "model", "method", "data", "epochs", "lr"} <= listed[0].keys()
    records = {
        record["key"]: record for record in json.loads(run("recipes", "imagenet-alexnet-xnor-paper", "--json")[1])
    }
    from xnornet.train.recipes import recipe

    changes = {key: record["value"] for key, record in records.items()}
    assert recipe("imagenet-alexnet-xnor-paper").override(changes) == recipe(
        "imagenet-alexnet-xnor-paper"
    )  # all can be set
    assert records["model"]["meaning"] == "a name that `xnornet models` lists."
    records = {record["key"]: record for record in json.loads(run("recipes", "fashion-xnor", "--json")[1])}
    assert records["epochs"]["value"] == 25
    assert "learning rate" in records["lr"]["meaning"]
    status, out, err = run("recipes", "fashion-xnorr")
    assert (status, out) == (2, "")
    assert "did you mean fashion-xnor" in err


def test_checkpoints_and_packed_files_are_told_apart(run: Run, trained: Path, packed: Path, photo: Path) -> None:
    checkpoint = trained / "last.ckpt"
    for words in (("classify", checkpoint, photo), ("inspect", checkpoint)):
        status, _, err = run(*words)
        assert (status, err) == (
            1,
            f"xnornet: {checkpoint}: is a checkpoint, not a packed model; make one of it with `xnornet pack`\n",
        )
    status, _, err = run("pack", packed, "-o", packed.with_name("again.safetensors"))
    assert (status, err) == (
        1,
        f"xnornet: {packed}: a packed model, not a checkpoint; `xnornet unpack` makes one of it\n",
    )


def test_no_file_of_the_other_kind_is_replaced(run: Run, trained: Path, packed: Path, tmp_path: Path) -> None:
    checkpoint, link = trained / "last.ckpt", tmp_path / "link.safetensors"
    link.symlink_to(checkpoint)
    old = tmp_path / "old.ckpt"  # not a zip file, as torch once wrote them
    old.write_bytes(b"\x80\x02}q\x00.")
    before = [path.read_bytes() for path in (checkpoint, packed, old)]
    here = "give the packed file another name"
    for words, said in (
        (("pack", checkpoint, "-o", checkpoint), f"{checkpoint}: is the checkpoint to pack itself; {here}"),
        (("pack", checkpoint, "-o", link), f"{link}: is the checkpoint to pack itself; {here}"),
        (("pack", old, "-o", old), f"{old}: is the checkpoint to pack itself; {here}"),
        (("pack", tmp_path / "absent", "-o", link), f"{link}: a checkpoint lies there; {here}, or move it away"),
        (
            ("unpack", packed, "--data", "fashion-mnist-mini", "-o", packed),
            f"{packed}: a packed model lies there; give the checkpoint another name, or move it away",
        ),
    ):
        status, _, err = run(*words)
        assert (status, err) == (2, f"xnornet: {said}\n")
    assert before == [path.read_bytes() for path in (checkpoint, packed, old)]
    assert run("pack", checkpoint, "-o", packed)[0] == 0  # one packed file may replace another


def test_train_pack_eval_classify(run: Run, trained: Path, tmp_path: Path) -> None:
    packed = tmp_path / "fashion.safetensors"
    status, out, _ = run("pack", trained / "last.ckpt", "-o", packed)
    assert status == 0
    assert f"{packed.stat().st_size:,} bytes" in out
    status, out, _ = run("eval", packed, "--against-torch", trained / "last.ckpt", "--json")
    assert status == 0
    records = json.loads(out)
    assert records["images"] == 2000
    assert records["against_torch"]["same"] is True
    assert records["top1"] > 0.5  # one epoch; chance is 0.1
    back = tmp_path / "back.ckpt"
    shown = "shown 2,500 images of fashion-mnist-mini"
    status, out, _ = run("unpack", packed, "-o", back)
    assert (status, out) == (0, f"{back}: small_convnet, method xnor, {shown}; train on with init_from={back}\n")
    again = json.loads(run("eval", packed, "--against-torch", back, "--json")[1])
    assert again["against_torch"]["same"] is True
    other = tmp_path / "other.safetensors"
    format.write(dataclasses.replace(format.read(packed), labels=tuple("abcdefghij")), other)
    status, _, err = run("eval", other, "--data", "nowhere", "--against-torch", trained / "last.ckpt")
    assert status == 2
    assert "class 0 is 'T-shirt/top' in the checkpoint, 'a' in the model; give the checkpoint that was packed" in err
    status, out, _ = run("eval", packed, "--data", "fashion-mnist-mini", "--threads", "2")
    assert f"top-1 {records['top1']:.2%}" in out
    records = json.loads(run("bench", packed, "--seconds", "0.1", "--json")[1])
    assert records[1]["implementation"] == "torch"
    assert records[1]["median_ms"] > 0
    assert "recipe" in run("inspect", packed)[1]


def test_wrong_use_is_status_2(run: Run, packed: Path, tmp_path: Path) -> None:
    for words, expected in (
        (["train", "no-such-recipe", "--out", tmp_path / "a"], "`xnornet recipes` lists all"),
        (["train", "fashion-xnor", "nonsense", "--out", tmp_path / "a"], "KEY=VALUE"),
        (["train", "fashion-xnor", "no_key=3", "--out", tmp_path / "a"], "no_key"),
        (["train", "fashion-xnor", "--method", "magic", "--out", tmp_path / "a"], "magic"),
        (["train", "fashion-xnor", "--epochs", "0", "--out", tmp_path / "a"], "epochs"),
        (
            ["train", "fashion-xnor", "--batch-size", "64"],
            "of a recipe, give batch_size=VALUE",
        ),
        (["bench"], "FILE"),
        (["bench", "--net", "alexnet", "--peers", "magic"], "magic"),
        (["bench", "--layer", "3x3", "--peers", "none"], "3x3"),
        (["reproduce", "fig2"], "fig4"),
        (["eval", packed], "--data"),
        (["classify", packed], "IMAGE"),
        (["classify", packed, "x.png", "--threads", "0"], "threads"),
        (["classify", packed, "x.png", "--threads", "2000"], "threads"),
        (["classify", packed, "x.png", "--top", "0"], "got '0'"),
        (["classify", packed, "x.png", "--top=-3"], "got '-3'"),
        (["classify", packed, ""], "word 3 of the command is empty; is a variable of the shell not set?"),
        (["classify", "", "x.png"], "word 2 of the command is empty"),
        (["data", ""], "word 2 of the command is empty"),
        (["eval", packed, "--data="], "--data= is empty"),
        (["fly"], "fly"),
    ):
        status, _, err = run(*words)
        assert status == 2, words
        assert expected in err, (words, err)
        assert len(err.strip().splitlines()) == 1, err


def test_failures_are_status_1_and_one_line(run: Run, packed: Path, photo: Path, trained: Path, tmp_path: Path) -> None:
    text, cut, damaged, wrong = (tmp_path / n for n in ("text.png", "cut.png", "damaged.safetensors", "wrong.ckpt"))
    text.write_text("no image")
    cut.write_bytes(photo.read_bytes()[:300])
    damaged.write_bytes(packed.read_bytes()[:-1] + b"!")
    wrong.write_bytes(b"\x80\x02}q\x00.")  # a pickle
    before = sorted(tmp_path.iterdir())
    for words, expected in (
        (["inspect", tmp_path / "absent"], "absent"),
        (["inspect", damaged], "checksum"),
        (["classify", damaged, photo], "checksum"),
        (["classify", packed, text], "text.png"),
        (["classify", packed, cut], "corrupt"),
        (["classify", packed, tmp_path / "absent.png"], "no such file"),
        (["eval", packed, "--data", tmp_path / "nowhere"], "nowhere"),
        (["eval", packed, "--data", "fashion-mnist-mini"], "10 classes"),
        (["eval", packed, "--data", "nowhere", "--against-torch", wrong], "wrong.ckpt: not a checkpoint"),
        (["pack", wrong, "-o", tmp_path / "out.safetensors"], "wrong.ckpt"),
        (["pack", tmp_path / "absent.ckpt"], "absent.ckpt"),
        (["pack", trained / "last.ckpt", "-o", "/proc/nowhere/m.safetensors"], "/proc/nowhere"),
        (["unpack", packed, "-o", tmp_path / "m.ckpt", "--data", "fashion-mnist-mini"], "does not say which network"),
        (["train", "fashion-xnor", "--data", tmp_path / "nowhere", "--out", tmp_path / "a"], "nowhere"),
    ):
        status, _, err = run(*words)
        assert status == 1, (words, err)
        assert expected in err, (words, err)
        assert len(err.strip().splitlines()) == 1, err
    assert sorted(tmp_path.iterdir()) == before


def test_an_interruption_while_it_starts_is_quiet() -> None:
    code = """
import sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from xnornet.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_may_be_full(packed: Path) -> None:
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "xnornet.cli", "inspect", str(packed)]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "xnornet: standard output: No space left on device\n"


def test_train_as_json_prints_nothing_else(
    run: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from xnornet.data import open_dataset

    from .training import shrink

    data = shrink(open_dataset("fashion-mnist-mini"))
    monkeypatch.setattr("xnornet.train.run.open_dataset", lambda spec: replace(data, name=spec))
    words = ["train", "fashion-xnor", "--epochs", "2", "batch_size=20", f"init_from={trained / 'last.ckpt'}"]
    status, out, err = run(*words, "--out", tmp_path / "run", "--json")
    assert status == 0
    assert json.loads(out)["epoch"] == 2
    assert [line.split()[0] for line in err.splitlines()] == ["begins", "epoch", "epoch"]
