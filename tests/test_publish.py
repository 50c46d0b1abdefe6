"""Publishing a model: what scripts/publish_model.py copies, writes and refuses; and the cards in the package."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import xnornet
from xnornet import format
from xnornet.data import open_dataset
from xnornet.evaluate import evaluate
from xnornet.files import write_csv
from xnornet.summary import summarise
from xnornet.zoo import entries, index
from xnornet.zoo.index import write_entries

from .networks import tiny_model, write_pictures
from .results import rows_of

ROOT = Path(__file__).parents[1]


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import publish_model

    return publish_model


class Run:
    """A packed file as `xnornet pack` writes it, its pictures, and its results, of three seeds and two lines."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.packed, self.results = folder, folder / "model.safetensors", folder / "animals.csv"
        self.zoo, self.host = folder / "zoo", folder / "host"
        self.zoo.mkdir()
        write_entries([], self.zoo)
        self.data = write_pictures(folder / "animals", tiny_model())
        model = replace(tiny_model(), provenance=self.provenance())
        source = open_dataset(self.data)
        self.top1 = evaluate(xnornet.Model(model), source.split("test"), source.class_names).accuracy()
        model = replace(tiny_model(), provenance=self.provenance())
        size = format.write(model, self.packed)
        self.row = {
            "line": "XNOR-Net",
            "recipe": "animals-xnor",
            "method": "xnor",
            "model": "small_convnet",
            "model_options": "width=8 norm=True",
            "data": "animals",
            "epochs": 3,
            "seed": 1,
            "images_seen": 12345,
            "test_images": 12,
            "test_top1_torch": f"{self.top1:.4f}",
            "test_top1_engine": f"{self.top1:.4f}",
            "test_top5_engine": "",
            "disagreements": 1,
            "ties": 1,
            "packed_bytes": size,
            "float_bytes": summarise(model).float_bytes,
            "engine_ms": "0.0123",
            "float_ms": "0.4567",
            "trained_on": "a GPU",
            "times_machine": "a CPU, 2 cores",
            "commit": "abc1234",
            "command": "xnornet train animals-xnor --data '/home/me/my photos/animals' seed=1 "
            "teacher=/home/me/teacher.ckpt",
        }
        others = [{**self.row, "seed": seed, "test_top1_engine": top1} for seed, top1 in ((0, "0.0000"), (2, "1.0000"))]
        write_csv(self.results, [others[0], self.row, others[1], {**self.row, "line": "float", "method": "float"}])

    def provenance(self) -> dict[str, Any]:
        return {
            "model": {"name": "small_convnet", "options": {"width": 8, "norm": True}},
            "method": "xnor",
            "data": str(self.data),
            "test_top1": getattr(self, "top1", 0.0),
            "epochs": 3,
            "images_seen": 12345,
            "recipe": {"name": "animals-xnor", "seed": 1, "data": str(self.data), "teacher": "runs/a.ckpt"},
            "versions": {"torch": "2.13.0", "xnornet": "0.1.0"},
        }

    def publish(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, ROOT / "scripts" / "publish_model.py", self.packed, "--results", self.results]
        command += ["--zoo", self.zoo, *words]
        return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


@pytest.fixture
def trained(tmp_path: Path) -> Run:
    return Run(tmp_path)


NOTE = ("--data-note", "random pictures, free for all")


