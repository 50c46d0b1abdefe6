"""Binary layers that others write: recognised by what they compute, or a warning says that they are not."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from xnornet import UnsupportedError, format  # noqa: E402
from xnornet.convert import lower  # noqa: E402
from xnornet.nn import BinaryConv2d  # noqa: E402
from xnornet.nn.functional import sign  # noqa: E402
from xnornet.nn.quantizers import InputQuantizer, WeightQuantizer  # noqa: E402

from .conversion import check_packed, settle_norms  # noqa: E402

Function = Callable[[Tensor], Tensor]


def hard(x: Tensor) -> Tensor:
    return x.clamp(-1, 1)


def annealed(x: Tensor) -> Tensor:
    """IR-Net's error decay estimator: nothing of it is a packed model's."""
    return 2 * torch.tanh(3 * x)


def magnitude(weight: Tensor) -> Tensor:
    return weight.abs().mean((1, 2, 3), keepdim=True)


def compared_first(weight: Tensor) -> Tensor:
    """Their signs are taken before they are written over."""
    weight = weight - weight.mean((1, 2, 3), keepdim=True)
    positive = weight >= 0
    return torch.where(positive, 1.0, -1.0) * weight.abs_().mean((1, 2, 3), keepdim=True)


def in_regions(weight: Tensor) -> Tensor:
    """As quantizers that are trained in 16 bits have them."""
    with torch.autocast(weight.device.type, enabled=False):
        signs = sign(weight)
        with torch.enable_grad():
            scale = magnitude(weight)
    return signs * scale


class Layer(nn.Module):
    """A convolution of signs, both written out, between float layers."""

    def __init__(self, inputs: Function, weights: Function, padding: int = 1) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(1, 8, 3), nn.BatchNorm2d(16), nn.Linear(16, 3)
        self.weight = nn.Parameter(torch.randn(16, 8, 3, 3))
        self.inputs, self.weights, self.padding = inputs, weights, padding

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(self.inputs(self.first(x)), self.weights(self.weight), None, 1, self.padding)
        out: Tensor = self.last(self.norm(x).mean((2, 3)))
        return out


@pytest.mark.parametrize(
    "inputs",
    [
        lambda x: sign(x).detach() + (hard(x) - hard(x).detach()),
        lambda x: (lambda s: s - s.detach() + sign(x))(hard(x)),
        lambda x: (lambda s: (sign(x) - s).detach() + s)(hard(x)),
        lambda x: (lambda s: s + (sign(x) - s).detach().clone())(annealed(x)),
        lambda x: (lambda s: sign(x) + (s - s.detach()))(annealed(x)),
        lambda x: torch.where(x >= 0, 1.0, -1.0),
        lambda x: torch.where(x >= 0, torch.ones_like(x), -torch.ones_like(x)),
        lambda x: torch.where(x < 0, torch.full_like(x, -1), torch.ones_like(x)) + (x - x.detach()),
        lambda x: torch.where(x >= 0, 1.0, -torch.ones_like(x)),
        lambda x: (x >= 0).float() * 2 - 1,
        lambda x: 2 * (x >= 0).float() - 1 + (annealed(x) - annealed(x).detach()),
        lambda x: ((x >= 0).to(x.dtype) - 0.5) * 2,
        lambda x: 1 - 2 * (x < 0).float(),
        lambda x: torch.where(x < 0, -1.0, 1.0) + (annealed(x) - annealed(x).detach()).contiguous(),
        lambda x: torch.where(x > 0, 1.0, -1.0),
        lambda x: torch.where(x <= 0, -torch.ones_like(x), torch.ones_like(x)),
        lambda x: (x > 0).float() * 2 - 1 + (annealed(x) - annealed(x).detach()),
        lambda x: (lambda s: sign(x) + (s - s.detach()))(torch.where(x >= 0, 1.0, -1.0)),
        lambda x: (lambda above, _: torch.where(above, 1.0, -1.0))(x >= 0, x.mul_(0.5)),
        lambda x: sign(x).detach() + x - x.detach(),
        lambda x: x - (x - sign(x)).detach(),
        lambda x: -x.detach() + sign(x) + x,
        lambda x: (x >= 0).to(x) * 2 - 1,
        lambda x: (x >= 0).type_as(x) * 2 - 1,
        lambda x: (x >= 0) * 2.0 - 1,
        lambda x: F.hardtanh(sign(x).mul(1).div(1) + 0) - 0,
        lambda x: sign(x) * 0.37,
        lambda x: -(sign(x) * torch.tensor(0.5)) / 4,
    ],
)
@pytest.mark.parametrize(
    "weights",
    [
        sign,
        lambda w: sign(w) * magnitude(w),
        lambda w: (lambda q: q.detach() + w - w.detach())(sign(w) * magnitude(w)),
        lambda w: (lambda q: w - (w - q).detach())(sign(w) * magnitude(w)),
        compared_first,
        in_regions,
    ],
)
def test_signs_of_plain_torch(inputs: Function, weights: Function) -> None:
    kinds = check_packed(settle_norms(Layer(inputs, weights), (1, 8, 8)), (1, 8, 8))
    assert "binary_conv2d" in kinds
    assert [kind for kind in kinds if kind != "affine"][:3] == ["conv2d", "sign", "binary_conv2d"]


def test_where_an_estimators_value_is_written_over() -> None:
    def weights(w: Tensor) -> Tensor:
        signs = sign(w)
        estimated = signs + (hard(w) - hard(w).detach())
        signs.flatten(1).mul_(0.5)
        return estimated

    def others(w: Tensor) -> Tensor:
        latent = hard(w)
        before = latent.clone()
        latent.mul_(0)
        return sign(w) + (latent - before)

    net = settle_norms(Layer(sign, weights), (1, 8, 8))
    assert "binary_conv2d" in check_packed(net, (1, 8, 8))
    assert "binary_conv2d" not in check_packed(settle_norms(Layer(hard, others), (1, 8, 8)), (1, 8, 8))


def test_long_sums_are_no_estimators() -> None:
    def shared(x: Tensor) -> Tensor:
        for _ in range(40):
            x = (x + x) * 0.5 + 0
            x = x + x
            x = x * 0.5
        return x

    def long(x: Tensor) -> Tensor:
        y = x
        for _ in range(300):
            y = y + x
        return y / 301

    for function in (shared, long):
        assert "sign" not in check_packed(Layer(function, lambda w: w).eval(), (1, 8, 8), images=4)


def test_autocast_that_is_on_is_refused() -> None:
    def cast(x: Tensor) -> Tensor:
        with torch.autocast("cpu"):
            return sign(x)

    with pytest.raises(UnsupportedError, match="take torch.no_grad, torch.enable_grad, torch.autocast"):
        lower(Layer(cast, sign).eval(), torch.zeros(1, 1, 8, 8))


def test_weights_of_one_magnitude_a_filter_in_front_of_numbers() -> None:
    kinds = check_packed(settle_norms(Layer(F.relu, lambda w: sign(w) * magnitude(w)), (1, 8, 8)), (1, 8, 8))
    assert "binary_weight_conv2d" in kinds
    dense = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with torch.no_grad():
        dense[1].weight.copy_(sign(dense[1].weight) * torch.tensor([[0.5], [1.0], [2.0]]))
    assert check_packed(dense, (1, 8, 8))[-3:] == ["binary_weight_linear", "affine", "affine"]


def written_over(x: torch.Tensor) -> torch.Tensor:
    ones = torch.ones_like(x)
    ones[:, 0] = 0.5
    return torch.where(x >= 0, ones, -ones)


@pytest.mark.parametrize(
    ("spared", "refused"),
    [
        (lambda x: x + (x.relu() - hard(x)), ""),  # other tensors
        (lambda x: x + 0.25 - 0.25, ""),  # numbers, which round
        (lambda x: (lambda m: (x * 4 + m) - m)(torch.tensor(1.5 * 2**23)), ""),  # to whole numbers
        (lambda x: x.relu() - x.relu() - (x - x.relu()), ""),  # what is left is subtracted
        (lambda x: torch.add(x, x.relu() - x, alpha=2), "alpha"),
        (lambda x: x.mean((2, 3), keepdim=True) + (x - x.detach()), ""),  # a sum of another shape
        (lambda x: torch.where(x >= 0.5, 1.0, -1.0), "aten.ge"),
        (lambda x: torch.where(x >= 0, -1.0, 1.0), "aten.ge"),
        (lambda x: torch.where(x >= 0, x, -torch.ones_like(x)), "aten.ge"),
        (lambda x: torch.where(x > 0, -1.0, 1.0), "aten.gt"),
        (lambda x: (x > 0).float() - 1, "aten.gt"),
        (lambda x: (x >= 0).float() * 2, "aten.ge"),
        (lambda x: (x >= 0.5).float() * 2 - 1, "aten.ge"),
        (lambda x: (x.relu() >= 0).float() - 1, "aten.ge"),
        (lambda x: ((x >= 0).to(torch.uint8) * 2 - 1).float(), "aten.ge"),
        (written_over, "aten.(ge|ones_like)"),
    ],
)
def test_what_only_looks_alike_is_left(spared: Function, refused: str) -> None:
    net = Layer(spared, lambda w: w).eval()
    if refused:
        with pytest.raises(UnsupportedError, match=refused):
            lower(net, torch.zeros(1, 1, 8, 8))
    else:
        assert "sign" not in check_packed(net, (1, 8, 8))


def without(filters: object) -> Function:
    """Signs of weights, but for zeros in some places."""

    def weights(w: Tensor) -> Tensor:
        signs = sign(w).clone()
        signs[filters] = 0
        return signs

    return weights


def test_a_filter_of_zeros_is_one_of_signs_times_zero() -> None:
    """As where the mean of its latent weights is rounded to 0 in 16 bits."""
    net = settle_norms(Layer(sign, without(2)), (1, 8, 8))
    assert "binary_conv2d" in check_packed(net, (1, 8, 8))


def test_a_weight_of_zero_is_told() -> None:
    net = settle_norms(Layer(sign, without((2, 0, 0, 0))), (1, 8, 8))
    words = "1 of 1,152 are 0, the others [+]a and -a in each filter; torch.sign.0. is 0, xnornet"
    with pytest.warns(UserWarning, match=words):
        assert check_packed(net, (1, 8, 8))[:3] == ["conv2d", "sign", "affine"]


@pytest.mark.parametrize(
    ("inputs", "weights", "words"),
    [
        (
            sign,
            lambda w: sign(w) + 0.1,
            "module 'conv2d': its inputs are signs, its weights, packed as 32-bit floats",
        ),
        (lambda x: sign(x) + 0.5, sign, "its inputs are packed as numbers, which is slow: signs that were shifted"),
        (
            lambda x: F.max_pool2d(sign(x) + 0.5, 2),
            sign,
            "signs that were shifted, scaled by channel or joined",
        ),
        (
            lambda x: torch.cat([sign(x), sign(-x)], 1),
            lambda w: torch.cat([sign(w), sign(w)], 1),
            "signs that were shifted, scaled by channel or joined",
        ),
    ],
)
def test_signs_that_come_to_nothing_are_told(inputs: Function, weights: Function, words: str) -> None:
    net = Layer(inputs, weights)
    with pytest.warns(UserWarning, match=words) as caught:
        check_packed(settle_norms(net, (1, 8, 8)), (1, 8, 8))
    assert len(caught) == 1


class Ternary(WeightQuantizer):
    """-1, 0 and +1: no odd whole numbers."""

    bits = 2

    def codes(self, weight: Tensor) -> tuple[Tensor, Tensor | None]:
        return weight.detach().mul(30).round().clamp(-1, 1), None

    def forward(self, weight: Tensor) -> Tensor:
        return self.codes(weight)[0] + (weight - weight.detach())


class Rounded(InputQuantizer):
    """Signs that are not seen as such."""

    bits = 1

    def codes(self, x: Tensor) -> Tensor:
        return (x * 1e30).clamp(-1, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight_quantizer": Ternary()}, "module '0': its weights are packed as 32-bit floats: Ternary"),
        ({"input_quantizer": Rounded()}, "module '0': its inputs are packed as numbers, which is slow: Rounded"),
    ],
)
def test_quantizers_that_come_to_nothing_are_told(options: dict[str, nn.Module], words: str) -> None:
    net = nn.Sequential(BinaryConv2d(1, 4, 3, **options), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    with torch.no_grad():
        net[0].weight[:, :, 0, 0] = 0  # which chance may leave out of ternary ones
    with pytest.warns(UserWarning, match=words) as caught:
        lower(net, torch.zeros(1, 1, 8, 8))
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_quantizers_of_ours_are_not_warned_of() -> None:
    net = nn.Sequential(
        BinaryConv2d(1, 4, 3), BinaryConv2d(4, 4, 3, input_quantizer=None), nn.Flatten(), nn.Linear(64, 3)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lower(net.eval(), torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("wrap", [torch.compile, lambda net: (net.compile(), net)[1]])
def test_a_compiled_network_is_packed_as_it_is(wrap: Callable[[nn.Module], nn.Module]) -> None:
    """Without compiling it, which would take longer than all the rest."""
    net = nn.Sequential(BinaryConv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    expected = lower(net, torch.zeros(1, 1, 8, 8))
    torch._dynamo.utils.counters.clear()
    assert format.dumps(lower(wrap(net), torch.zeros(1, 1, 8, 8))) == format.dumps(expected)
    assert not torch._dynamo.utils.counters["stats"].get("calls_captured")
