"""Sizes of the architectures, as published and as docs/models.md has them; and options that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from xnornet.convert import lower
from xnornet.models import MODELS, create, default_classes, image_size, options, size_of
from xnornet.summary import summarise

# (weights and biases, of these in layers that the method quantizes, multiply-accumulates), norms left out: spec of
# the paper, sections 4.2, 6.3, 7 and 12; BinaryConnect, section 3.3; the rest by hand from the layers' shapes.
PUBLISHED = {
    "alexnet": (62_378_344, 58_236_928, 1_135_256_096),
    "binarydensenet": (5_111_488 + 1000, 4_202_496, 3_789_867_520),
    "birealnet18": (11_679_912, 10_985_472, 1_814_073_344),
    "birealnet34": (21_780_648, 21_086_208, 3_663_761_408),
    "googlenet": (23_419_048, 22_384_640, 4_259_340_288),
    "meliusnet": (6_918_496 + 1000, 6_119_424, 4_760_608_768),
    "nin": (966_986, 949_248, 222_486_528),
    "quicknet": (13_223_424 + 1000, 12_533_760, 1_879_339_776),
    "quicknet_large": (23_324_160 + 1000, 22_634_496, 3_729_027_840),
    "quicknet_small": (12_646_016 + 1000, 11_980_800, 1_171_996_160),
    "reactnet": (29_278_048 + 1000, 28_253_184, 4_828_758_016),
    "reactnet18": (11_679_912, 10_985_472, 1_814_073_344),
    "resnet18": (11_679_912, 10_985_472, 1_814_073_344),
    "resnet20": (270_906, 267_264, 40_813_184),
    "resnet34": (21_780_648, 21_086_208, 3_663_761_408),
    "realtobinary18": (11_974_312, 10_985_472, 1_814_367_744),
    "small_convnet": (251_946, 239_616, 14_619_008),
    "vgg19": (143_667_240, 139_554_816, 19_632_062_464),
    "vgg_small": (14_022_026, 14_008_320, 616_966_144),
}


def test_every_architecture_has_a_published_size() -> None:
    assert sorted(PUBLISHED) == sorted(MODELS)


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_weights_and_operations_are_the_published_ones(name: str) -> None:
    weights, quantized, macs = PUBLISHED[name]
    for key in ("float", "bwn", "xnor"):
        found = size_of(name, key)
        assert found.macs == macs
        assert found.quantized_weights == (0 if key == "float" else quantized)
        with torch.device("meta"):
            network = create(name, key, num_classes=1000 if image_size(name) == 224 else 10)
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        assert sum(p.numel() for layer in layers for p in layer.parameters()) == weights
        assert sum(layer.weight.numel() for layer in layers) == found.weights


def test_resnet18_has_the_parameters_of_the_paper() -> None:
    """With its norms: 11,689,512 (spec of the paper, section 6.3)."""
    assert size_of("resnet18", "float").parameters == size_of("birealnet18", "float").parameters == 11_689_512
    assert (
        size_of("resnet34", "float").parameters == size_of("birealnet34", "float").parameters == 21_797_672
    )  # torchvision's


@pytest.mark.parametrize(
    ("name", "published"), [("quicknet", 13_234_088), ("quicknet_small", 12_655_688), ("quicknet_large", 23_342_248)]
)
def test_quicknets_have_the_parameters_that_larq_counts(name: str, published: int) -> None:
    """Larq counts the mean and variance of the one norm without slopes, but of no other norm."""
    few = options(name)["width"] // 4
    assert size_of(name, "float").parameters + 2 * few == published


@pytest.mark.parametrize(
    ("depth", "parameters", "rest", "macs"), [(28, 5.13, 19.0, 3.79), (37, 8.70, 31.9, 4.71), (45, 13.9, 49.7, 6.67)]
)
def test_binarydensenets_have_the_parameters_that_larq_counts(
    depth: int, parameters: float, rest: float, macs: float
) -> None:
    """In millions, thousands and billions; the rest, which does not train, are the norms' means and variances."""
    found = size_of("binarydensenet", "float", depth=depth)
    with torch.device("meta"):
        network = create("binarydensenet", depth=depth)
    statistics = sum(b.numel() for b in network.buffers() if b.dim())
    assert f"{found.parameters / 1e6:.3g}" == f"{parameters:.3g}"
    assert f"{statistics / 1e3:.3g}" == f"{rest:.3g}"
    assert f"{found.macs / 1e9:.3g}" == f"{macs:.3g}"


@pytest.mark.parametrize(("depth", "features"), [(22, 512), (29, 640), (42, 1056), (59, 1312)])
def test_features_of_meliusnets(depth: int, features: int) -> None:
    with torch.device("meta"):
        network = create("meliusnet", depth=depth)
    assert network.get_submodule("classifier").in_features == features


def test_memory_of_the_papers_figure_4() -> None:
    """In double precision and in bits, as its bars: 475 MB and 7.4 MB for AlexNet, 1 GB and 16 MB for VGG-19."""
    mib = 1 << 20
    alexnet, vgg = PUBLISHED["alexnet"][0], PUBLISHED["vgg19"][0]
    assert (round(8 * alexnet / mib, 1), round(alexnet / 8 / mib, 3)) == (475.9, 7.436)
    assert (round(8 * vgg / mib / 1024, 2), round(vgg / 8 / mib, 1)) == (1.07, 17.1)


