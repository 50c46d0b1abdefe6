"""A comparison's rows as a table and its curves as a picture, like the paper's tables 1 to 3 and figures 5 and 6."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bench.colours import FURTHER, METHODS
from ..bench.pyplot import pyplot
from ..bench.results import read_rows
from ..files import replacing
from ..train.recipes import recipe
from ..train.run import MAY_DIFFER
from .commands import changes_in
from .comparisons import Comparison, Line, Row
from .rows import Rows

__all__ = ["draw_curves", "markdown"]

UNTOLD = {*MAY_DIFFER, "epochs", "seed", "test_epochs"}  # of a command: told elsewhere, or nothing to a result


def markdown(compared: Comparison, rows: Sequence[Row]) -> str:
    """The table: mean of the seeds and their spread, the paper's numbers beside it; then how far lines are apart."""
    top5 = any(row["test_top5_engine"] for row in rows)
    paper = any(line.paper for line in compared.lines)
    short = any(row["short_of"] for row in rows)
    head = [
        compared.title,
        "top-1, %",
        *(["top-5, %"] if top5 else []),
        *(["paper's top-1 / top-5"] if paper else []),
        "seeds",
        "packed bytes",
        "smaller than float",
        "ms, engine",
        "ms, float PyTorch",
        *(["short of its recipe"] if short else []),
    ]
    lines = [head, ["---"] * len(head)]
    for line in compared.lines:
        mine = [row for row in rows if row["line"] == line.label]
        if not mine:
            lines.append([line.label, "not run", *[""] * (len(head) - 2)])
            continue
        cells = [line.label, _spread(mine, "test_top1_engine")]
        if top5:
            cells.append(_spread(mine, "test_top5_engine"))
        if paper:
            cells.append(" / ".join("-" if p is None else f"{p:g}" for p in line.paper) if line.paper else "")
        packed, float_ = int(mine[0]["packed_bytes"]), int(mine[0]["float_bytes"])
        times = [_median(mine, column) for column in ("engine_ms", "float_ms")]
        lacks = ["; ".join(sorted({str(row["short_of"]) for row in mine} - {""}))] if short else []
        lines.append([*cells, str(len(mine)), f"{packed:,}", f"{float_ / packed:.1f}x", *times, *lacks])
    return "\n\n".join([_table(lines), *_notes(compared, rows), *_differences(compared, rows)]) + "\n"


def _table(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _differences(compared: Comparison, rows: Sequence[Row]) -> list[str]:
    """A table of the pairs, where there are any: top-1 of the one less that of the other, seed by seed."""
    lines = []
    for first, second in compared.pairs:
        one, other = _top1_by_seed(rows, first), _top1_by_seed(rows, second)
        points = [one[seed] - other[seed] for seed in one if seed in other]
        a, b = compared.line(first).paper, compared.line(second).paper
        paper = f"{a[0] - b[0]:+.2f}" if a and b else ""
        if points:
            spread = f" ({min(points):+.2f} to {max(points):+.2f})" if len(points) > 1 else ""
            lines.append([first, second, f"{statistics.mean(points):+.2f}{spread}", paper, str(len(points))])
    if not lines:
        return []
    head = ["top-1 of", "less that of", "points", "the paper's", "seeds"]
    return [_table([head, ["---"] * len(head), *lines])]


def _notes(compared: Comparison, rows: Sequence[Row]) -> list[str]:
    notes = [
        "Top-1 of the packed file in the engine on the test split; mean and least to most over the seeds. "
        f"{_agreement(rows)} Times are for one image on one thread."
    ]
    if rows:
        hardware = "; ".join(sorted({str(row["trained_on"]) for row in rows}))
        notes.append(f"Trained on: {_settings(rows)}. Hardware: {hardware}.")
    if changed := _changed(rows):
        notes.append(f"Changed in all recipes: {' '.join(f'`{change}`' for change in changed)}.")
    if machines := sorted({str(row["times_machine"]) for row in rows if row.get("times_machine")}):
        notes.append(f"Milliseconds on: {'; '.join(machines)}.")
    if any(line.paper for line in compared.lines):
        notes.append(f"The paper's column: {compared.paper_data}.")
    return notes


def _settings(rows: Sequence[Row]) -> str:
    """Data and length of the runs."""
    return "; ".join(sorted({f"{row['data']}, {row['epochs']} epochs" for row in rows}))


def _changed(rows: Sequence[Row]) -> list[str]:
    """What all rows change in their recipes, but for how a run is carried out."""
    commands = [changes_in(row["command"]).items() for row in rows]
    return [
        f"{key}={value}"
        for key, value in (commands[0] if commands else ())
        if key not in UNTOLD and all((key, value) in command for command in commands)
    ]


def _agreement(rows: Sequence[Row]) -> str:
    held = [row for row in rows if row["disagreements"] != ""]  # whose networks were at hand in both forms
    differing, ties = (sum(int(row[column]) for row in held) for column in ("disagreements", "ties"))
    told = []
    if held:
        images = "1 image" if differing == 1 else f"{differing} images"
        told.append(
            f"Engine and PyTorch differ in the class of {images} in all, {ties} of them by a tie within float rounding."
            if differing
            else "Engine and PyTorch give every image the same class."
        )
    if others := sorted({str(row["line"]) for row in rows if row["disagreements"] == ""}):
        told.append(f"Not compared image by image: {'; '.join(others)}.")
    return " ".join(told)


def _top1_by_seed(rows: Sequence[Row], label: str) -> dict[str, float]:
    """Per cent."""
    return {str(row["seed"]): 100 * float(row["test_top1_engine"]) for row in rows if row["line"] == label}


def _spread(rows: Sequence[Row], column: str) -> str:
    values = [100 * float(row[column]) for row in rows]
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2f} to {max(values):.2f})"


