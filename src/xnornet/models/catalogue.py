"""What architectures there are, for people and for programs: names, options, sizes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..nn import Method
from ..terminal import FittedTable
from .registry import MODELS, default_classes, image_size, options
from .sizes import size_of

__all__ = ["catalogue"]


def catalogue(method: str | Method = "xnor") -> tuple[FittedTable, list[dict[str, Any]]]:
    """Every architecture as built by this method, for as many classes and pixels as it was published with.

    Returns:
        A table, and the same as records of name, what it is, image_size, num_classes, options with their defaults and
        the counts of `Size`.

    Raises:
        ValueError: an unknown method.
    """
    records: list[dict[str, Any]] = []
    table = FittedTable(title=f"Architectures, method {method if isinstance(method, str) else method.name}")
    table.add_column("name", no_wrap=True)
    for heading in ("pixels", "classes", "parameters", "quantized", "MACs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("options")
    for name, architecture in MODELS.items():
        size = size_of(name, method)
        what = (architecture.__doc__ or "").strip().partition("\n")[0]
        records.append(
            {
                "name": name,
                "what": what,
                "image_size": image_size(name),
                "num_classes": default_classes(name),
                "options": options(name),
                **asdict(size),
            }
        )
        table.add_row(
            name,
            *(f"{n:,}" for n in (image_size(name), default_classes(name))),
            *(f"{n / 1e6:,.2f} M" for n in (size.parameters, size.quantized_weights, size.macs)),
            ", ".join(f"{key}={value}" for key, value in options(name).items()),
        )
    return table, records
