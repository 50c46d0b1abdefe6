"""What the page on networks trained elsewhere says: its code runs, its table and its list are right."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xnornet import load

from .results import README, RESULTS, ROOT, rows_of

PAGE = (ROOT / "docs" / "converting.md").read_text()


def test_the_code_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    held = Path(__file__).parent / "from_larq" / "shortcuts.onnx.gz"
    (tmp_path / "larq.onnx").write_bytes(gzip.decompress(held.read_bytes()))
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    subprocess.run([sys.executable, "-c", block], cwd=tmp_path, check=True)
    assert load(tmp_path / "model.safetensors").input_shape == (24, 16, 3)


def test_every_operator_is_listed_and_no_other() -> None:
    pytest.importorskip("torch")
    from xnornet.convert.foreign.operators import OPERATORS

    listed = PAGE[PAGE.index("of ONNX: ") : PAGE.index(", and anything of constants alone")]
    assert set(re.findall(r"\w+", listed.removeprefix("of ONNX: "))) | {"BipolarQuant"} == set(OPERATORS)


def test_every_module_is_listed_and_no_other() -> None:
    pytest.importorskip("torch")
    from xnornet.convert.foreign.torch7_file import _MODULES

    assert PAGE.strip().endswith(f"Of Torch7's nn and cudnn:\n{', '.join(_MODULES)}.")


def test_the_table() -> None:
    rows = rows_of(RESULTS / "foreign.csv")
    for row, name in zip(rows, ("CIFAR-10 | CIFAR-10", "ImageNet | photos of ten of its 1000 classes"), strict=True):
        assert row["disagreements"] == "0"
        assert row["top1_torch"] == row["top1_engine"]
        top1, top5 = (100 * float(row[f"top{k}_engine"]) for k in (1, 5))
        told = (
            f"| ResNet-18, {name} | {int(row['images']):,} | {top1:.2f} | {top5:.2f} | {int(row['source_bytes']):,} | "
            f"{int(row['packed_bytes']):,} | {float(row['engine_ms']):.3g} |"
        )
        assert told in PAGE
    photos = 100 * float(rows[1]["top1_engine"])
    ten = 100 * float(rows[1]["top1_of_ten"])
    assert f"{photos:.2f} % are named right among all 1000 classes, {ten:.2f} % among the ten" in PAGE
    assert rows[0]["machine"].split(", ")[0] in PAGE
    size, images = int(rows[1]["packed_bytes"]) / 1e6, int(rows[1]["images"])
    told = f"takes {size:.1f} MB and names {photos:.1f} % of {images:,} photos"
    assert told in " ".join(README.split())