@pytest.mark.parametrize(("name", "convolutions"), [("googlenet", 21), ("resnet18", 20), ("nin", 9), ("vgg19", 19)])
def test_numbers_of_convolutions(name: str, convolutions: int) -> None:
    with torch.device("meta"):
        network = create(name, "float")
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == convolutions


def maps(name: str, **more: int) -> list[int]:
    """Heights of the convolutions' outputs, in order."""
    with torch.device("meta"):
        network = create(name, "float", **more).eval()
        seen: list[int] = []
        for module in network.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
                module.register_forward_hook(lambda m, x, y: seen.append(y.shape[2]))
        network(torch.zeros(1, options(name)["in_channels"], image_size(name), image_size(name)))
    return seen


def test_sizes_of_the_maps() -> None:
    assert maps("alexnet") == [55, 27, 13, 13, 13, 1]
    assert maps("googlenet") == [112, 56, 28, 28, 14, 14, 14, 14, 14, 7, 7]
    assert maps("vgg_small") == [32, 32, 16, 16, 8, 8, 1]
    assert maps("vgg19") == 2 * [224] + 2 * [112] + 4 * [56] + 4 * [28] + 4 * [14] + [1]
    assert maps("nin") == [32, 16, 8]
    assert maps("resnet18") == [112] + 4 * [56] + 4 * [28] + 4 * [14] + 4 * [7]
    assert maps("resnet34") == [112] + 6 * [56] + 8 * [28] + 12 * [14] + 6 * [7]
    assert maps("birealnet34") == [112] + 6 * [56] + 8 * [28] + 12 * [14] + 6 * [7]
    assert maps("resnet20") == 7 * [32] + 6 * [16] + 6 * [8]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("alexnet", {"width": 0}, "model 'alexnet', width=0: needs a whole number, 1 or more"),
        ("alexnet", {"width": "wide"}, "width=wide: needs a whole number"),
        ("alexnet", {"relu": 1}, "relu=1: needs true or false"),
        ("alexnet", {"dropout": "much"}, "dropout=much: needs a number"),
        ("alexnet", {"image_size": 62}, "63 pixels or more, got image_size=62"),
        ("binarydensenet", {"depth": 29}, "depth=29; there are 28, 37, 45"),
        ("binarydensenet", {"width": 5}, "width=5: the channels of the stem, an even number"),
        ("meliusnet", {"depth": 23}, "depth=23; there are 22, 29, 42, 59"),
        ("meliusnet", {"width": 24}, "width=24: the channels of a stem in groups, a multiple of 16"),
        ("meliusnet", {"stem": "mnist"}, "unknown stem 'mnist'; there are imagenet, cifar"),
        ("nin", {"num_classes": 0}, "num_classes=0: needs a whole number, 1 or more"),
        ("quicknet", {"width": 6}, "width=6: the channels of the first section, a multiple of 4"),
        ("resnet18", {"stem": "mnist"}, "unknown stem 'mnist'; there are imagenet, cifar"),
        ("resnet18", {"stem": 3}, "stem=3: needs text"),
        ("vgg19", {"norm": False}, "method 'xnor' needs batch norms"),
        ("vgg19", {"image_size": 31}, "32 pixels or more, got image_size=31"),
        ("vgg_small", {"image_size": 7}, "8 pixels or more, got image_size=7"),
    ],
)
def test_bad_options_are_refused(name: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create(name, "xnor", **given)


def test_vgg19_without_norms_is_the_original() -> None:
    with torch.device("meta"):
        network = create("vgg19", "float", num_classes=1000, norm=False)
    assert sum(p.numel() for p in network.parameters()) == 143_667_240


def documented() -> dict[str, list[str]]:
    """Rows of the table of sizes in docs/models.md, by name."""
    text = (Path(__file__).parents[1] / "docs" / "models.md").read_text().partition("## Sizes")[2]
    cells = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")
    ]
    return {name: numbers for name, *numbers in cells}


def test_documented_sizes_are_right() -> None:
    rows = documented()
    assert sorted(rows) == sorted(MODELS)
    for name, (pixels, classes, *counts, _float, _bwn, _xnor) in rows.items():
        full, binary = size_of(name, "float"), size_of(name, "xnor")
        expected = (full.parameters, binary.quantized_weights, full.macs)
        assert (int(pixels), int(classes)) == (image_size(name), default_classes(name))
        assert counts == [*(f"{n:,}" for n in expected), f"{binary.quantized_macs / binary.macs:.1%}"]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(MODELS))
def test_documented_packed_files_are_right(name: str) -> None:
    side, channels = image_size(name), options(name)["in_channels"]
    for key, megabytes in zip(("float", "bwn", "xnor"), documented()[name][-3:], strict=True):
        network = create(name, key, num_classes=default_classes(name)).eval()
        packed = lower(network, torch.zeros(1, channels, side, side))
        assert f"{summarise(packed).file_bytes / 1e6:.2f}" == megabytes
