"""What architectures there are, for people and for programs: names, options, sizes."""

from __future__ import annotations

import logging
from dataclasses import asdict, fields
from typing import Any

from ..nn import Method
from ..nn import method as method_named
from ..terminal import FittedTable
from .registry import MODELS, default_classes, image_size, options
from .sizes import Size, size_of

__all__ = ["catalogue"]

_PLAIN = (str, int, float, type(None), list, tuple)
_SHOWN = ("parameters", "quantized_weights", "macs")
log = logging.getLogger("xnornet")


def catalogue(method: str | Method = "xnor") -> tuple[FittedTable, list[dict[str, Any]]]:
    """Every architecture as built by this method, for as many classes and pixels as it was published with.

    Returns:
        A table, and the same as records of name, what it is, image_size, num_classes, options with their defaults and
        the counts of `Size`; these are None, and blank in the table, for one of the user's own that cannot be built and
        run as it stands, which a warning says.

    Raises:
        ValueError: an unknown method.
    """
    method = method_named(method) if isinstance(method, str) else method
    records: list[dict[str, Any]] = []
    table = FittedTable(title=f"Architectures, method {method.name}")
    table.add_column("name", no_wrap=True)
    for heading in ("pixels", "classes", "parameters", "quantized", "MACs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("options")
    for name, architecture in MODELS.items():
        counts: dict[str, int | None] = dict.fromkeys(field.name for field in fields(Size))
        try:
            counts = asdict(size_of(name, method))
        except Exception as error:  # anything, out of code of the user's own
            log.warning("model '%s' cannot be counted: %s", name, str(error).partition("\n")[0] or type(error).__name__)
        known = {key: value if isinstance(value, _PLAIN) else repr(value) for key, value in options(name).items()}
        what = (architecture.__doc__ or "").strip().partition("\n")[0]
        records.append(
            {
                "name": name,
                "what": what,
                "image_size": image_size(name),
                "num_classes": default_classes(name),
                "options": known,
                **counts,
            }
        )
        table.add_row(
            name,
            *(f"{n:,}" for n in (image_size(name), default_classes(name))),
            *("" if n is None else f"{n / 1e6:,.2f} M" for n in map(counts.get, _SHOWN)),
            ", ".join(f"{key}={value}" for key, value in known.items()),
        )
    return table, records
