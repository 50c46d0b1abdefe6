"""The chapter on Larq Compute Engine, which is timed in an environment of its own."""

from __future__ import annotations

from .beside import remarks
from .measurements import faster, find, heading, line, ms, read, unique, where
from .names import NAMES, NETWORKS


def larq() -> str:
    rows = read("larq.csv")
    if not rows:
        return ""
    said = (
        "The same networks and layers, converted by its own converter, on one thread. It is made for ARM, where it was "
        "not timed: on x86-64 it has portable kernels alone, which its documentation calls not optimised; its indirect "
        "ones are timed here. Zero padding keeps it from writing bits at once, and it has no dense layer of bits: a "
        "1 x 1 convolution stands for that. The machine is shared: Larq Compute Engine runs the same in both tables, "
        "and its times differ by up to about two, so take the ratios for their size."
    )
    plain = (
        "Ours held back to plain C++ too, with which it runs on CPUs without AVX2. That holds for the float layers as "
        "well, which Larq Compute Engine has in SIMD. OpenVINO would not be held back:"
    )
    parts = ["## Beside Larq Compute Engine", said]
    names = ("openvino-binary", "larq")
    for isa in unique(row["isa"] for row in rows):
        chosen = [row for row in rows if row["isa"] == isa]
        shown = [name for name in names if any(row["implementation"] == name for row in chosen)]
        lines = [
            heading(["ms", "**xnornet**, XNOR", *(cell for name in shown for cell in (NAMES[name], "times ours"))])
        ]
        for case in unique(row["case"] for row in chosen):
            we, they = find(chosen, case, "xnornet"), [find(chosen, case, name) for name in shown]
            cells = [cell for row in they for cell in (ms(row), faster(row, we))]
            lines.append(line([NETWORKS.get(case, case), ms(we), *cells]))
        parts += [plain if isa == "portable" else "", "\n".join(lines) + remarks(chosen), where(chosen)]
    return "\n\n".join(part for part in parts if part)
