"""Accuracy, and comparison with torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from xnornet import DataError, FormatError, Model, ops, reference
from xnornet.evaluate import Evaluation, evaluate
from xnornet.graph import PackedModel
from xnornet.per_class import per_class
from xnornet.preprocess import Preprocess

from .networks import overflowing, tiny_model


@dataclass
class Images:
    """Random pictures with random labels."""

    count: int
    classes: int = 3

    @property
    def labels(self) -> list[int]:
        return [index * 7 % self.classes for index in range(self.count)]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        pixels = np.random.default_rng(index).integers(0, 256, (12, 12), np.uint8)
        return pixels, self.labels[index]


def test_evaluate_is_the_share_of_right_answers() -> None:
    packed, images = tiny_model(), Images(70)
    seen: list[tuple[int, int]] = []
    result = evaluate(Model(packed), images, packed.labels, batch=16, progress=lambda *step: seen.append(step))
    pixels = np.stack([images[i][0] for i in range(70)])[..., None]
    right = reference.run(packed, pixels).argmax(1) == np.array(images.labels)
    assert result.accuracy() == right.mean()
    assert result.images == 70
    assert seen == [(16, 70), (32, 70), (48, 70), (64, 70), (70, 70)]
    assert result.accuracy(top=3) == 1.0


def test_top_k_and_ties() -> None:
    logits = np.array([[1, 2, 3], [3, 2, 1], [1, 1, 0]], np.float32)
    result = Evaluation(logits, np.array([1, 2, 1]), seconds=1.0)
    assert result.accuracy() == 0
    assert result.accuracy(2) == pytest.approx(2 / 3)
    assert result.records()["images_per_second"] == 3


def test_what_each_class_is_taken_for() -> None:
    taken = [0, 0, 2, 1, 0, 0, 0, 1]
    truth = np.array([0, 0, 0, 0, 1, 1, 2, 1])
    result = Evaluation(np.eye(4, dtype=np.float32)[taken], truth, seconds=1.0)
    assert result.confusion().tolist() == [[2, 1, 1, 0], [2, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    _, records = per_class(result, "abcd")
    assert [tuple(record.values()) for record in records] == [
        ("a", 4, 0.5, "b", 1),  # as often for c: the lower class
        ("b", 3, 1 / 3, "a", 2),
        ("c", 1, 0.0, "a", 1),
        ("d", 0, None, None, 0),
    ]


def test_the_first_run_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that stands still but for the runs, of which the first takes 100 seconds, all others 1."""
    packed, now = tiny_model(), [0.0]
    model, run = Model(packed), Model.run

    def slow(self: Model, pixels: np.ndarray) -> np.ndarray:
        now[0] += 1.0 if now[0] else 100.0
        return run(self, pixels)

    monkeypatch.setattr(Model, "run", slow)
    monkeypatch.setattr("xnornet.evaluate.time.perf_counter", lambda: now[0])
    result = evaluate(model, Images(40), packed.labels, batch=16)
    assert (result.images, result.seconds) == (40, 3.0)


def test_the_speed_of_few_images_is_not_told() -> None:
    def line(images: int) -> str:
        logits = np.tile(np.array([[1.0, 0.0]], np.float32), (images, 1))
        return Evaluation(logits, np.zeros(images, np.int64), seconds=0.5).line(threads=2)

    assert line(499) == "engine: top-1 100.00% on 499 images, too few to tell the speed: `xnornet bench` does"
    assert line(500) == "engine: top-1 100.00% on 500 images, 1,000 images/s on 2 threads"


def test_other_classes_and_empty_data_are_refused() -> None:
    model = Model(tiny_model())
    with pytest.raises(DataError, match="2 classes"):
        evaluate(model, Images(3), ("cat", "dog"))
    with pytest.raises(DataError, match=r"class 1 is 'cow' in the data, 'dog' in the model; evaluate on"):
        evaluate(model, Images(3), ("cat", "cow", "größe"))
    with pytest.raises(DataError, match="class 0 is 'ca'"):  # a label begins with a whole word
        evaluate(model, Images(3), ("ca", "dog", "größe"))
    with pytest.raises(DataError, match="no images"):
        evaluate(model, Images(0), model.labels)


def test_logits_that_are_not_finite_are_refused() -> None:
    packed = overflowing()
    with pytest.raises(FormatError, match="logits are not finite"):
        evaluate(Model(packed), Images(3), packed.labels)
    with pytest.raises(FormatError, match="logits are not finite"):
        Model(packed).classify(np.full((12, 12), 255, np.uint8))


def _sign_of_pixel() -> PackedModel:
    """Two classes by the sign of one pixel less 0.5."""
    weight = np.array([[1.0], [-1.0]], np.float32)
    return PackedModel(
        ops=(
            ops.Affine(name="shift", inputs=("input",), bias=np.full(1, -0.5, np.float32)),
            ops.Sign(name="sign", inputs=("shift",)),
            ops.Affine(name="float", inputs=("sign",)),
            ops.Linear(name="last", inputs=("float",), weight=weight),
        ),
        preprocess=Preprocess(mode="L", size=(1, 1), mean=(0.0,), std=(1 / 255,)),  # pixels 0, 1, 2, ...
        labels=("a", "b"),
    )


def test_comparison_tells_ties_from_faults() -> None:
    pytest.importorskip("torch")
    from xnornet.convert.compare import compare

    class Pixel(Images):
        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            return np.full((1, 1), index, np.uint8), 0

    packed = _sign_of_pixel()
    labels = np.zeros(2, np.int64)
    engine = Evaluation(np.array([[1, -1], [1, -1]], np.float32), labels, 1.0)
    other = Evaluation(np.array([[1, -1], [-1, 1]], np.float32), labels, 1.0)
    assert compare(engine, engine, packed, Pixel(2)).same

    fault = compare(engine, other, packed, Pixel(2))  # image 1: the sign's input is 0.5, far from zero
    assert (fault.disagreements, fault.ties, fault.same) == (1, 0, False)

    near = ops.Affine(name="shift", inputs=("input",), bias=np.full(1, -1.0, np.float32))  # and now it is 0
    tied = PackedModel((near, *packed.ops[1:]), packed.preprocess, packed.labels)
    comparison = compare(engine, other, tied, Pixel(2))
    assert (comparison.disagreements, comparison.ties) == (1, 1)
