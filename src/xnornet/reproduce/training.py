"""The runs of a comparison: train, pack, evaluate in torch and in the engine, one row each."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from typing import Any

import torch

from ..bench.networks import bench_file
from ..bench.provenance import machine, revision
from ..convert.compare import compare, torch_evaluation
from ..convert.from_checkpoint import pack_checkpoint
from ..cpus import cores
from ..data import open_dataset
from ..engine import Model
from ..errors import UsageError, XnornetError
from ..evaluate import evaluate
from ..summary import summarise
from ..termination import exit_on_sigterm
from ..train.checkpoint import Record, load_module, load_record
from ..train.recipes import recipe as recipe_named
from ..train.run import MAY_DIFFER, train
from .commands import changes_in, command_of
from .comparisons import Comparison, Line, Row
from .processes import RunProcess
from .rows import Rows

__all__ = ["make_run", "reproduce"]

PACKED = "model.safetensors"  # beside a run's checkpoint
_ROUNDS = 3  # in which all networks are timed


def reproduce(
    compared: Comparison,
    *,
    data: str | None = None,
    out: Path,
    results: Path,
    seeds: Sequence[int] = (),
    overrides: Mapping[str, str] | None = None,
    jobs: int = 1,
    new: bool = True,
    times: bool = True,
    report: Callable[[str], None] = lambda line: print(line + "\n", end="", flush=True),
) -> Generator[Row, None, None]:
    """Make all runs of a comparison, seed by seed, line by line.

    Runs that have a row in ``results/NAME.csv`` are skipped, interrupted ones resumed. Lines of several comparisons
    that train the same share the run, if `out` is the same. Runs in processes of their own end, with a checkpoint, when
    this generator is closed or this process ends; SIGTERM then raises SystemExit.

    Args:
        data: of `xnornet train`; None: the recipes'.
        out: folder of the run folders.
        results: folder of ``NAME.csv``, one row a run, and ``NAME-curves.csv``, one row an epoch of each run.
        seeds: instead of the comparison's; each counts once.
        overrides: of all recipes.
        jobs: runs at once, where more than one each in a process of its own with its share of the cores: one small
            network leaves a large GPU idle half of the time, and two cores, each with a network of its own, are a
            little faster than both with one. What they print goes into ``train.log`` of the run folder.
        new: make the runs that have no row yet.
        times: measure milliseconds an image, once all runs are done, of those that have none yet.
        report: says what begins and, of runs at once, how each epoch went.

    Yields:
        The rows, old and new, as they are there; again where times come in, after each round of them.

    Raises:
        UsageError: an override is what a line differs from the others by, or the seed.
        UsageError: there are rows of runs with other values or on other data, and new ones are to be made.
        UsageError, DataError, TrainingError: as `xnornet.train.train`; with several jobs when all others are done.
    """
    _check_overrides(compared, overrides or {})
    runs = _Runs(compared, data, out, results, overrides or {}, jobs, report)
    wanted = [(line, seed) for seed in dict.fromkeys(seeds or compared.seeds) for line in compared.lines]
    wanted = [run for run in wanted if new or runs.rows.of(*run) is not None]
    if new:
        runs.check(wanted)
    rows: list[Row] = []
    # One by one in this thread, the main one, which is where an interruption arrives.
    made = runs.at_once(wanted, jobs) if jobs > 1 else (runs.row(*run) for run in wanted)
    with contextlib.closing(made):
        for row in made:
            rows.append(row)
            yield row
    if times:
        yield from runs.timed(rows)


def _check_overrides(compared: Comparison, overrides: Mapping[str, str]) -> None:
    """They are the same for all lines, and leave each what it is. Raises UsageError."""
    if "seed" in overrides:
        raise UsageError(f"seed={overrides['seed']}: give --seeds {overrides['seed']}")
    for line in compared.lines:
        own = {**line.overrides, **({"teacher": line.teacher} if line.teacher else {})}
        for key in ("method", "model"):  # the lines' recipes are other networks, or train by other methods
            values = {getattr(recipe_named(other.recipe), key) for other in compared.lines}
            if key in overrides and len(values) > 1:
                own.setdefault(key, getattr(recipe_named(line.recipe), key))
        for key in overrides.keys() & own.keys():
            raise UsageError(
                f"{key}={overrides[key]}: '{line.label}' of '{compared.name}' is the line with {key}={own[key]}; leave "
                f"the option out, or choose other lines by --only"
            )


_Job = tuple[Line, str | None, Path, dict[str, str]]  # the line, the data, the run folder, what changes in the recipe


class _Runs:
    """Makes rows, from several threads at once, and keeps them in the results."""

    def __init__(
        self,
        compared: Comparison,
        data: str | None,
        out: Path,
        results: Path,
        overrides: Mapping[str, str],
        jobs: int,
        report: Callable[[str], None],
    ) -> None:
        self.compared = compared
        self.data = data
        self.out = out
        self.rows = Rows(results, compared.name)
        self.overrides = overrides
        self.jobs = jobs
        self.report = report
        self._processes: set[RunProcess] = set()

    def folder(self, line: Line, seed: int) -> Path:
        """Of the run: named by what is trained."""
        changed = [f"-{key}-{value}" for key, value in line.overrides.items()] + ["-taught"] * bool(line.teacher)
        return self.out / f"{_file_name(line.recipe + ''.join(changed))}-seed{seed}"

    def changes(self, line: Line, seed: int) -> dict[str, str]:
        """What the run changes in its recipe, but for its teacher."""
        return {**line.overrides, **self.overrides, "seed": str(seed)}

    def check(self, wanted: Sequence[tuple[Line, int]]) -> None:
        """Rows that there are must come from runs like those that are wanted: a table compares. Raises UsageError."""
        for line, seed in wanted:
            if (row := self.rows.of(line, seed)) is None:
                continue
            recipe = recipe_named(line.recipe)
            was, wants = (recipe.override(c) for c in (changes_in(row["command"]), self.changes(line, seed)))
            # Data by its name, as it may have moved; so may a teacher, which is a line of its own.
            values = [("data", _data_name(row["data"]), _data_name(self.data or wants.data))] + [
                (key, getattr(was, key), getattr(wants, key))
                for key in vars(was).keys() - MAY_DIFFER - {"data", "teacher"}
            ]
            for key, old, asked in values:
                if old != asked:
                    raise UsageError(
                        f"{self.rows.table} has a run of '{line.label}', seed {seed}, with {key}={old}, not {asked}: "
                        "give another --results, or the same values, or --no-new to show what there is"
                    )

    def row(self, line: Line, seed: int, teacher: Future[Row] | None = None) -> Row:
        """Of a run: the one there is, or a new one, which waits for its teacher."""
        if (known := self.rows.of(line, seed)) is not None:
            return known
        if teacher is not None:
            teacher.result()
        name = f"{line.label}, seed {seed}"
        self.report(name)
        folder = self.folder(line, seed)
        what = (line, self.data, folder, {**self.changes(line, seed), **self._teacher(line, seed)})
        row, history = make_run(*what) if self.jobs == 1 else self._apart(name, folder, what)
        self.rows.put(row, history)
        return row

    def at_once(self, wanted: Sequence[tuple[Line, int]], jobs: int) -> Generator[Row, None, None]:
        """Rows as they are there; the first error, when all others are done. Interrupted, it ends the processes."""
        failed: list[XnornetError] = []
        with exit_on_sigterm(), ThreadPoolExecutor(jobs) as pool:
            begun: dict[tuple[str, int], Future[Row]] = {}
            for line, seed in wanted:
                begun[line.label, seed] = pool.submit(self.row, line, seed, begun.get((line.teacher, seed)))
            try:
                for future in as_completed(begun.values()):
                    if isinstance(error := future.exception(), XnornetError):
                        failed.append(error)
                    else:
                        yield future.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                while unfinished := [future for future in begun.values() if not future.done()]:
                    for process in list(self._processes):  # again and again: one may just be starting
                        process.end()
                    wait(unfinished, timeout=0.1)
                raise
        if failed:
            raise failed[0]

    def _apart(self, name: str, folder: Path, what: _Job) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """`make_run` in a process of its own; the lines of its epochs are reported as they come."""
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "train.log"
        log.touch()
        with log.open() as lines, RunProcess(what, max(1, cores() // self.jobs), log) as process:
            self._processes.add(process)
            lines.seek(0, os.SEEK_END)  # behind what an interrupted run printed
            done = False
            while not done:
                done = process.done(timeout=0.5)
                for line in lines:
                    if line.startswith("epoch"):
                        self.report(f"{name}: {line.rstrip()}")
            self._processes.discard(process)
            made: tuple[dict[str, Any], list[dict[str, Any]]] = process.result()
            return made

    def timed(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Those rows that had no milliseconds an image and whose packed network is at hand: medians of `_ROUNDS`, in
        which they take turns, since machines are slower now and then. Yields them after each round."""
        names = {line.label: line for line in self.compared.lines}
        packed = [(row, self.folder(names[row["line"]], int(row["seed"])) / PACKED) for row in rows]
        untimed = [(row, path) for row, path in packed if not row.get("engine_ms") and path.exists()]
        taken: list[list[dict[str, float | None]]] = [[] for _ in untimed]
        about = {"times_machine": machine(), "times_commit": revision()}
        columns = (("engine_ms", "xnornet"), ("float_ms", "torch"))
        for _ in range(_ROUNDS):
            for times, (row, path) in zip(taken, untimed, strict=True):
                times.append({record.implementation: record.median_ms for record in bench_file(path, seconds=0.5)})
                row = {**row, **{column: _median_ms(times, name) for column, name in columns}, **about}
                self.rows.put(row)
                yield row

    def _teacher(self, line: Line, seed: int) -> dict[str, str]:
        """The checkpoint of the line that teaches this one, which comes earlier. Raises UsageError."""
        if not line.teacher:
            return {}
        teacher = next(other for other in self.compared.lines if other.label == line.teacher)
        path = self.folder(teacher, seed) / "last.ckpt"
        if not path.exists() or load_record(path).epoch < int(load_record(path).recipe["epochs"]):
            raise UsageError(f"{path}: the teacher of '{line.label}' is missing or not trained to its end")
        return {"teacher": str(path)}


