"""Packed files whose model documents are changed, with right checksums: what only a reader's own checks can refuse."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from xnornet import format

from .networks import tiny_model

Change = Callable[[Any], object]


def opened(data: bytes) -> tuple[dict[str, Any], Any, bytes]:
    """The header of a packed file, its model document, and the bytes of its tensors."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["model"]), data[8 + length :]


def sealed(
    header: dict[str, Any], document: Any, tensors: bytes, text: str = "", change: Callable[[bytes], bytes] = bytes
) -> bytes:
    """A file of these parts; `text` instead of the document's own, and the header's bytes changed."""
    header = {**header, "__metadata__": {**header["__metadata__"], "model": text or json.dumps(document)}}
    header["__metadata__"]["sha256"] = "0" * 64
    head = change(json.dumps(header, separators=(",", ":")).encode())
    head += b" " * (-len(head) % 8)
    raw = len(head).to_bytes(8, "little") + head + tensors
    return raw.replace(b'"sha256":"' + b"0" * 64, b'"sha256":"' + hashlib.sha256(raw).hexdigest().encode(), 1)


def with_document(change: Change) -> bytes:
    """`tiny_model`'s file, its document changed."""
    header, document, tensors = opened(format.dumps(tiny_model()))
    change(document)
    return sealed(header, document, tensors)


def odd_files() -> list[bytes]:
    """Files whose checksum is right and whose header no writer of ours makes."""
    header, document, tensors = opened(format.dumps(tiny_model()))
    twice = json.dumps(document)[:-1] + ', "labels": ["a", "b", "c"]}'
    name = next(name for name in header if name.endswith("conv2.weight"))
    square = {**header, name: {**header[name], "shape": [2, header[name]["shape"][0] // 2]}}
    labelled = {**document, "labels": ["cat", "dog", "XXXX"]}
    return [
        sealed(header, json.loads(json.dumps(document)), tensors, text=twice),
        sealed(square, document, tensors),
        sealed(header, labelled, tensors, change=lambda head: head.replace(b"XXXX", b"\xff\xfe\xfdQ")),
    ]


# What makes a model impossible, and what a message about it says.
CHANGES: list[tuple[Change, str]] = [
    (lambda d: d["ops"][0].update(kind="launch_missiles"), "unknown"),
    (lambda d: d["ops"][0].update(extra=1), "fields"),
    (lambda d: d["ops"][0].pop("inputs"), "fields"),
    (lambda d: d["ops"][1].update(inputs=["nowhere"]), "nowhere"),
    (lambda d: d["ops"][1].update(name=d["ops"][0]["name"]), "named"),
    (lambda d: d["ops"].pop(), "no op takes tensor"),
    (lambda d: d["ops"].clear(), "no op takes tensor"),
    (lambda d: d["labels"].pop(), "labels"),
    (lambda d: d["labels"].__setitem__(0, 3), "label"),
    (lambda d: d["preprocess"].update(size=[1, 1]), "pool2"),
    (lambda d: d["preprocess"].update(size=[12.5, 12]), "size"),
    (lambda d: d["preprocess"].update(mode="CMYK"), "CMYK"),
    (lambda d: d["preprocess"].update(std=[1e-50]), "not finite in float32"),
    (lambda d: d.update(preprocess=[]), "no valid model"),
    (lambda d: d["ops"][0].update(window=[]), "no valid model"),
    (lambda d: d["ops"][0].update(name="\ud800"), "surrogates"),
    (
        lambda d: d["ops"].append({"kind": "clamp", "name": "c", "inputs": [], "minimum": 10**400, "maximum": 1.0}),
        "18 digits",
    ),
    (lambda d: d["ops"][0]["window"].update(padding=[1 << 15] * 4), "too large"),
    (lambda d: d["preprocess"].update(std=[0.0]), "std"),
    (lambda d: d["ops"][0]["window"].update(stride=[0, 1]), "stride"),
    (lambda d: d["ops"][0]["window"].update(stride=[True, 1]), "int"),
    (lambda d: d["ops"][0]["window"].update(padding=[1, 1]), "padding"),
    (lambda d: d["ops"][0].update(groups=1.0), "int"),
    (lambda d: d["ops"][0]["weight"].update(tensor="no"), "no"),
    (lambda d: d.pop("ops"), "ops"),
    (
        lambda d: [op["weight"].update(bits=[1, 1, 1, 1]) for op in d["ops"] if "bits" in op.get("weight", {})],
        "bits",
    ),
    (lambda d: [op.update(padding_value=2) for op in d["ops"] if op["kind"] == "binary_conv2d"], "padding_value"),
    (lambda d: d.update(labels="abc"), "labels: 'abc' is not list"),
    (
        lambda d: [op.update(padding_value=1 << 32) for op in d["ops"] if op["kind"] == "binary_conv2d"],
        "padding_value",
    ),
    (lambda d: d["ops"].pop(-4), "flatten"),
]
