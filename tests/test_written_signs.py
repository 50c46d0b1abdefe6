"""Signs that are written in several operators of torch: packed as one where they make 1 of 0, else not taken for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from xnornet.convert import lower  # noqa: E402
from xnornet.engine import Model  # noqa: E402
from xnornet.errors import UnsupportedError  # noqa: E402

from .conversion import check_packed  # noqa: E402


def filled_by_index(x: Tensor) -> Tensor:
    signs = torch.sign(x)
    signs[signs == 0] = 1
    return signs


def filled_in_place(x: Tensor) -> Tensor:
    signs = x.sign()
    signs.masked_fill_(x == 0, 1.0)
    return signs


def chosen(x: Tensor) -> Tensor:
    """Bitorch's."""
    signs = torch.sign(x)
    return torch.where(signs == 0, torch.tensor(1.0), signs)


class Filled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return filled_by_index(x)

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient


WITHOUT_ZEROS = [
    filled_by_index,
    filled_in_place,
    chosen,
    Filled.apply,
    lambda x: (lambda s: torch.where(x == 0, 1.0, s))(torch.sign(x)),
    lambda x: (lambda s: torch.where(s == 0, torch.ones_like(s), s))(torch.sign(x)),
    lambda x: (lambda s: s.masked_fill(s == 0, 1.0) + (x - x.detach()))(x.sign()),
    lambda x: torch.sign(torch.sign(x) + 0.1),
    lambda x: x.clone().sign_().add_(0.01).sign_(),
    lambda x: x.sign().add(torch.tensor(0.5)).sign(),
    lambda x: torch.where(x >= 0, torch.tensor(1.0), torch.tensor(-1.0)),
    lambda x: torch.where(x >= 0, 1, -1).float(),
    lambda x: torch.where(x < 0, -1, 1).to(x.dtype) + (x - x.detach()),
]


class Binary(nn.Module):
    """A convolution of signs by signs, of the sums of others, which are often 0."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.last = function, nn.Linear(8, 3)
        self.weights = nn.ParameterList([torch.randn(8, n, 2, 2) for n in (3, 8)])

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            x = F.conv2d(self.function(x), self.function(weight))
        out: Tensor = self.last(x.mean((2, 3)))
        return out


@pytest.mark.parametrize("function", WITHOUT_ZEROS)
def test_signs_that_make_1_of_0(function: Callable[[Tensor], Tensor], recwarn: pytest.WarningsRecorder) -> None:
    torch.manual_seed(0)
    network = Binary(function).eval()
    assert check_packed(network, (3, 6, 6)).count("binary_conv2d") == 2
    x = torch.zeros(1, 3, 6, 6)
    np.testing.assert_allclose(Model(lower(network, x)).run(x.numpy()), network(x).detach().numpy(), rtol=1e-5)
    assert not [warning for warning in recwarn if "makes 0 of 0" in str(warning.message)]


class Network(nn.Module):
    """What the test wants, of a convolution, in front of a mean and a dense layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.conv, self.last = function, nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.function(self.conv(x)).mean((2, 3)))
        return out


def same_in_torch(network: nn.Module, shape: tuple[int, ...]) -> bool:
    """Does the engine compute what torch does, where no sign is of 0?"""
    x = torch.randn(4, *shape)
    with torch.no_grad():
        expected = network.eval()(x).numpy()
    got = Model(lower(network, x[:1])).run(x.numpy())
    return bool(np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max())


def other_zeros(x: Tensor) -> Tensor:
    signs = torch.sign(x)
    signs[x == 1] = 1
    return signs


def read_by_another_name(x: Tensor) -> Tensor:
    signs = torch.sign(x)
    view = signs.flatten(1)
    signs[signs == 0] = 1
    return view.view_as(signs)


def shifted_by_another_name(x: Tensor) -> Tensor:
    signs = torch.sign(x)
    signs.view(-1).sub_(2)
    return torch.sign(signs + 0.1)


def turned_by_another_name(x: Tensor) -> Tensor:
    raised = torch.sign(x) + 0.1
    other = raised.detach()
    raised.mul_(-1)
    return torch.sign(other)


def tripled_before_it_is_converted(x: Tensor) -> Tensor:
    signs = torch.where(x >= 0, 1.0, -1.0)
    other = signs.detach()
    signs.mul_(3)
    return other.to(torch.float32)


def tripled_before_it_is_counted(x: Tensor) -> Tensor:
    above = (x >= 0).float()
    other = above.detach()
    above.mul_(3.0)
    return 2 * other - 1


def a_number_tripled(x: Tensor) -> Tensor:
    one = torch.tensor(1.0)
    one.view(1).mul_(3)
    return torch.where(x >= 0, one, torch.tensor(-1.0))


def ones_tripled(x: Tensor) -> Tensor:
    ones = torch.ones_like(x)
    ones.detach().mul_(3)
    return torch.where(x >= 0, ones, -torch.ones_like(x))


