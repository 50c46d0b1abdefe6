"""What the README and other pages say: code runs, links lead somewhere, numbers are those of the committed results."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from xnornet.train.checkpoint import load_record

from .results import README, RESULTS, ROOT, rows_of


def test_code_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    train, use = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "photo.jpg")
    (tmp_path / "train.py").write_text(train)
    (tmp_path / "use.py").write_text(use + "\nassert net.input_shape == (32, 32, 3)\n")
    for script in ("train.py", "use.py"):
        subprocess.run([sys.executable, script], cwd=tmp_path, check=True)


def test_commands_exist() -> None:
    """Every `make` target and `xnornet` verb that the README names."""
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    from xnornet.cli.verbs import app

    verbs = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    for verb in re.findall(r"^xnornet ([a-z]+)", README, re.MULTILINE):
        assert verb in verbs


def test_links_lead_somewhere() -> None:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_demo_table_is_the_committed_one() -> None:
    demo = json.loads((RESULTS / "demo.json").read_text())
    ours, torch = demo["bench"]
    table = README[: README.index("## Try it")]
    for figure in (
        f"{demo['eval']['top1']:.2%}",
        f"{ours['bytes']:,}",
        f"{torch['bytes']:,}",
        f"{ours['median_ms']:.3f}",
        f"{torch['median_ms']:.3f}",
        f"{torch['bytes'] / ours['bytes']:.1f}x smaller",
        f"{torch['median_ms'] / ours['median_ms']:.1f}x faster",
        demo["machine"],
    ):
        assert figure in table, figure
    alike = statistics.mean(
        float(row["test_top1_engine"]) for row in rows_of(RESULTS / "fashion.csv") if row["line"] == "float"
    )
    told = f"reach {alike:.2%}, mean of three: {100 * (alike - demo['eval']['top1']):.2f} points more"
    assert told in " ".join(table.split())


def test_the_classifier_in_16_bits() -> None:
    """The table of docs/packing.md, and what the README and the CHANGELOG say of AlexNet."""
    page = (ROOT / "docs" / "packing.md").read_text()
    rows = rows_of(RESULTS / "float16.csv")
    assert {row["model"] for row in rows} >= {"alexnet", "resnet18", "cifar10-xnor"}
    names = {"alexnet": "AlexNet, 1,000 classes", "resnet18": "ResNet-18, 1,000 classes"}
    for row in rows:
        sizes = [f"{int(row[key]):,}" for key in ("bytes_float32", "bytes_float16")]
        times = [f"{float(row[key]):.2f}" for key in ("ms_float32", "ms_float16")]
        trained = [f"{float(row[key]):.2%}" if row[key] else "" for key in ("top1_float32", "top1_float16")]
        other = f"{row['other_class']} of {int(row['images']):,}" if row["images"] else ""
        cells = [names.get(row["model"], f"`{row['model']}`"), *sizes, *times, *trained, other]
        assert f"| {' | '.join(cells)} |" in page
    assert rows[0]["machine"] in page
    megabytes = [f"{int(rows[0][key]) / 1e6:.1f}" for key in ("bytes_float32", "bytes_float16")]
    classifier = 2 * (int(rows[0]["bytes_float32"]) - int(rows[0]["bytes_float16"])) / 1e6
    assert f"{classifier:.1f} of the {megabytes[0]} MB of AlexNet's file" in page
    changed, images = (sum(int(row[key] or 0) for row in rows) for key in ("other_class", "images"))
    assert f"[{changed} of {images:,} test images](docs/packing.md#the-classifier-in-16-bits)" in README
    assert f"takes {megabytes[1]} MB instead of {megabytes[0]}" in (ROOT / "CHANGELOG.md").read_text()


def test_first_layers_in_fixed_point() -> None:
    """What docs/engine.md says of their times, and the CHANGELOG of those in integers."""
    rows = {(row["network"], row["isa"], row["stem"]): row for row in rows_of(RESULTS / "stems.csv")}

    def shares(isa: str, key: str) -> str:
        both = (
            float(rows[name, isa, "fixed"][key]) / float(rows[name, isa, "float"][key])
            for name in ("alexnet", "resnet18")
        )
        return " and ".join(f"{share:.2f}" for share in both)

    said = " ".join((ROOT / "docs" / "engine.md").read_text().split())
    assert f"takes {shares('amx', 'median_ms')} with AMX, {shares('avx512', 'median_ms')} with VNNI" in said
    assert f"left alone, AMX takes {shares('amx', 'min_ms')}" in said

    def gains(*isas: str) -> tuple[str, str]:
        some = [
            float(rows[name, isa, "float"]["median_ms"]) / float(rows[name, isa, "integer"]["median_ms"])
            for name in ("alexnet", "resnet18")
            for isa in isas
        ]
        return f"{min(some):.1f}", f"{max(some):.1f}"

    (least, most), (low, high) = gains("amx", "avx512"), gains("avx2")
    told = f"{least} to {float(most):g} times as fast as in floats with AMX or VNNI, {low} to {high} times with AVX2"
    assert told in " ".join((ROOT / "CHANGELOG.md").read_text().split())


def test_what_the_readme_says_of_int8_with_amx() -> None:
    """Both runs on Xeons; how far apart times of one network are; how much faster int8 is."""
    times: dict[tuple[str, str], list[float]] = {}
    for name in ("networks-xeon", "networks-bwn", "networks-later", "larq"):
        for row in rows_of(RESULTS / f"{name}.csv"):
            if (row["isa"], row["threads"], row["batch"]) == ("amx", "1", "1") and row["median_ms"]:
                times.setdefault((row["case"], row["implementation"]), []).append(float(row["median_ms"]))

    def two(case: str, name: str) -> list[str]:
        return [f"{ms:.3g}" for ms in times[case, name][:2]]

    (ours, later), (int8, later8) = two("alexnet", "xnornet"), two("alexnet", "openvino-int8")
    told = f"our AlexNet takes {ours} ms and the fastest int8 {int8} ({later} and {later8} in a later run)"
    text = " ".join(README.split())
    assert told in text
    (ours, later), (int8, later8) = two("resnet18", "xnornet"), two("resnet18", "openvino-int8")
    assert f"our ResNet-18 is slower than int8: {ours} ms to {int8} ({later} to {later8})" in text
    apart = max(max(some) / min(some) for some in times.values())
    assert f"differs by up to {apart:.1f} times" in text
    ratios = [a / b for a, b in zip(times["resnet18", "xnornet"], times["resnet18", "openvino-int8"], strict=False)]
    assert f"int8 for ResNet-18 with AMX ({ratios[0]:.1f} and {ratios[1]:.1f} times as fast)" in text
    for case in ("alexnet", "resnet18"):  # OpenVINO's is the fastest of int8
        others = zip(times[case, "onnxruntime-int8"], times[case, "openvino-int8"], strict=True)
        assert all(a > b for a, b in others)
    binary = [
        times[case, "xnornet"][0] / times[case, "openvino-binary"][0] for case in ("quicknet", "reactnet", "resnet18")
    ]
    assert f"(up to {max(binary):.2f} times)" in text


def test_inputs_in_8_bits() -> None:
    """The table of docs/engine.md and what it says of classes, and what README and CHANGELOG say of times."""
    page = (ROOT / "docs" / "engine.md").read_text()
    rows = {(row["model"], row["isa"]): row for row in rows_of(RESULTS / "activations.csv")}

    def ms(model: str, isa: str) -> list[float]:
        return [float(rows[model, isa][key]) for key in ("ms_float", "ms_int8")]

    models = {"alexnet": "AlexNet", "resnet18": "ResNet-18", "cifar10-bwn": "`cifar10-bwn`"}
    isas = ("amx", "avx512", "avx512bw", "avxvnni", "avx2")
    gains = []
    for model, name in models.items():
        both = [ms(model, isa) for isa in isas]
        gains += [real / rounded for real, rounded in both]
        cells = [f"{real:.2f} to {rounded:.2f}, {real / rounded:.1f}x" for real, rounded in both]
        assert f"| {' | '.join([name, *cells])} |" in page
    trained = rows["cifar10-bwn", "amx"]
    assert f"{trained['machine']}; commit {trained['commit']} (" in page
    told = (
        f"{trained['other_class']} of {int(trained['images']):,} test images get another class, and the accuracy is "
        f"{float(trained['top1_int8']):.2%} instead of {float(trained['top1_float']):.2%}"
    )
    assert told in " ".join(page.split())
    (amx, amx8), (avx2, avx28) = ms("resnet18", "amx"), ms("resnet18", "avx2")
    said = f"takes {amx8:.1f} ms instead of {amx:.1f} with AMX, {avx28:.1f} instead of {avx2:.1f} with AVX2"
    assert said in " ".join(README.split())
    assert f"{min(gains):.1f} to {max(gains):.1f} times as fast" in (ROOT / "CHANGELOG.md").read_text()
    inference = " ".join((ROOT / "docs" / "inference.md").read_text().split())
    assert f"takes {1 / max(gains):.2f} to {1 / min(gains):.2f} of the time on x86-64" in inference


def test_what_the_readme_says_of_browsers() -> None:
    times = {(row["case"], row["implementation"]): row for row in rows_of(RESULTS / "web.csv")}
    alexnet, resnet = (float(times[net, "xnornet"]["median_ms"]) for net in ("alexnet", "resnet18"))
    ratios = [
        f"{float(times[net, peer]['median_ms']) / ours:.1f}"
        for peer in ("onnxruntime", "onnxruntime-int8")
        for net, ours in (("alexnet", alexnet), ("resnet18", resnet))
    ]
    engine, peer = (int(times["alexnet", name]["runtime_bytes"]) / 1e6 for name in ("xnornet", "onnxruntime"))
    text = " ".join(README.split())
    assert f"in {engine:.2f} MB of WebAssembly" in text
    assert f"take {alexnet:.0f} and {resnet:.0f} ms there" in text
    assert "{} and {} times as long in float32, {} and {} times in int8".format(*ratios) in text
    page = " ".join((ROOT / "docs" / "web.md").read_text().split())
    assert f"The engine as WebAssembly, {engine:.2f} MB" in page
    assert f"ONNX Runtime's own WebAssembly is {peer:.1f} MB" in page


def test_what_the_readme_says_of_larq_compute_engine() -> None:
    times = {
        (row["case"], row["implementation"], row["isa"]): float(row["median_ms"])
        for row in rows_of(RESULTS / "larq.csv")
        if row["median_ms"]
    }
    larq = {key: ms for key, ms in times.items() if key[1] == "larq"}
    ratios = {(case, isa): ms / times[case, "xnornet", isa] for (case, _, isa), ms in larq.items()}
    networks = ("alexnet", "resnet18", "quicknet")
    alexnet, resnet, quicknet = (f"{ratios[net, 'amx']:.1f}" for net in networks)
    text = " ".join(README.split())
    told = f"takes {alexnet} times as long for our AlexNet on the Xeon, {resnet} for ResNet-18, {quicknet} for its own"
    assert told in text
    slower = " and ".join(f"{1 / ratios[net, 'portable']:.1f}" for net in networks[:2])
    assert f"as long as Larq's for binary layers, and {slower} times as long for AlexNet and ResNet-18" in text
    layers = [ratio for (case, isa), ratio in ratios.items() if isa == "portable" and case.startswith(("3x3", "5x5"))]
    assert layers
    assert all(0.95 < ratio < 1.2 for ratio in layers)


def test_the_code_about_inference_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "inference.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "a.jpg", "b.png", "photos/c.jpg"):
        Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / name)
    shutil.copy(ROOT / "src" / "xnornet" / "zoo" / "cifar10-xnor.safetensors", tmp_path / "model.safetensors")
    printed = [
        subprocess.run([sys.executable, "-c", block], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
        for block in blocks
    ]
    read, missing, below = printed[1].splitlines()
    assert read.startswith("a.jpg [('")
    assert missing == "missing.jpg: no such file"
    assert below.startswith("photos/c.jpg [('")


def test_the_code_about_data_runs(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), re.DOTALL)
    for path in (tmp_path / which / f"{i % 2}-{i}.png" for which in ("train", "test") for i in range(16)):
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((30, 20), 100 + 100 * int(path.name[0]), np.uint8)).save(path)
    short = block.replace('out="runs/own"', 'out="runs/own", epochs=1')
    subprocess.run([sys.executable, "-c", short], cwd=tmp_path, check=True, capture_output=True)
    assert load_record(tmp_path / "runs" / "own" / "last.ckpt").labels == ("shoe", "bag")


def test_what_the_page_on_training_says_of_16_bits() -> None:
    rows = rows_of(RESULTS / "training_cost.csv")
    steps = {(row["case"], row["method"], row["precision"]): float(row["step_ms"]) for row in rows}
    ratios = [steps[case, name, "bf16-mixed"] / ms for (case, name, kind), ms in steps.items() if kind == "32-true"]
    phrase = f"took {min(ratios):.2f} to {max(ratios):.2f} of float32's time"
    assert phrase in (ROOT / "docs" / "training.md").read_text()
