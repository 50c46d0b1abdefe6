"""Accuracy of an evaluation class by class, and what each class is taken for. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .evaluate import Evaluation
from .terminal import FittedTable

__all__ = ["per_class"]


def per_class(evaluation: Evaluation, labels: Sequence[str]) -> tuple[FittedTable, list[dict[str, Any]]]:
    """A line a class: a table, and the same as records.

    Args:
        labels: names of the classes.
    """
    table = FittedTable(title="Top-1 of each class", title_justify="left")
    for heading in ("class", "images", "top-1", "most often taken for"):
        table.add_column(heading, justify="right" if heading in ("images", "top-1") else "left")
    records = []
    for index, row in enumerate(evaluation.confusion()):
        images, right = int(row.sum()), int(row[index])
        row[index] = 0
        wrong = int(row.argmax())  # the lower class of several
        times = int(row[wrong])
        record = {
            "class": labels[index],
            "images": images,
            "top1": right / images if images else None,
            "taken_for": labels[wrong] if times else None,
            "times": times,
        }
        records.append(record)
        share = f"{record['top1']:.2%}" if images else ""
        table.add_row(labels[index], f"{images:,}", share, f"{labels[wrong]} ({times:,})" if times else "")
    return table, records