def a_part_turned(x: Tensor) -> Tensor:
    signs = torch.sign(x)
    signs[signs == 0] = 1
    signs.unbind(1)[0].neg_()
    return signs


def filled_by_another_name(x: Tensor) -> Tensor:
    signs = torch.sign(x).contiguous()
    view = signs.transpose(2, 3)
    view[view != 0] = 1
    return signs


@pytest.mark.parametrize(
    "function",
    [
        *(other_zeros, read_by_another_name, shifted_by_another_name, turned_by_another_name),
        *(tripled_before_it_is_converted, tripled_before_it_is_counted, a_number_tripled, ones_tripled),
        *(a_part_turned, filled_by_another_name),
        lambda x: (lambda s: torch.where(s == 0, -1.0, s))(torch.sign(x)),
        lambda x: (lambda s: torch.where(s == 0, torch.ones_like(s).mul_(-1), s))(torch.sign(x)),
    ],
)
def test_what_only_looks_like_a_sign_is_refused(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UnsupportedError, match="cannot be packed"):
        lower(Network(function), torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.sign(torch.sign(x) + 1.5),
        lambda x: torch.sign(torch.sign(x) - 0.5),
        lambda x: torch.sign(torch.sign(x) + 1e-50),
        lambda x: torch.sign(torch.sign(x) + 1.25 - 1),
    ],
)
def test_what_only_looks_like_a_sign_of_1_for_0_is_told(function: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="makes 0 of 0"):
        assert same_in_torch(Network(function), (3, 8, 8))


def part(x: Tensor, parts: object, change: str, *numbers: float) -> Tensor:
    """x, once a part of it was written over."""
    getattr(parts(x), change)(*numbers)
    return x


@pytest.mark.parametrize(
    ("parts", "change", "numbers"),
    [
        (lambda x: x.permute(0, 2, 3, 1), "add_", (5.0,)),
        (lambda x: x.movedim(1, -1), "mul_", (2.0,)),
        (lambda x: x.transpose(2, 3), "clamp_", (0.0, 1.0)),
        (lambda x: x.swapaxes(1, 2), "neg_", ()),
        (lambda x: x.chunk(2, 1)[0], "mul_", (-3.0,)),
        (lambda x: x.split([1, 3], 1)[1], "mul_", (-1.0,)),
        (lambda x: x.narrow(1, 0, 2), "zero_", ()),
        (lambda x: x.unbind(1)[0], "zero_", ()),
        (lambda x: x[:, :2], "zero_", ()),
    ],
)
def test_what_is_written_over_by_another_name_is_refused(
    parts: object, change: str, numbers: tuple[float, ...]
) -> None:
    with pytest.raises(UnsupportedError):
        lower(Network(lambda x: part(x, parts, change, *numbers)), torch.zeros(1, 3, 8, 8))


def test_what_is_written_over_in_vain_is_left_out() -> None:
    """A copy that nothing reads, in whatever order of its axes. What is no copy is written over."""
    torch.manual_seed(0)
    for parts, change in (
        (lambda x: x.clone().permute(0, 2, 3, 1), "neg_"),
        (lambda x: x.contiguous(), "neg_"),
        (lambda x: x.float(), "neg_"),
    ):
        assert same_in_torch(Network(lambda x, parts=parts, change=change: part(x, parts, change)), (3, 8, 8))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x.relu() + (-x - 1).relu(), "what was cut off at 0"),
        (lambda x: x.relu() * x, "what was cut off at 0"),
        (lambda x: reduce(lambda y, _: y + y, range(40), x.relu()), "what was cut off at 0"),  # by 2^40 ways
        (lambda x: F.leaky_relu(x, 0.0), "what was cut off at 0"),
        (lambda x: x.relu() - 0.0, "what was cut off at 0"),
        (lambda x: torch.cat([x, x.clamp(max=0)], 1)[:, :], "what was cut off at 0"),
        (lambda x: F.conv2d(x.ge(0) * 2.0 - 1, torch.ones(4, 4, 2, 2), torch.zeros(4)), "a sum of signs"),
        (lambda x: F.conv2d(x.ge(0) * 2.0 - 1, torch.ones(4, 1, 3, 3), None, 1, 1, 1, 4), "a sum of signs"),
    ],
)
def test_a_plain_sign_of_what_is_often_0_is_refused(function: Callable[[Tensor], Tensor], words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        lower(Network(lambda x: torch.sign(function(x))[:, :4]), torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.relu() + x,
        lambda x: x.relu() - 0.1,
        lambda x: F.conv2d(x.ge(0) * 2.0 - 1, torch.ones(4, 1, 3, 3), None, groups=4),
    ],
)
def test_a_plain_sign_of_what_is_seldom_0_is_told(function: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="makes 0 of 0"):
        assert same_in_torch(Network(lambda x: torch.sign(function(x))), (3, 8, 8))
