"""What the command says of training, and of files that go from there to packed models and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from xnornet import format

from .command import Run


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


def test_what_packing_doubts_is_a_line(run: Run, tiny_data: object, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from xnornet.train.run import train

    from .training import TINY

    made = train("fashion-bwn", method="binaryconnect-stochastic", out=tmp_path, overrides={**TINY, "epochs": 1})
    capture, _, err = run("pack", made.checkpoint, "-o", tmp_path / "net.safetensors")
    assert capture == 0
    assert err
    assert all(line.startswith("xnornet: warning: module '") for line in err.splitlines()), err


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
    said = f"xnornet: {packed}: is a packed model already; `xnornet unpack` makes a checkpoint of one\n"
    for out in (packed.with_name("again.safetensors"), packed):
        assert run("pack", packed, "-o", out) == (1, "", said)
    status, _, err = run("inspect", photo)
    assert (status, err) == (
        1,
        f"xnornet: {photo}: is a picture, not a packed model; `xnornet classify MODEL IMAGE` names what is on it\n",
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
        (("pack", trained, "-o", checkpoint), f"{checkpoint}: is the checkpoint to pack itself; {here}"),
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
    assert run("pack", trained, "-o", packed)[0] == 0  # of a run folder; one packed file may replace another


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


def test_train_as_json_prints_nothing_else(
    run: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from xnornet.data import open_dataset

    from .training import shrink

    data = shrink(open_dataset("fashion-mnist-mini"))
    monkeypatch.setattr("xnornet.train.run.open_dataset", lambda spec: replace(data, name=spec))
    words = ["train", "fashion-xnor", "--epochs", "2", "batch_size=6", f"init_from={trained / 'last.ckpt'}"]
    status, out, err = run(*words, "--out", tmp_path / "run", "--json")
    assert status == 0
    assert json.loads(out)["epoch"] == 2
    assert [line.split()[0] for line in err.splitlines()] == ["begins", "epoch", "epoch"]


def test_convert(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    onnx = pytest.importorskip("onnx")
    from .onnx_sketch import Sketch

    sketch = Sketch((3, 6, 6))
    sketch.convolution(3, 8, signs=False)
    sketch.sign()
    sketch.convolution(8, 8)
    sketch.add("GlobalAveragePool")
    sketch.add("Flatten")
    sketch.classifier(8, classes=3)
    source, made, names = tmp_path / "net.onnx", tmp_path / "net.safetensors", tmp_path / "names.txt"
    onnx.save(sketch.model(), source)
    names.write_text("cat\r\ndog\nmüsli \n\n", encoding="utf-8-sig")  # as editors on Windows write it
    words = ["convert", source, "-o", made, "--labels", names]
    status, out, err = run(*words, "--raw-pixels", "--mean", "51,102,153", "--std", "102")
    assert (status, err) == (0, "")
    line, how = out.splitlines()
    assert line.startswith(f"{made}: {made.stat().st_size:,} bytes")
    assert how == "preprocessing: 6x6 (bilinear), mean 0.2 0.4 0.6, std 0.4 0.4 0.4 of pixels in 0..1"
    model = format.read(made)
    assert model.labels == ("cat", "dog", "müsli")
    assert model.preprocess.mean == (0.2, 0.4, 0.6)
    assert model.preprocess.std == (0.4, 0.4, 0.4)
    assert model.provenance == {"converted": {"from": "ONNX", "file": "net.onnx"}}
    assert json.loads(run(*words, "--json")[1])["file"] == str(made)

    before = made.read_bytes()
    for wrong, said in (
        (["--size", "8"], f"--size 8,8: {source} takes images of 6 x 6 pixels alone"),
        (["--size", "6x6"], "--size '6x6' is not H,W in pixels, as 224,224 or 224"),
        (["--mean", "a"], "--mean 'a' is not a number"),
        (["--std", "0.1,0.2"], "must have 3 values for mode RGB"),
        (["--std", "0"], "std (0.0, 0.0, 0.0) above 0"),
        (["--mean", "127.5", "--std", "127.5"], "--mean 127.5: pixels are of 0 to 1; give --raw-pixels as well, or"),
        (["--std", "58.4,57.12,57.375"], "--std 58.4,57.12,57.375: pixels are of 0 to 1; give --raw-pixels as well"),
        (["--output", source], f"{source}: is the file to convert itself; give the packed file another name"),
        (["--resize", "4"], "resize 4 is below the crop (6, 6)"),
    ):
        status, _, err = run(*words, *wrong)
        assert status == 2, err
        assert said in err
        assert len(err.splitlines()) == 1
    for foreign in (source, tmp_path / "net.pth.tar"):
        status, _, err = run("pack", foreign, "-o", made)
        assert status == 2
        assert f"{foreign}: `xnornet convert` packs networks of other frameworks" in err
    status, _, err = run("convert", names, "-o", made)
    assert status == 2
    assert "is not one of .onnx, .params, .t7, .pth.tar; `xnornet pack` packs checkpoints" in err
    names.write_text("cat\n")
    status, _, err = run(*words)
    assert status == 2
    assert f"--labels {names}: 1 names for 3 classes; give --labels with a name for each" in err
    assert made.read_bytes() == before
