"""The chapter on what binary layers cost in training."""

from __future__ import annotations

from .measurements import heading, line, read, short, unique, where


def training() -> str:
    rows = read("training_cost.csv")
    if not rows:
        return ""
    precisions = {"32-true": "float32", "bf16-mixed": "bfloat16"}
    heads = ["case, batch", "method", *(f"ms a step, {name}" for name in precisions.values())]
    heads += [*(f"float's over its, {name}" for name in precisions.values()), "bytes kept, of float's"]
    lines = [heading(heads)]
    found = {(row["case"], row["device"], row["compiled"], row["method"], row["precision"]): row for row in rows}
    for case, device, compiled, method in unique(key[:-1] for key in found):
        both = [found[case, device, compiled, method, precision] for precision in precisions]
        place = "" if device == "cpu" else f", {device}{', compiled' * (compiled == 'True')}"
        cells = [*(short(row["step_ms"]) for row in both), *(short(row["speed_vs_float"]) for row in both)]
        lines.append(line([f"{case}{place}, {both[0]['batch']}", method, *cells, short(both[0]["kept_vs_float"])]))
    text = (
        "A training step, forward and backward, of binary layers beside the float ones: blocks of ResNet-18, and whole "
        "networks for 32 x 32 pixels. What the forward pass keeps for the backward one is counted in float32."
    )
    return "\n\n".join(["## Cost of training", text, "\n".join(lines), where(rows)])