def _median(rows: Sequence[Row], column: str) -> str:
    values = [float(row[column]) for row in rows if row[column]]
    return f"{statistics.median(values):.3g}" if values else ""


def draw_curves(compared: Comparison, results: Path, picture: Path) -> None:
    """Accuracy against epoch, a panel a network or method: test solid, with a band from the least to the most of the
    seeds; training dashed where lines are few. The legend has the lines best first, with the accuracy of the table.

    Args:
        results: folder of the comparison's rows and curves.

    Raises:
        UsageError: matplotlib is not installed.
    """
    plt = pyplot()
    files = Rows(results, compared.name)
    runs, curves = read_rows(files.table), read_rows(files.curves)
    drawn = {row["line"] for row in curves}
    panels = _panels([line for line in compared.lines if line.label in drawn])
    most_lines = max(map(len, panels.values()))
    many = most_lines > 5  # legends would lie on the curves, and training ones on those of the test
    figure, axes = plt.subplots(
        1,
        len(panels),
        figsize=(max(7, 5 * len(panels)), 4 + 0.2 * most_lines * many),
        constrained_layout=True,
        squeeze=False,
    )
    for (name, lines), axis in zip(panels.items(), axes[0], strict=True):
        axis.set_title(name, fontsize=9)
        _draw_panel(axis, runs, curves, lines, name, many=many)
    axes[0][0].set_ylabel("top-1, %")
    seeds = sorted({len({row["seed"] for row in curves if row["line"] == label}) for label in drawn})
    count = " to ".join(map(str, sorted({seeds[0], seeds[-1]}))) if seeds else "0"
    band = "; bands and bars: least to most" if count != "1" else ""
    parts = "test" if many else "test (solid), training (dashed)"
    trained = f"{settings}; " if (settings := _settings([row for row in runs if row["line"] in drawn])) else ""
    figure.suptitle(f"{compared.title}\n{trained}{parts}, {count} seed{'s' * bool(band)}{band}", fontsize=9)
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    plt.close(figure)