def test_words_for_classes_named_by_codes(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--words", "a tame lion, a tame wolf,size", "--check", trained.data, *NOTE)
    done = trained.publish("--name", "animals-xnor", "--bundle", *words)
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(index, "FOLDER", trained.zoo)
    model, source = xnornet.load("animals-xnor"), open_dataset(trained.data)
    assert model.labels == ["cat a tame lion", "dog a tame wolf", "größe size"]
    assert evaluate(model, source.split("test"), source.class_names).accuracy() == trained.top1
    done = trained.publish("--name", "animals-xnor", "--bundle", "--words", "one,two", *NOTE)
    assert "--words one,two: 2 for 3 classes (cat, dog, größe)" in done.stderr


def test_a_bundled_model(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done = trained.publish("--name", "animals-xnor", "--bundle", "--check", trained.data, *NOTE)
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(index, "FOLDER", trained.zoo)
    (entry,) = entries().values()
    content = (trained.zoo / "animals-xnor.safetensors").read_bytes()
    assert (entry.bytes, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (entry.bundled, entry.task, entry.classes) == (True, "animals, 3 classes", 3)
    assert entry.test_top1 == float(trained.row["test_top1_engine"])
    assert entry.description == "XNOR-Net: small_convnet, method xnor"
    assert f"{len(content):,} bytes, SHA-256 {entry.sha256}" in done.stdout
    assert xnornet.load("animals-xnor").labels == ["cat", "dog", "größe"]
    for phrase in (
        "# animals-xnor\n",
        "12 x 12 pixels, grey, and gives one of\n3 classes: cat, dog, größe.",
        f"| top-1 on the test split, engine | {100 * trained.top1:.2f} % |",
        "PyTorch (by a tie within rounding) | 1 (1) |",
        f"| bytes, packed | {len(content):,} |",
        f"| bytes with all weights in float32 | {trained.row['float_bytes']:,} |",
        "| ms an image, engine | 0.0123 |",
        "| ms an image, the same architecture in float32 PyTorch | 0.4567 |",
        "From line `XNOR-Net`, seed 1 of `animals.csv`",
        "Trained on: a GPU; timed on: a CPU, 2 cores. Commit: abc1234.",
        f"0.00 % (seed 0), {100 * trained.top1:.2f} % (seed 1), 100.00 % (seed 2); this one is not the best of these.",
        "| architecture | small_convnet width=8 norm=True |",
        "| training images shown | 12,345 |",
        "| versions | torch 2.13.0, xnornet 0.1.0 |",
        "| command | `xnornet train animals-xnor --data animals seed=1 teacher=teacher.ckpt` |",
        "Data: random pictures, free for all\n",
        "Tested on the test split of animals and on nothing else",
        f"`{entry.sha256}`",
    ):
        assert phrase in entry.card, phrase
    assert "top-5" not in entry.card
    assert "chosen by its accuracy" not in entry.card


def test_nothing_published_tells_of_the_machines_folders(trained: Run) -> None:
    trained.publish("--name", "a", "--bundle", *NOTE)
    for file in trained.zoo.iterdir():
        assert str(trained.folder).encode() not in file.read_bytes()
    told = format.read(trained.zoo / "a.safetensors").provenance
    assert told["data"] == told["recipe"]["data"] == "animals"
    assert told["recipe"]["teacher"] == "runs/a.ckpt"


def test_a_hosted_model_and_back(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "FOLDER", trained.zoo)
    monkeypatch.setenv("XNORNET_ZOO", str(trained.host))
    monkeypatch.setenv("XDG_CACHE_HOME", str(trained.folder / "cache"))
    where = ["--to", trained.host], ["--bundle"], ["--to", trained.host]
    for words in where:
        done = trained.publish("--name", "a", "--chosen-on-test", *words, *NOTE)
        assert done.returncode == 0, done.stderr
        (entry,) = entries().values()
        assert entry.bundled == (words == ["--bundle"]) == (trained.zoo / "a.safetensors").exists()
        assert "chosen by its accuracy on these very test images" in entry.card
        assert xnornet.load("a").labels
    assert (trained.host / "a.md").read_text() == entry.card
    assert sorted(path.name for path in trained.host.iterdir()) == ["a.md", "a.safetensors"]
    trained.publish("--name", "b", "--bundle", *NOTE)
    assert list(entries()) == ["a", "b"]


def test_a_file_without_folders_in_it_is_copied_as_it_is(trained: Run) -> None:
    told = {**trained.provenance(), "data": "animals"}
    told["recipe"]["data"] = "animals"
    model = replace(tiny_model(), provenance=told)
    trained.row["packed_bytes"] = format.write(model, trained.packed)
    write_csv(trained.results, [trained.row])
    assert trained.publish("--name", "a", "--bundle", *NOTE).returncode == 0
    assert (trained.zoo / "a.safetensors").read_bytes() == trained.packed.read_bytes()
    assert "It is the only seed of its line there." in (trained.zoo / "a.md").read_text()


def test_a_network_trained_on_tells_what_it_began_with(trained: Run, tmp_path: Path) -> None:
    before = tmp_path / "before.csv"
    write_csv(before, [{**trained.row, "epochs": 60, "images_seen": 98765, "trained_on": "another GPU"}])
    publish = ("--name", "a", "--bundle", *NOTE)
    done = trained.publish(*publish, "--begun-with", before)
    assert f"--begun-with {before}: the run began with fresh weights" in done.stderr
    write_csv(trained.results, [{**trained.row, "command": "xnornet train animals-xnor init_from=a.ckpt seed=1"}])
    assert "the run began with a.ckpt; give --begun-with" in trained.publish(*publish).stderr
    assert trained.publish(*publish, "--begun-with", before).returncode == 0
    card = (trained.zoo / "a.md").read_text()
    began = f"{100 * trained.top1:.2f} % after 60 epochs, 98,765 images, on another GPU"
    assert f"| begun with | the network of line `XNOR-Net`, seed 1, of `before.csv`: {began} |" in card
    assert "| epochs, after that | 3 |" in card
    assert "| training images shown, after that | 12,345 |" in card
    write_csv(before, [{**trained.row, "seed": 5}])
    refused = trained.publish(*publish, "--begun-with", before).stderr
    assert f"--begun-with {before}: 0 rows of line XNOR-Net, recipe animals-xnor, seed 1, not one" in refused


def test_what_does_not_fit_is_refused(trained: Run, tmp_path: Path) -> None:
    def refused(expected: str, *words: str | Path, name: str = "a") -> None:
        done = trained.publish("--name", name, "--bundle", *words)
        assert done.returncode == 1, done.stdout
        assert expected in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert [path.name for path in trained.zoo.iterdir()] == ["index.json"]
        assert json.loads((trained.zoo / "index.json").read_text()) == []

    refused("nothing is known of the data set 'animals'; give --data-note")
    refused("no row of recipe animals-xnor, seed 7", "--seed", "7", *NOTE)
    refused("no row of recipe animals-xnor, seed 1, line BWN", "--line", "BWN", *NOTE)
    refused("is not that of recipe animals-xnor, seed 0: seed is 1, in the results 0", "--seed", "0", *NOTE)
    refused("line float: method is xnor, in the results float", "--line", "float", *NOTE)
    refused("'A b' is no name", *NOTE, name="A b")
    refused("absent.csv", "--results", tmp_path / "absent.csv", *NOTE)
    for column, other in (("packed_bytes", "1"), ("epochs", "4"), ("test_top1_torch", "0.9999"), ("data", "plants")):
        write_csv(trained.results, [{**trained.row, column: other}])
        refused(f"{column} is ", *NOTE)
    write_csv(trained.results, [{**trained.row, "test_top1_engine": "0.1234"}])
    refused(f"is {trained.top1:.4f}, in the results 0.1234", "--check", trained.data, *NOTE)
    write_csv(trained.results, [trained.row, {**trained.row, "line": "again"}])
    refused("2 rows of recipe animals-xnor, seed 1; choose by --line: 'XNOR-Net', 'again'", *NOTE)
    format.write(tiny_model(), trained.packed)
    refused("does not say how it was made", *NOTE)
    trained.packed.write_bytes(b"no model")
    refused("not a packed model", *NOTE)


def test_data_sets_that_are_known(scripts: ModuleType) -> None:
    from model_card import note_on

    for spelling in ("cifar10", "CIFAR-10", "cifar_10"):
        assert "states no licence" in (note_on(spelling) or "")
    assert note_on("cifar100") is None
    for data, name in (("hf:cifar10", "cifar10"), ("hf:uoft-cs/cifar10", "cifar10"), ("/data/cifar10/", "cifar10")):
        assert scripts.data_name(data) == name


def test_a_committed_row_makes_a_card(scripts: ModuleType) -> None:
    """The columns are those that the results have, older ones too."""
    from model_card import description, figures

    for path in sorted((ROOT / "benchmarks" / "results").glob("*.csv")):
        for row in rows_of(path):
            if "test_top1_engine" in row:
                assert f"{100 * float(row['test_top1_engine']):.2f} %" in figures(row, 1)
                assert row["model"] in description(row)


def test_the_packages_cards_are_those_of_the_results(scripts: ModuleType) -> None:
    from model_card import figures, origin

    for entry in entries().values():
        told = re.search(r"^From (?:line `(.*?)`, )?seed (\d+) of `(.*?)`[;.]", entry.card, re.MULTILINE)
        assert told is not None, entry.name
        line, seed, results = told.groups()
        recipe = re.search(r"^\| recipe \| (.*) \|$", entry.card, re.MULTILINE)
        assert recipe is not None, entry.name
        if not (ROOT / results).exists():  # published from elsewhere
            continue
        wanted = {"seed": seed, "recipe": recipe[1], **({"line": line} if line else {})}
        (row,) = (row for row in rows_of(ROOT / results) if wanted.items() <= row.items())
        assert figures(row, entry.bytes) in entry.card, entry.name
        assert entry.test_top1 == float(row["test_top1_engine"])
        timed = f"; timed on: {row['times_machine']}" if row["times_machine"] else ""
        where = f"Trained on: {row['trained_on']}{timed}. Commit: {row['commit']}."
        assert where in entry.card
        began = re.search(r"^\| begun with \| .* of `(.*?)`", entry.card, re.MULTILINE)
        assert (began is None) == ("init_from=" not in row["command"])
        if began:
            (first,) = (other for other in rows_of(ROOT / began[1]) if wanted.items() <= other.items())
            assert f"| begun with | {origin(first, began[1])} |" in entry.card