def _data_name(data: str) -> str:
    """What a row calls the data that is given with ``--data``: the last part of a folder or of a name on the hub."""
    return Path(data.removeprefix("hf:")).name


def make_run(
    line: Line, data: str | None, folder: Path, changes: Mapping[str, str]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train, pack and evaluate: the row of the run, and those of its epochs. Raises as `xnornet.train.train`."""
    commit = revision()  # of the code as it is when the run begins
    result = train(line.recipe, data=data, out=folder, resume=(folder / "last.ckpt").exists(), overrides=changes)
    return _row(line, result.checkpoint, commit, command_of(line.recipe, data, changes))


def _row(line: Line, checkpoint: Path, commit: str, command: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The row of a finished run, and those of its epochs."""
    packed = pack_checkpoint(checkpoint, checkpoint.with_name(PACKED))
    module, record = load_module(checkpoint)
    data = open_dataset(str(record.recipe["data"]))
    split = data.split("test")
    engine = evaluate(Model(packed, threads=cores()), split, data.class_names)
    on_gpu = torch.cuda.is_available()
    torch_ = torch_evaluation(module, split, packed, device="cuda" if on_gpu else "cpu")
    against = compare(engine, torch_, packed, split)
    top5 = {
        f"test_top5_{name}": f"{evaluation.accuracy(5):.4f}" if len(packed.labels) > 5 else ""
        for name, evaluation in (("torch", torch_), ("engine", engine))
    }
    sizes = summarise(packed)
    seconds = max(record.train_seconds, 1e-9)
    row = {
        "line": line.label,
        "recipe": record.recipe["name"],
        "method": record.method,
        "model": record.model,
        "model_options": " ".join(f"{k}={v}" for k, v in record.model_options.items()),
        "data": _data_name(data.name),
        "epochs": record.epoch,
        "seed": record.recipe["seed"],
        "images_seen": record.images_seen,
        "test_images": against.images,
        "test_top1_torch": f"{against.top1_torch:.4f}",
        "test_top1_engine": f"{against.top1_engine:.4f}",
        **top5,
        "disagreements": against.disagreements,
        "ties": against.ties,
        "packed_bytes": sizes.file_bytes,
        "float_bytes": sizes.float_bytes,
        "engine_ms": "",
        "float_ms": "",
        "times_machine": "",
        "times_commit": "",
        "train_seconds": f"{seconds:.1f}",
        "train_images_per_second": f"{record.images_seen / seconds:.0f}",
        "trained_on": torch.cuda.get_device_name() if on_gpu else machine(),
        "torch": record.versions["torch"],
        "short_of": _short_of(record),
        "commit": commit,
        "command": command,
    }
    return row, [{"line": row["line"], "seed": row["seed"], **epoch} for epoch in record.history]


def _short_of(record: Record) -> str:
    """What tells the run from its recipe: fewer epochs or images, smaller photos, another network, other beginnings."""
    full = recipe_named(str(record.recipe["name"]))
    parts = [f"{record.epoch} of {full.epochs} epochs"] if record.epoch < full.epochs else []
    if begun := record.recipe["init_from"]:
        parts.append(f"begun with {Path(str(begun)).name}")
    if record.recipe["limit_train"]:
        parts.append(f"{record.recipe['limit_train']} images")
    if record.preprocess.size != full.preprocess.size:
        parts.append(f"{record.preprocess.size[0]} pixels, not {full.preprocess.size[0]}")
    options = record.recipe["model_options"]
    changed = [f"{key} {value}" for key, value in options.items() if full.model_options.get(key) != value]
    return ", ".join([*parts, *changed])


def _median_ms(times: Sequence[Mapping[str, float | None]], implementation: str) -> str:
    found = [ms for round_ in times if (ms := round_.get(implementation)) is not None]
    return f"{statistics.median(found):.4f}" if found else ""


def _file_name(label: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in label.lower()).strip("-")