def _panels(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Lines by what stands before the comma of their labels, the network say, where all have one; or by recipe, named
    after its first line, where each has several; else all in one.
    """
    by_label: dict[str, list[Line]] = {}
    by_recipe: dict[str, list[Line]] = {}
    for line in lines:
        by_label.setdefault(line.label.partition(", ")[0], []).append(line)
        by_recipe.setdefault(line.recipe, []).append(line)
    if lines and all(", " in line.label for line in lines):
        return by_label
    if len(by_recipe) > 1 and min(map(len, by_recipe.values())) > 1:
        return {f"{group[0].label} and its variants": group for group in by_recipe.values()}
    return {"": list(lines)}


def _colours(lines: Sequence[Line]) -> list[Any]:
    """A method's own; darker where the line is taught; others where something else is changed in it, or a line before
    has the method's."""
    further = iter(FURTHER)
    found: list[Any] = []
    for line in lines:
        own: Any = METHODS.get(line.overrides.get("method", recipe(line.recipe).method))
        if own is not None and line.teacher:
            own = tuple(int(own[at : at + 2], 16) / 255 * 0.55 for at in (1, 3, 5))
        found.append(next(further) if own is None or own in found or line.overrides.keys() - {"method"} else own)
    return found


_FEW = 6  # epochs that were tested: points, between which lines say nothing


def _draw_panel(
    axes: Any, runs: Sequence[Row], curves: Sequence[Row], lines: Sequence[Line], name: str, *, many: bool
) -> None:
    """Draw the curves of some lines; where they are many, those of the test alone, taught lines dashed, and the legend
    below."""
    ends = {}
    tests: dict[str, list[float]] = {}
    most = 0.0
    for index, (line, colour) in enumerate(zip(lines, _colours(lines), strict=True)):
        for part, style in (("test_top1", "-"), *([] if many else [("train_top1", "--")])):
            found: dict[int, list[float]] = {}  # seeds' accuracies by epoch; not every epoch is tested
            for row in curves:
                if row["line"] == line.label and row[part]:
                    found.setdefault(int(row["epoch"]), []).append(100 * float(row[part]))
            if not found:
                continue
            epochs = sorted(found)
            by_epoch = [found[epoch] for epoch in epochs]
            means = [statistics.mean(values) for values in by_epoch]
            most = max(most, *means)
            is_test, width = part == "test_top1", 1.6 if part == "test_top1" else 0.7
            few = is_test and len(epochs) <= _FEW
            # Bands between so few points would hide each other: bars, side by side.
            beside = (index - (len(lines) - 1) / 2) * 0.007 * (epochs[-1] - epochs[0]) * few
            at = [epoch + beside for epoch in epochs]
            shape = {"linestyle": (0, (5, 2)) if many and line.teacher else style, "marker": "o" * few, "markersize": 4}
            (drawn,) = axes.plot(at, means, color=colour, linewidth=width, **shape)
            if is_test:
                tests[line.label] = means
                ends[line.label] = drawn
                lows, highs = [min(values) for values in by_epoch], [max(values) for values in by_epoch]
                if few:
                    axes.vlines(at, lows, highs, color=colour, linewidth=1.2)
                else:
                    axes.fill_between(epochs, lows, highs, color=colour, alpha=0.12, linewidth=0)
    below = _far_below({label: means[-1] for label, means in tests.items()})
    low = _lowest([means for label, means in tests.items() if label != below])
    axes.set(xlabel="epoch", xlim=(None if many else 1, None), ylim=(max(0, low - 5), min(100, most + 2)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    shown = {label: _accuracy(runs, label, means[-1]) for label, means in tests.items()}
    best_first = sorted(shown, key=lambda label: shown[label], reverse=True)
    labels = [
        f"{label.removeprefix(f'{name}, ')}: {shown[label]:.2f}{', below the axis' * (label == below)}"
        for label in best_first
    ]
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)} if many else {"loc": "best"}
    axes.legend([ends[label] for label in best_first], labels, fontsize=8, **place)


def _accuracy(runs: Sequence[Row], label: str, last: float) -> float:
    """Per cent, as the table has it: the engine's. The curve's last where no run is through."""
    return statistics.mean(_top1_by_seed(runs, label).values() or [last])


def _far_below(ends: Mapping[str, float]) -> str | None:
    """The line that would squeeze several others, all nearer to each other than to it."""
    ordered = sorted(ends, key=lambda label: ends[label])
    if len(ordered) < 4 or ends[ordered[1]] - ends[ordered[0]] <= ends[ordered[-1]] - ends[ordered[1]]:
        return None
    return ordered[0]


def _lowest(tests: Sequence[Sequence[float]]) -> float:
    """Where curves are once their first epochs, which would squeeze the rest, are over; their ends are always seen."""
    values = sorted(value for means in tests for value in means)
    return min(values[len(values) // 10], *(means[-1] for means in tests)) if tests else 0.0
