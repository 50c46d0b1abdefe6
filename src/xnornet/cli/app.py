"""The command itself: what its verbs share, and how it ends. Each verb imports what it needs when it runs, so that
none waits for torch in vain.

Exit status: 0 done; 1 it failed; 2 wrong use; 130 or 143 it was told to end, by Ctrl-C or SIGTERM. Errors are one line;
XNORNET_DEBUG=1 shows the traceback.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from .. import __version__
from ..errors import StoppedError, UsageError, XnornetError
from ..extensions import ENVIRONMENT, import_extensions
from ..terminal import console, visible

__all__ = [
    "FILE",
    "ActivationsName",
    "AsJson",
    "IsaName",
    "PackedFile",
    "StemName",
    "Threads",
    "Verb",
    "app",
    "complain",
    "given_words",
    "refuse",
    "run",
]


class _BareFlags:
    """Shows flags without the type that typer gives them, which invites `--json true`."""

    def get_params(self, ctx: Any) -> Any:
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
        return parameters


class Verb(_BareFlags, typer.core.TyperCommand):
    """One verb."""


class _Verbs(_BareFlags, typer.core.TyperGroup):
    """Says what an interruption says, before typer makes a bare status of it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            complain(str(error))
            raise


app = typer.Typer(
    cls=_Verbs,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train convolutional networks with 1-bit weights and inputs, pack them, run them on a CPU.",
)

Threads = Annotated[int, typer.Option(min=1, max=1024, help="CPU threads.")]
IsaName = Annotated[
    str | None, typer.Option("--isa", metavar="NAME", help="Kernel set (bench --list-kernels); default: the best here.")
]
StemName = Annotated[
    str | None,
    typer.Option("--stem", metavar="NAME", help="First layer of pixels: float, or, faster, fixed or integer."),
]
ActivationsName = Annotated[
    str | None,
    typer.Option("--activations", metavar="NAME", help="Real inputs of 1-bit weights: float, or, faster, int8."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
FILE = typer.Argument(metavar="FILE", help="A packed model (.safetensors), or the name of a published one.")
PackedFile = Annotated[Path, FILE]


def run() -> None:
    """Run a verb, turn errors into one line and a status."""
    for name in ("stdout", "stderr"):  # None where the shell closed it (>&-): what is written goes nowhere
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):  # file names may hold bytes that are no text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    log = logging.getLogger("xnornet")
    if not log.handlers:
        log.addHandler(logging.StreamHandler())
        log.handlers[0].setFormatter(_LogLine())
    warnings.showwarning = lambda message, *_, **__: complain(f"warning: {message}")
    warnings.filterwarnings("ignore", module="PIL")  # odd but readable images; the unreadable are reported by us
    try:
        _refuse_empty(sys.argv[1:])
        status = app(standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except typer.TyperException as error:
        complain(error.format_message() + _value_of(error) + _as_key(error))
        sys.exit(2)
    except (XnornetError, OSError, MemoryError) as error:
        if os.environ.get("XNORNET_DEBUG"):
            raise
        complain(_one_line(error))
        sys.exit(143 if isinstance(error, StoppedError) else 2 if isinstance(error, UsageError) else 1)
    sys.exit(status if isinstance(status, int) else 0)


class _LogLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return f"xnornet: {visible(record.getMessage())}"


def complain(message: str) -> None:
    if message:  # empty where the help was shown instead, or nothing is to be said of Ctrl-C
        # At once: several processes may have to say it.
        print(f"xnornet: {visible(message)}\n", end="", file=sys.stderr)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'standard output'}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory ({' '.join(str(error).split()) or 'it ran out'}); give less at once, or free some"
    return " ".join(str(error).split())


def _refuse_empty(words: list[str]) -> None:
    """Raises UsageError: an empty word would be taken for the current folder, say."""
    for number, word in enumerate(words, 1):
        if not word or (word.startswith("--") and word.endswith("=")):
            what = word if word else f"word {number} of the command"
            raise UsageError(f"{what} is empty; is a variable of the shell not set? Leave it out, or give a value")


def _value_of(error: typer.TyperException) -> str:
    """What was given for an option that is refused, where the message does not say so."""
    names = getattr(getattr(error, "param", None), "opts", ())
    given = ""
    for word, following in pairwise([*sys.argv[1:], ""]):
        if word in names:
            given = following
        elif word.partition("=")[0] in names:
            given = word.partition("=")[2]
    return f", got '{given}'" if given and given not in error.format_message() else ""


def _as_key(error: typer.TyperException) -> str:
    """How to give what a recipe knows and the command does not, as --lr 0.1."""
    from ..train.recipes.fields import Recipe

    key = str(getattr(error, "option_name", "")).lstrip("-").partition("=")[0].replace("-", "_")
    return f"; of a recipe, give {key}=VALUE" if key in Recipe.__dataclass_fields__ else ""


@app.callback(invoke_without_command=True)
def _global(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            metavar="MODULE",
            help="Before the verb: import a module with methods, models or recipes of your own; may be repeated.",
        ),
    ] = None,
) -> None:
    if version:
        console.print(f"xnornet {__version__}")
        raise typer.Exit
    if modules:
        named = ",".join([os.environ.get(ENVIRONMENT, ""), *modules]).split(",")
        os.environ[ENVIRONMENT] = ",".join(dict.fromkeys(name.strip() for name in named if name.strip()))
    import_extensions()
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


def given_words(context: typer.Context) -> list[str]:
    """What the command line gives of a verb's arguments and options, as its help names them."""
    given = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            is_option = parameter.param_type_name == "option"
            names = (*parameter.opts, *parameter.secondary_opts) if is_option else (getattr(parameter, "metavar", ""),)
            given.append("/".join(names))
    return given


def refuse(given: Iterable[str], beside: str, taken: Iterable[str]) -> None:
    """Nothing but what is taken may stand beside a word: it would be ignored. Raises UsageError."""
    if ignored := [name for name in given if name not in (beside, "--json", *taken)]:
        raise UsageError(f"{beside} does not go with {' and '.join(ignored)}")
