"""The chapter on what is faster than ours."""

from __future__ import annotations

from .measurements import find, number, read, times_of, unique
from .names import NAMES, NETWORKS, SAME


def limits() -> str:
    """Every case in which a peer, or another form of ours, is faster than our binary network or layer."""
    found = []
    xeon = dict.fromkeys(("networks-xeon.csv", "networks-bwn.csv", "networks-later.csv", "larq.csv"), ", Xeon")
    others = {"networks-zen4.csv": ", Zen 4", **xeon}
    for name in ("networks.csv", *others, "layers.csv", "depthwise.csv", "fig4.csv"):
        rows = read(name)
        kinds = unique((r["isa"], r["case"], r["threads"], r["batch"]) for r in rows)
        for isa, case, threads, batch in (kind for kind in kinds if kind[0] != "portable"):  # told beside its table
            chosen = [r for r in rows if (r["isa"], r["threads"], r["batch"]) == (isa, threads, batch)]
            ours = find(chosen, case, "xnornet")
            theirs = [r for r in chosen if r["case"] == case and r["implementation"] not in SAME]
            winners = [r for r in theirs if ours and r["median_ms"] and round(number(ours) / number(r), 2) > 1]
            if winners and ours:
                said = ", ".join(
                    f"{NAMES[r['implementation']]} by {number(ours) / number(r):.2f}x"
                    for r in sorted(winners, key=number)
                )
                where_ = f"{NETWORKS.get(case, case)} ({times_of(threads, batch)}, {isa}{others.get(name, '')})"
                found.append(f"* {where_}: {said}")
    parts = ["## Where something else is faster"]
    if found:
        said = (
            "But for kernels held back to plain C++, above: every peer that is faster than our binary layer or network "
            "by a hundredth or more"
        )
        parts += [
            f"{said}, and our own forms in float32 and with binary weights alone (BWN):",
            "\n".join(unique(found)),
        ]
    else:
        parts.append(
            "No peer is faster than our binary layer or network by a hundredth or more, nor a form of our own."
        )
    parts.append(
        "Small work is bound by packing and by the call. Binary networks lose accuracy that int8 mostly keeps: look at "
        "both before you choose."
    )
    return "\n\n".join(parts)
