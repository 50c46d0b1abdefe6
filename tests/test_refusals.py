"""What cannot be packed is refused in a line that names module, operator and remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from xnornet import FormatError, Preprocess, UnsupportedError, format

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from xnornet.convert import lower  # noqa: E402
from xnornet.nn import BinaryConv2d  # noqa: E402
from xnornet.nn.functional import feature_scale, sign  # noqa: E402

from .conversion import settle_norms  # noqa: E402


class Refused(nn.Module):
    """A module whose `block.inner` does what the test wants."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()

        class Inner(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return function(x)

        self.block = nn.ModuleDict({"inner": Inner()})
        self.last = nn.LazyLinear(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.block["inner"](x).flatten(1))
        return out


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: F.max_pool2d(x.relu(), 2).sign(), "aten.sign.*of what was cut off at 0, where 0 is common"),
        (lambda x: F.conv2d(sign(x), torch.ones(2, 1, 2, 2)).sgn(), "aten.sgn.*of a sum of signs"),
        (lambda x: (F.conv2d(sign(x), torch.ones(2, 1, 2, 2)) * 0.1).sign_(), "aten.sign_.*xnornet.nn.functional"),
        (torch.cos, "aten.cos.*replace it by one of"),
        (lambda x: x * F.elu(F.adaptive_avg_pool2d(x, 1)), "aten.elu.*use ReLU, PReLU, LeakyReLU or SiLU"),
        (lambda x: x * x.amax(3, keepdim=True), "aten.mul.*as many pixels or one"),
        (lambda x: (x > 0).float(), "aten.gt.*use xnornet.nn.functional.sign"),
        (lambda x: x[:, :, 0], "aten.select.*a part of a value.*of one pixel"),
        (lambda x: F.adaptive_max_pool2d(x, 1), r"aten.adaptive_max_pool2d.*x.amax\(\(2, 3\)\)"),
        (lambda x: x + torch.arange(64.0).reshape(1, 1, 8, 8), "constant of shape"),
        (lambda x: x + torch.randn(1), "aten.randn.*a random number"),
        (lambda x: F.dropout(x, 0.5), "training=self.training"),
        (lambda x: x.transpose(2, 3), "aten.transpose"),
        (lambda x: F.pad(x, (1, 1, 1, 1), value=2.0), "padding with 2.0"),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), r"padding of mode 'reflect' .*padding_mode='zeros'"),
        (lambda x: F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 2), "padding in front of it"),
        (lambda x: F.avg_pool2d(x, 3, 2, padding=1, ceil_mode=True), "ceil_mode that counts padding"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=3), "divisor_override"),
        (lambda x: x / 0.0, "aten.div.*division by 0"),
        (lambda x: x / float("inf"), "aten.div.*infinity, or nearly so"),
        (lambda x: (x * 1j).real, "aten.mul.*with such arguments"),
        (lambda x: x.lerp(x, 0.5), "aten.lerp.*replace it by one of"),
        (lambda x: x[:1] + x, "aten.slice.*a part of a value"),
        (lambda x: F.conv2d(torch.ones(2, 1, 8, 8), x.amax((2, 3), keepdim=True)[:, :, 0:, 0:]), "input is a constant"),
        (lambda x: F.linear(torch.ones(2, 1), x.mean((2, 3))), "aten.linear.*input is a constant"),
        (lambda x: x * torch.full((1,), 1 / len(x)), r"aten.full.default with \[0.5\] for two images"),
        (lambda x: x.relu() * float("nan"), "aten.mul"),
        (lambda x: F.batch_norm(x, None, None, training=True), "track running stats.*not in a plain list"),
        (lambda x: 1 / x, "(reciprocal|div)"),
        (lambda x: torch.sub(x, x, alpha=2), "alpha"),
        (lambda x: x.double().float(), "a conversion to torch.float64.*float32"),
        (lambda x: x.softmax(1), "return the logits"),
        (lambda x: F.adaptive_avg_pool2d(x, 3), "divides"),
        (lambda x: x.mean(1, keepdim=True), "mean over dimensions"),
        (lambda x: x.reshape(1, -1, 8, 8), "change of shape"),
        (lambda x: torch.add(x, x, alpha=2), "alpha"),
        (lambda x: F.linear(x, torch.ones(8, 8)), "flatten"),
        (lambda x: F.batch_norm(x, torch.zeros(1), -torch.ones(1)), "running variance below 0"),
        (lambda x: x.amax(1, keepdim=True), "amax over dimensions"),
        (lambda x: torch.cat([x, x], 2), "concatenation along dimension 2"),
        (lambda x: torch.cat([x, torch.ones(2, 1, 8, 8)], 1), "concatenation with a constant"),
        (lambda x: F.conv2d(x.flatten(2), torch.ones(1, 2, 1, 1)), "convolution of a flattened map"),
        (lambda x: F.adaptive_avg_pool2d(x.flatten(2), 1), "pool before flattening"),
        (
            lambda x: x / x.size(0),
            r"aten.div.Tensor with \[2\] for two images, .* with \[3\] for three .*x.size.0. out",
        ),
        (lambda x: (x + 1) * (1 / len(x)), r"aten.mul.Tensor with \[0.5\] for two images"),
        (
            lambda x: x.relu() + 1 if len(x) == 2 else x + 1,
            r"aten.relu.default with \[\] for two images, aten.add",
        ),
    ],
)
def test_refusals_name_module_operator_and_remedy(function: Callable[[torch.Tensor], torch.Tensor], words: str) -> None:
    net = Refused(function)
    net(torch.zeros(2, 1, 8, 8))
    with pytest.raises(UnsupportedError, match=words) as caught:
        lower(net, torch.zeros(1, 1, 8, 8))
    message = str(caught.value)
    assert "block.inner" in message
    assert "operator aten." in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x / torch.tensor(float(len(x))),
        lambda x: x * torch.tensor([1 / len(x)]),
        lambda x: x + 1 if len(x) == 2 else (x + 1).relu(),
        lambda x: x[: len(x)] + x,
    ],
)
def test_the_number_of_images_is_no_constant(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    net = Refused(function)
    net(torch.zeros(2, 1, 8, 8))
    with pytest.raises(UnsupportedError, match=r"keep x.size\(0\) out of the arithmetic|a part of a value"):
        lower(net, torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("persistent", [True, False])
def test_what_a_forward_pass_keeps_for_the_next(persistent: bool) -> None:
    class Counting(nn.Module):
        steps: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("steps", torch.zeros(()), persistent=persistent)
            self.register_buffer("mask", torch.tensor([True, False]))
            self.last = nn.Linear(64, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.steps.add_(1)
            out: torch.Tensor = self.last(x.flatten(1) * (self.steps / 10).clamp(max=1))
            return out

    with pytest.raises(UnsupportedError, match="'steps' changes with every forward pass, in eval mode too"):
        lower(Counting(), torch.zeros(1, 1, 8, 8))


def test_what_a_checkpoint_keeps_beside_tensors_is_no_hindrance() -> None:
    class Noted(nn.Flatten):
        def get_extra_state(self) -> dict[str, str]:
            return {"made": "today"}

        def set_extra_state(self, state: dict[str, str]) -> None:
            pass

    assert lower(nn.Sequential(Noted(), nn.Linear(64, 3)), torch.zeros(1, 1, 8, 8)).labels == ("0", "1", "2")


def test_a_part_compiled_by_jit_is_named() -> None:
    net = nn.Sequential(nn.Flatten(), torch.jit.script(nn.Linear(64, 3)))
    with pytest.raises(UnsupportedError, match="module '1': a RecursiveScriptModule is compiled by torch.jit"):
        lower(net, torch.zeros(1, 1, 8, 8))


def test_padded_logits_are_refused() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 8), nn.ZeroPad2d(1))
    with pytest.raises(UnsupportedError, match="expected logits"):
        lower(net, torch.zeros(1, 1, 8, 8))


def test_other_refusals() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    image = torch.zeros(1, 1, 8, 8)
    with pytest.raises(UnsupportedError, match="channels, height, width"):
        lower(linear, torch.zeros(64))
    with pytest.raises(UnsupportedError, match="5 channels"):
        lower(linear, torch.zeros(1, 5, 4, 4))
    with pytest.raises(UnsupportedError, match="preprocess yields"):
        lower(linear, image, preprocess=Preprocess(mode="L", size=(9, 8)))
    with pytest.raises(UnsupportedError, match=r"example_input has shape \[1, 8, 8, 1\]; give both alike"):
        lower(linear, torch.zeros(1, 8, 8, 1), preprocess=Preprocess(mode="L", size=(8, 8)))
    with pytest.raises(UnsupportedError, match="2 labels for 3 classes"):
        lower(linear, image, labels=["a", "b"])
    for labels in ({0: "a", 1: "b", 2: "c"}, "abc"):
        with pytest.raises(UnsupportedError, match=f"labels is a {type(labels).__name__}; give a list of names"):
            lower(linear, image, labels=labels)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="a str is no torch.nn.Module.*xnornet pack"):
        lower("last.ckpt", image)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="logits"):
        lower(nn.Conv2d(1, 3, 3), image)
    with pytest.raises(UnsupportedError, match="give another example_input"):
        lower(nn.Linear(3, 3), image)  # does not even run
    with pytest.raises(UnsupportedError, match="logits"):
        lower(nn.Identity(), image)
    with pytest.raises(UnsupportedError, match="ndarray"):
        lower(linear, image.numpy())  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="cannot be copied"):
        lower(nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), image)
    scaled = Refused(lambda x: x * feature_scale(x))
    scaled(image)
    with pytest.raises(UnsupportedError, match="feature scale of an image"):
        lower(scaled, image)
    with pytest.raises(UnsupportedError, match="another order"):
        lower(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), image)  # torch counts channels first
    with pytest.raises(FormatError, match="JSON"):
        format.dumps(lower(linear, image, provenance={"loss": float("nan")}))
    with pytest.raises(FormatError, match="over the limit"):
        format.dumps(lower(linear, image, provenance={"history": "x" * format.MAX_HEADER}))
    with pytest.raises(FormatError, match="label 0 is a int"):
        replace(lower(linear, image), labels=(0, 1, 2))
    assert lower(linear, image, labels=range(3)).labels == ("0", "1", "2")  # type: ignore[arg-type]

    class Region(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu"):
                return linear(x)

    with pytest.raises(UnsupportedError, match=r"take .*autocast.* out of forward"):
        lower(Region(), image)

    class Two(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x + 1

    with pytest.raises(UnsupportedError, match="one tensor"):
        lower(Two(), image)


@pytest.mark.parametrize("where", ["weight", "running_var", "bias"])
def test_a_network_that_diverged_is_refused(where: str) -> None:
    """Signs of NaN, and thresholds out of it, would look like any others."""
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), BinaryConv2d(8, 8, 3), nn.Flatten(), nn.LazyLinear(2))
    settle_norms(net, (1, 8, 8))
    part: torch.Tensor = net[1].running_var if where == "running_var" else getattr(net[2], where)
    with torch.no_grad():
        part.view(-1)[3] = float("nan")
    with pytest.raises(UnsupportedError, match=rf"'\d.{where}' holds NaN.*earlier checkpoint"):
        lower(net, torch.zeros(1, 1, 8, 8))
