"""Verbs that measure: times, figures of the paper, and tables of whole trainings."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import StoppedError, UsageError
from ..terminal import console, print_json, show, status_line
from .app import FILE, AsJson, Threads, complain, given_words, refuse
from .words import located, need_training_extra, numbers_of, overrides_of


def bench(
    context: typer.Context,
    file: Annotated[Path | None, FILE] = None,
    batch: Annotated[int, typer.Option(min=1, help="Images a run.")] = 1,
    threads: Threads = 1,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="Time spent on each implementation.")] = 2.0,
    layer: Annotated[
        list[str] | None, typer.Option(metavar="SPEC", help="Time this layer beside the peers; may be repeated.")
    ] = None,
    net: Annotated[
        str | None, typer.Option(metavar="NAME", help="Time this architecture, random weights, in every engine.")
    ] = None,
    peers: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Only these implementations, separated by commas; or 'none'.")
    ] = None,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="Time each op of the packed model.")] = False,
    list_kernels: Annotated[bool, typer.Option("--list-kernels", help="List this CPU's kernel sets.")] = False,
    as_json: AsJson = False,
) -> int:
    """Time a packed model beside the same network in 32-bit PyTorch, or layers and architectures beside all peers.

    The status is 1 where our own engine gives no time.

    Example: `xnornet bench --layer 3x3:256x14x14:256`
    """
    from ..bench import tables

    given = given_words(context)
    if per_layer:
        refuse(given, "--per-layer", ("FILE", "--batch", "--threads"))
    elif benched := [name for name in ("FILE", "--layer", "--net", "--list-kernels") if name in given]:
        refuse(given, benched[0], () if list_kernels else ("--batch", "--threads", "--seconds", "--peers"))
    names = None if peers is None else [name for name in map(str.strip, peers.split(",")) if name not in ("", "none")]
    packed = None if file is None else located(file)
    with status_line() as progress:
        if list_kernels:
            table = tables.kernels()
        elif net is not None:
            table = tables.architecture(
                net, threads=threads, batch=batch, seconds=seconds, peers=names, progress=progress
            )
        elif layer:
            table = tables.single_layers(
                layer, threads=threads, batch=batch, seconds=seconds, peers=names, progress=progress
            )
        elif packed is None:
            raise UsageError("bench needs a FILE, --layer, --net or --list-kernels")
        elif per_layer:
            table = tables.layers(packed, threads=threads, batch=batch)
        else:
            table = tables.networks(
                packed, threads=threads, batch=batch, seconds=seconds, peers=names, progress=progress
            )
    show(table, as_json)
    return int(any(record.get("implementation") == "xnornet" and record["median_ms"] is None for record in table[1]))


def reproduce(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="WHAT", help="fig1, fig4, table1, table2, table3, resnet18, cifar10, ablation, fashion."
        ),
    ],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Change all recipes.")] = None,
    results: Annotated[Path | None, typer.Option(help="Folder of CSV files; default: runs/WHAT.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder of pictures; default: as --results.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Figures: time spent on each implementation.")
    ] = 0.75,
    data: Annotated[str | None, typer.Option(help="Tables: as for train; default: the recipes'.")] = None,
    seeds: Annotated[str, typer.Option(metavar="N,N,...", help="Tables: seeds of the runs; default: 0,1,2.")] = "",
    epochs: Annotated[int | None, typer.Option(min=1, help="Tables; default: the recipes'.")] = None,
    out: Annotated[Path | None, typer.Option(help="Tables: folder of the run folders; default: runs/tables.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Tables: lines that hold TEXT; repeat.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Tables: runs at once, to fill a large GPU.")] = 1,
    new: Annotated[bool, typer.Option("--new/--no-new", help="Tables: make the runs that are missing.")] = True,
    times: Annotated[bool, typer.Option(help="Tables: measure milliseconds an image at the end.")] = True,
    as_json: AsJson = False,
) -> None:
    """Measure what a figure of the paper shows, or train all lines of a table, and put ours beside the paper's.

    What is done is not done again and an interrupted run goes on, so the same command carries on after a stop.

    Example: `xnornet reproduce table1 --data imagenet --seeds 0`
    """
    from ..bench.figures import FIGURES
    from ..bench.pyplot import need_matplotlib
    from ..reproduce.comparisons import COMPARISONS

    if what not in (known := (*FIGURES, *COMPARISONS)):
        raise UsageError(f"unknown figure or table '{what}'; there are {', '.join(known)}")
    folder = results if results is not None else Path("runs") / what
    shown = pictures if pictures is not None else folder
    given = given_words(context)
    if what not in FIGURES:
        refuse((name for name in given if name == "--seconds"), what, ())
        changes = overrides_of([*(overrides or []), *([] if epochs is None else [f"epochs={epochs}"])])
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # see `train`
        need_training_extra()
        from ..reproduce.table import make

        how: dict[str, Any] = {"data": data, "seeds": numbers_of(seeds), "overrides": changes, "only": only or ()}
        how |= {"out": out or Path("runs/tables"), "jobs": jobs, "new": new, "times": times}
        interrupted = f"reproduce {what} was interrupted; the same command goes on where it stopped"
        try:
            # Standard output is for the result alone, where a program reads it.
            with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
                text, rows = make(what, results=folder, pictures=shown, **how)
        except StoppedError as error:
            raise StoppedError(interrupted) from error
        except (KeyboardInterrupt, SystemExit):
            complain(interrupted)
            raise
        if as_json:
            print_json(rows)
        else:
            console.print(text, soft_wrap=True)
        return
    refuse(given, what, ("WHAT", "--results", "--pictures", "--seconds"))
    need_matplotlib()
    from ..bench.figures import reproduce as run
    from ..bench.plots import draw

    with status_line() as progress:
        table = run(what, folder, seconds=seconds, progress=progress)
    drawn = draw(what, folder, shown)
    show(table, as_json)
    if not as_json:
        console.print(f"drawn: {', '.join(map(str, drawn))}", soft_wrap=True)
