"""What the benchmarks of this folder share on their command lines."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from xnornet.errors import XnornetError

__all__ = ["add_models", "run"]

RESULTS = Path(__file__).resolve().parent / "results"


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def run(
    main: Callable[[argparse.Namespace], None],
    about: str | None,
    add: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
) -> None:
    """Measure with the options of the command line, among them the folder `results`.

    Args:
        about: what is measured and how long that takes.
        add: adds arguments of its own.
    """
    parser = Parser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = "where the CSV files are written (default: benchmarks/results)"
    parser.add_argument("--results", metavar="FOLDER", type=Path, default=RESULTS, help=folder)
    add(parser)
    options = parser.parse_args()
    try:
        main(options)
    except (XnornetError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{parser.prog}: {error}")


def add_models(parser: argparse.ArgumentParser) -> None:
    """Arguments MODEL=DATA: pairs of text, `given`."""
    trained = "a packed file or a published model, and data of its classes, as --data of `xnornet train`"
    parser.add_argument("given", metavar="MODEL=DATA", nargs="*", type=_model_and_data, help=trained)


def _model_and_data(text: str) -> tuple[str, str]:
    model, equals, data = text.partition("=")
    if not model or not equals or not data:
        raise argparse.ArgumentTypeError(f"'{text}' is not MODEL=DATA")
    return model, data
