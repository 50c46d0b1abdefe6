"""What is compared: lines of a table, each a recipe and what it changes, beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import UsageError

__all__ = ["COMPARISONS", "Comparison", "Line", "Row", "comparison"]

Row = Mapping[str, Any]  # of a run, by column
Accuracy = tuple[float, float | None]  # top-1 and top-5, per cent


@dataclass(frozen=True)
class Line:
    """One line of a table.

    Attributes:
        label: as printed.
        recipe: of `xnornet train`.
        overrides: of the recipe.
        paper: what the paper reports, on its own data; None: nothing.
        teacher: label of an earlier line whose network, of the same seed, this one learns from; empty: none.
    """

    label: str
    recipe: str
    overrides: Mapping[str, str] = field(default_factory=dict)
    paper: Accuracy | None = None
    teacher: str = ""


@dataclass(frozen=True)
class Comparison:
    """Lines that differ in one thing, so that their results can be compared.

    Attributes:
        name: as on the command line.
        title: of the table.
        lines: in the table's order.
        paper_data: what the paper's numbers were measured on, and by whom.
        seeds: of the runs.
        pairs: labels of lines of which the first should be better, or as good.
    """

    name: str
    title: str
    lines: tuple[Line, ...]
    paper_data: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)
    pairs: tuple[tuple[str, str], ...] = ()

    def line(self, label: str) -> Line:
        """The line of a label. Raises KeyError."""
        return {line.label: line for line in self.lines}[label]

    def only(self, words: Sequence[str]) -> Comparison:
        """The lines whose label is one of the words, or holds one that is no label, and their teachers.

        Raises:
            UsageError: there are none.
        """
        labels = [line.label for line in self.lines]
        chosen = [
            line for line in self.lines if any(w == line.label or (w not in labels and w in line.label) for w in words)
        ]
        if not chosen:
            raise UsageError(f"no line of '{self.name}' holds {' or '.join(words)}; there are {'; '.join(labels)}")
        needed = {line.label for line in chosen} | {line.teacher for line in chosen}
        return replace(
            self,
            lines=tuple(line for line in self.lines if line.label in needed),
            pairs=tuple(pair for pair in self.pairs if needed.issuperset(pair)),
        )


_IMAGENET = "the paper's, on ImageNet (ILSVRC 2012)"
_BWN, _XNOR = (56.8, 79.4), (44.2, 69.2)  # AlexNet; in tables 1 and 3

COMPARISONS = {
    c.name: c
    for c in (
        Comparison(
            "fashion",
            "Small network on fashion-mnist-mini",
            (
                Line("float", "fashion-float"),
                Line("BWN, binary weights", "fashion-bwn"),
                Line("XNOR, binary weights and inputs", "fashion-xnor"),
            ),
            pairs=(("BWN, binary weights", "float"), ("XNOR, binary weights and inputs", "float")),
        ),
        Comparison(
            "cifar10",
            "CIFAR-10",
            (
                Line("VGG, float", "cifar10-vgg-float"),
                Line("VGG, BWN", "cifar10-vgg-bwn", paper=(90.12, None)),
                Line("VGG, BinaryConnect", "cifar10-vgg-binaryconnect", paper=(90.10, None)),
                Line("VGG, XNOR-Net", "cifar10-vgg-xnor", paper=(89.83, None)),
                Line("VGG, BinaryNet", "cifar10-vgg-bnn", paper=(89.85, None)),
                Line("VGG, XNOR-Net, taught by float", "cifar10-vgg-xnor", teacher="VGG, float"),
                Line("VGG, XNOR-Net in the order C-B-A-P", "cifar10-vgg-xnor", {"method": "xnor-cbap"}),
                Line("VGG, BWN, learned scale", "cifar10-vgg-bwn", {"method": "bwn-learned"}),
                Line("ResNet-18, float", "cifar10-resnet18-float"),
                Line("ResNet-18, Bi-Real", "cifar10-resnet18-bireal"),
                Line("ResNet-18, Bi-Real, taught by float", "cifar10-resnet18-bireal", teacher="ResNet-18, float"),
                Line("ResNet-18, Real-to-Binary", "cifar10-realtobinary18-bireal"),
                Line("ResNet-18, BWN", "cifar10-resnet18-bwn"),
                Line("ResNet-18, XNOR-Net", "cifar10-resnet18-xnor"),
            ),
            "on CIFAR-10: the paper's for BWN and XNOR-Net, their authors' for the baselines",
            pairs=(
                ("VGG, BWN", "VGG, float"),
                ("VGG, BWN", "VGG, BinaryConnect"),
                ("VGG, XNOR-Net", "VGG, BinaryNet"),
                ("VGG, XNOR-Net, taught by float", "VGG, XNOR-Net"),
                ("VGG, XNOR-Net", "VGG, XNOR-Net in the order C-B-A-P"),
                ("VGG, BWN", "VGG, BWN, learned scale"),
                ("ResNet-18, Bi-Real", "ResNet-18, float"),
                ("ResNet-18, Bi-Real", "ResNet-18, XNOR-Net"),
                ("ResNet-18, Bi-Real, taught by float", "ResNet-18, Bi-Real"),
                ("ResNet-18, Real-to-Binary", "ResNet-18, float"),
                ("ResNet-18, Real-to-Binary", "ResNet-18, Bi-Real"),
            ),
        ),
        Comparison(
            "ablation",
            "CIFAR-10, the VGG-like network: one part of the method changed, the rest of the recipe as it is",
            (
                Line("XNOR-Net", "cifar10-vgg-xnor"),
                Line("with K", "cifar10-vgg-xnor", {"input_scale": "k"}),
                Line("with K and the gradient through it", "cifar10-vgg-xnor", {"input_scale": "k-gradient"}),
                Line("learned scale", "cifar10-vgg-xnor", {"method": "xnor-learned"}),
                Line("BinaryNet's layers: no scale", "cifar10-vgg-xnor", {"method": "bnn"}),
                Line("centred filters, the released code's gradient", "cifar10-vgg-xnor", {"method": "xnor-code"}),
                Line("gradients of one bit", "cifar10-vgg-xnor", {"method": "xnor-binary-gradient"}),
                Line("Bi-Real Net's gradients", "cifar10-vgg-xnor", {"method": "bireal"}),
                Line("IR-Net's weights and gradients", "cifar10-vgg-xnor", {"method": "irnet"}),
                Line("BWN", "cifar10-vgg-bwn"),
                Line("BinaryConnect's layers: no scale", "cifar10-vgg-bwn", {"method": "binaryconnect"}),
            ),
            pairs=(
                ("with K", "XNOR-Net"),
                ("with K and the gradient through it", "XNOR-Net"),
                ("learned scale", "XNOR-Net"),
                ("BinaryNet's layers: no scale", "XNOR-Net"),
                ("centred filters, the released code's gradient", "XNOR-Net"),
                ("gradients of one bit", "XNOR-Net"),
                ("Bi-Real Net's gradients", "XNOR-Net"),
                ("IR-Net's weights and gradients", "XNOR-Net"),
                ("BinaryConnect's layers: no scale", "BWN"),
            ),
        ),
        Comparison(
            "table1",
            "Table 1: AlexNet",
            (
                Line("BWN", "imagenet-alexnet-bwn", paper=_BWN),
                Line("BinaryConnect", "imagenet-alexnet-binaryconnect", paper=(35.4, 61.0)),
                Line("XNOR-Net", "imagenet-alexnet-xnor", paper=_XNOR),
                Line("BinaryNet", "imagenet-alexnet-bnn", paper=(27.9, 50.42)),
                Line("full precision", "imagenet-alexnet-float", paper=(56.6, 80.2)),
            ),
            _IMAGENET,
            pairs=(("BWN", "full precision"), ("BWN", "BinaryConnect"), ("XNOR-Net", "BinaryNet")),
        ),
        Comparison(
            "table2",
            "Table 2: ResNet-18 and the GoogLeNet variant",
            (
                Line("ResNet-18, BWN", "imagenet-resnet18-bwn", paper=(60.8, 83.0)),
                Line("ResNet-18, XNOR-Net", "imagenet-resnet18-xnor", paper=(51.2, 73.2)),
                Line("ResNet-18, full precision", "imagenet-resnet18-float", paper=(69.3, 89.2)),
                Line("GoogLeNet variant, BWN", "imagenet-googlenet-bwn", paper=(65.5, 86.1)),
                Line("GoogLeNet variant, full precision", "imagenet-googlenet-float", paper=(71.3, 90.0)),
            ),
            _IMAGENET,
            pairs=(
                ("ResNet-18, BWN", "ResNet-18, full precision"),
                ("ResNet-18, XNOR-Net", "ResNet-18, full precision"),
                ("GoogLeNet variant, BWN", "GoogLeNet variant, full precision"),
            ),
        ),
        Comparison(
            "resnet18",
            "ResNet-18 with 1-bit weights and inputs: the paper's block, later ones, and a teacher",
            (
                Line("full precision", "imagenet-resnet18-float", paper=(69.3, 89.2)),
                Line("XNOR-Net", "imagenet-resnet18-xnor", paper=(51.2, 73.2)),
                Line("XNOR-Net, taught", "imagenet-resnet18-xnor", teacher="full precision"),
                Line("Bi-Real Net", "imagenet-resnet18-bireal"),
                Line("Bi-Real Net, taught", "imagenet-resnet18-bireal", teacher="full precision"),
                Line("ReActNet", "imagenet-resnet18-reactnet"),
                Line("ReActNet, taught", "imagenet-resnet18-reactnet", teacher="full precision"),
                Line("Real-to-Binary Net", "imagenet-realtobinary18-bireal"),
                Line("QuickNet", "imagenet-quicknet-quicknet"),
                Line("ReActNet on MobileNet's layout", "imagenet-reactnet-reactnet"),
                Line("BinaryDenseNet", "imagenet-binarydensenet-quicknet"),
                Line("MeliusNet", "imagenet-meliusnet-quicknet"),
            ),
            _IMAGENET,
            pairs=(
                ("XNOR-Net", "full precision"),
                ("XNOR-Net, taught", "full precision"),
                ("Bi-Real Net", "full precision"),
                ("Bi-Real Net, taught", "full precision"),
                ("ReActNet", "full precision"),
                ("ReActNet, taught", "full precision"),
                ("XNOR-Net, taught", "XNOR-Net"),
                ("Bi-Real Net, taught", "Bi-Real Net"),
                ("ReActNet, taught", "ReActNet"),
                ("Real-to-Binary Net", "full precision"),
                ("Real-to-Binary Net", "Bi-Real Net"),
                ("QuickNet", "full precision"),
                ("QuickNet", "Bi-Real Net"),
                ("BinaryDenseNet", "full precision"),
                ("BinaryDenseNet", "Bi-Real Net"),
                ("MeliusNet", "full precision"),
                ("MeliusNet", "Bi-Real Net"),
            ),
        ),
        Comparison(
            "table3",
            "Table 3: AlexNet, how the scale is found, and the order of a block",
            (
                Line("BWN, scale by eq. 6", "imagenet-alexnet-bwn", paper=_BWN),
                Line("BWN, learned scale", "imagenet-alexnet-bwn", {"method": "bwn-learned"}, (46.2, 69.5)),
                Line("XNOR-Net, C-B-A-P", "imagenet-alexnet-xnor", {"method": "xnor-cbap"}, (30.3, 57.5)),
                Line("XNOR-Net, B-A-C-P", "imagenet-alexnet-xnor", paper=_XNOR),
            ),
            _IMAGENET,
            pairs=(("BWN, scale by eq. 6", "BWN, learned scale"), ("XNOR-Net, B-A-C-P", "XNOR-Net, C-B-A-P")),
        ),
    )
}


def comparison(name: str) -> Comparison:
    """Look a comparison up. Raises UsageError for an unknown name."""
    if name not in COMPARISONS:
        raise UsageError(f"unknown comparison '{name}'; there are {', '.join(COMPARISONS)}")
    return COMPARISONS[name]
