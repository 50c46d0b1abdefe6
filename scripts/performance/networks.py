"""The chapters on whole networks."""

from __future__ import annotations

from collections.abc import Sequence

from .beside import beside
from .measurements import Row, find, held_back, listed, number, read, times_of, unique, where
from .names import NETWORKS, TABLES


def networks() -> str:
    said = (
        "Whole networks of 1000 classes at 224 x 224 pixels with random weights.\n\n"
        "![Milliseconds an image in every engine](networks.svg)"
    )
    zen4 = "The same on Zen 4, whose cores carry out 512-bit instructions in two halves."
    xeon = (
        "The same on a Xeon with AMX, which its int8 peers use, and our first layer in fixed point. Its cores are "
        "shared with other machines, so that times vary, and are not to be compared with those of other tables."
    )
    bwn = (
        "Inputs of layers with binary weights rounded to 8 bits, as int8 peers round theirs, and their weights too: "
        'asked for by `activations="int8"` ([engine.md](engine.md)). On a Xeon that is shared with other machines.'
    )
    later = (
        "What came after the paper keeps real values in shortcuts around every binary convolution. QuickNet is what "
        "the authors of Larq Compute Engine made to be fast; ReActNet, on MobileNet's layout, has more than twice the "
        "weights of the others. Float peers run the same layout with real weights."
    )
    return "\n\n".join(
        [
            networks_of("networks.csv", "## Networks", said),
            networks_of("networks-zen4.csv", "## Networks on an older CPU", zen4),
            networks_of("networks-xeon.csv", "## Networks on a Xeon with AMX", xeon),
            networks_of("networks-bwn.csv", "## Binary weights with inputs of 8 bits", bwn),
            networks_of("networks-later.csv", "## Networks made to be binary", later),
        ]
    )


def networks_of(name: str, title: str, said: str) -> str:
    rows = read(name)
    parts = [title, said] if rows else []
    for isa, threads, batch in unique((row["isa"], row["threads"], row["batch"]) for row in rows):
        chosen = [r for r in rows if (r["isa"], r["threads"], r["batch"]) == (isa, threads, batch)]
        for names in TABLES:
            if cases := [name for name in names if any(row["case"] == name for row in chosen)]:
                title = f"### {listed([NETWORKS[c] for c in cases])}: {times_of(threads, batch)}, {isa} kernels"
                parts += [title, held_back(isa), beside(chosen, cases), where(r for r in chosen if r["case"] in cases)]
    parts.append(scaling(rows))
    return "\n\n".join(part for part in parts if part)


def scaling(rows: Sequence[Row]) -> str:
    """Two threads over one, and batches over single images, of ours."""
    lines = []
    for case, name in NETWORKS.items():
        one = find(
            [r for r in rows if r["threads"] == "1" and r["batch"] == "1" and r["isa"] != "avx2"], case, "xnornet"
        )
        two = find([r for r in rows if r["threads"] == "2" and r["batch"] == "1"], case, "xnornet")
        many = find([r for r in rows if r["threads"] == "1" and r["batch"] == "32"], case, "xnornet")
        if one and two:
            lines.append(f"* {name} on two threads: {number(one) / number(two):.2f}x as fast as on one.")
        if one and many:
            images = [1e3 * int(row["batch"]) / number(row) for row in (one, many)]
            lines.append(f"* {name}, images a second: {images[0]:.0f} one by one, {images[1]:.0f} in batches of 32.")
    return "\n".join(["### Threads and batches", "", *lines]) if lines else ""
