"""Products that do their quantizers' work: values and gradients are those of plain autograd, on any operands."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from xnornet.nn import BinaryConv2d, BinaryLinear, InputQuantizer, SteSign, products
from xnornet.nn.functional import pad, sign
from xnornet.nn.quantizers import GRADIENTS, KBit, ScaledSign

FORMATS = {"dense": torch.contiguous_format, "channels last": torch.channels_last}


def plain_signs(x, clip):
    """sign(x) with the gradient of hard tanh, ends included."""
    inside = x.clamp(-clip, clip)
    return sign(x) + (inside - inside.detach())


def plain_weight(weight, gradient):
    """alpha * sign(W) whose gradient is one of `GRADIENTS`, spelled out for autograd."""
    flat = weight.flatten(1)
    n, c = flat.shape[1], weight.shape[1]
    alpha, signs = flat.abs().mean(1, keepdim=True), sign(flat)
    inside = flat.clamp(-1, 1) if not gradient.startswith("code") else flat * (flat.abs() < 1)
    constant = alpha.detach()
    through = {
        "exact": signs * alpha + constant * inside,
        "paper": flat / n + constant * inside,
        "ste": inside,
        "magnitude": constant * inside,
        "code-adam": (flat / n + constant * inside) * (1 - 1 / c if c > 1 else 1),
        "code-sgd": (flat + n * constant * inside) * (1 - 1 / c if c > 1 else 1),
    }[gradient]
    return (signs * constant + (through - through.detach())).view_as(weight)


def gradients_agree(layer, x, plain):
    """Runs both twice on one graph, so that nothing kept may be lost in the first backward pass."""
    got, expected = layer(x), plain(x)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    upstream = torch.randn(got.shape)
    wanted = [tensor for tensor in (x, *layer.parameters()) if tensor.requires_grad]
    expected = torch.autograd.grad(expected, wanted, upstream)
    for _ in range(2):
        for a, b in zip(torch.autograd.grad(got, wanted, upstream, retain_graph=True), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_convolutions(data):
    """Of any geometry, padding value, memory format, of all gradients, with and without signs, parts of it frozen;
    half of those that do not pad see each image as a whole."""

    def draw(strategy):
        return data.draw(strategy)

    torch.manual_seed(draw(st.integers(0, 2**32)))
    groups = draw(st.integers(1, 3))
    channels, filters = groups * draw(st.integers(1, 4)), groups * draw(st.integers(1, 3))
    clip = draw(st.sampled_from([None, 0.75, 1.0]))
    gradient = draw(st.sampled_from([None, *GRADIENTS])) if clip is not None else draw(st.sampled_from([*GRADIENTS]))
    layer = BinaryConv2d(
        *(channels, filters, draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))),
        padding=draw(st.sampled_from([0, 1, (1, 0), (0, 2)])),
        stride=draw(st.integers(1, 2)),
        dilation=draw(st.integers(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
        input_quantizer=None if clip is None else SteSign(clip),
        weight_quantizer=None if gradient is None else ScaledSign(gradient),
        padding_value=draw(st.sampled_from([0, 1, -1])) if clip is not None else 0,
    )
    with torch.no_grad():
        layer.weight.mul_(4)  # so that some lie beyond 1
    layer.weight.requires_grad_(draw(st.booleans()))
    layer.to(memory_format=FORMATS[draw(st.sampled_from([*FORMATS]))])
    size = draw(st.tuples(st.integers(5, 9), st.integers(5, 9)))
    if draw(st.booleans()) and layer.padding == (0, 0) and layer.dilation == (1, 1):
        size = layer.kernel_size
    kind = draw(st.sampled_from([*FORMATS, "part"]))
    x = 2 * torch.randn(draw(st.integers(1, 3)), channels * (1 + (kind == "part")), *size)
    x = x[:, ::2] if kind == "part" else x.to(memory_format=FORMATS[kind])
    x.requires_grad_(draw(st.booleans()) or not any(p.requires_grad for p in layer.parameters()))

    def plain(x):
        codes = pad(x if clip is None else plain_signs(x, clip), layer.explicit_padding, float(layer.padding_value))
        weight = layer.weight if gradient is None else plain_weight(layer.weight, gradient)
        return F.conv2d(codes, weight, layer.bias, layer.stride, 0, layer.dilation, groups)

    gradients_agree(layer, x, plain)


def test_a_kernel_larger_than_the_image_is_refused_whatever_its_weights():
    layer = BinaryConv2d(4, 8, 3, dilation=2)
    with pytest.raises(RuntimeError, match="[Kk]ernel size"):
        layer(torch.randn(2, 4, 3, 3))
    with pytest.raises(RuntimeError, match="channels"):
        BinaryConv2d(4, 8, 3)(torch.randn(2, 5, 3, 3))


@pytest.mark.parametrize("channels", [2, 3, 4, 7])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_narrow_layers_of_single_pixels(channels, clip):
    """Where oneDNN writes outside its memory: often enough that it would be seen."""
    quantizer = None if clip is None else SteSign(clip)
    layer = BinaryConv2d(channels, 8, 1, stride=2, bias=False, input_quantizer=quantizer)
    layer.to(memory_format=torch.channels_last)
    x = torch.randn(6, channels, 10, 10).to(memory_format=torch.channels_last).requires_grad_()

    def plain(x):
        codes = x if clip is None else plain_signs(x, clip)
        weight = plain_weight(layer.weight, layer.weight_quantizer.gradient)
        return torch.einsum("nihw,oi->nohw", codes[:, :, ::2, ::2], weight.flatten(1))

    for _ in range(5):
        gradients_agree(layer, x, plain)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_gradient_of_a_weight_by_matrix_products(data):
    """Of any geometry, as torch's own."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = data.draw(pair), data.draw(pair), data.draw(pair)
    padding = data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = data.draw(st.tuples(st.integers(7, 10), st.integers(7, 10)))
    x = torch.randn(2, 3, *size, dtype=torch.float64).to(memory_format=FORMATS[data.draw(st.sampled_from([*FORMATS]))])
    weight = torch.randn(4, 3, *kernel, dtype=torch.float64, requires_grad=True)
    out = F.conv2d(x, weight, None, stride, padding, dilation)
    grad = torch.randn_like(out)
    (expected,) = torch.autograd.grad(out, weight, grad)
    got = products._weight_gradient(grad, x, weight, (stride, padding, dilation, 1))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_wide_layers_of_small_maps_in_bfloat16(clip, monkeypatch):
    """Where matrix products are faster they are taken, and agree with float32 as far as 8 bits can."""
    layer = BinaryConv2d(128, 256, 3, padding=1, bias=False, input_quantizer=None if clip is None else SteSign(clip))
    x, upstream = torch.randn(8, 128, 6, 6), torch.randn(8, 256, 6, 6).bfloat16()
    (expected,) = torch.autograd.grad(layer(x), layer.weight, upstream.float())
    calls, product = [], products._weight_gradient
    monkeypatch.setattr(products, "_weight_gradient", lambda *operands: calls.append(1) or product(*operands))
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    (got,) = torch.autograd.grad(out, layer.weight, upstream)
    assert calls
    torch.testing.assert_close(got, expected, rtol=0, atol=0.02 * expected.abs().max().item())


@given(
    st.lists(st.integers(1, 5), min_size=0, max_size=3),
    *(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([None, 0.75, 1.0]),
    st.sampled_from([*GRADIENTS]),
    st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_dense_layers(batch, features, outputs, clip, gradient, seed):
    torch.manual_seed(seed)
    quantizer = None if clip is None else SteSign(clip)
    layer = BinaryLinear(features, outputs, input_quantizer=quantizer, weight_quantizer=ScaledSign(gradient))
    x = (2 * torch.randn(*batch, features)).requires_grad_()

    def plain(x):
        codes = x if clip is None else plain_signs(x, clip)
        return F.linear(codes, plain_weight(layer.weight, gradient), layer.bias)

    gradients_agree(layer, x, plain)


@pytest.mark.parametrize("quantizer", [None, "ste_sign"])
def test_an_empty_batch(quantizer):
    layer = BinaryConv2d(3, 2, 3, padding=1, input_quantizer=quantizer)
    x = torch.empty(0, 3, 5, 5, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.shape == x.shape
    assert (layer.weight.grad == 0).all()


@pytest.mark.parametrize("gradient", [*GRADIENTS])
def test_a_quantizer_alone_leaves_the_gradient_it_is_given(gradient):
    """Within a product, the memory of the gradient is used again; here it is somebody else's."""
    weight = torch.randn(3, 2, 3, 3, requires_grad=True)
    upstream = torch.randn(3, 2, 3, 3)
    kept, latent = upstream.clone(), weight.detach().clone()
    ScaledSign(gradient)(weight).backward(upstream)
    assert torch.equal(upstream, kept)
    assert torch.equal(weight, latent)
    SteSign()(weight).backward(upstream)
    assert torch.equal(upstream, kept)


@pytest.mark.parametrize("make", [lambda: BinaryConv2d(3, 4, 3), lambda: BinaryLinear(5, 4)])
def test_nothing_of_others_is_overwritten(make):
    layer = make()
    x = torch.randn((2, 3, 5, 5) if isinstance(layer, nn.Conv2d) else (2, 5)).requires_grad_()
    out = layer(x)
    upstream = torch.randn_like(out)
    held = (x, layer.weight, upstream)
    copies = [tensor.detach().clone() for tensor in held]
    out.backward(upstream)
    assert all(torch.equal(a, b) for a, b in zip(held, copies, strict=True))


def test_weights_changed_between_the_passes_are_noticed():
    """The binary weights are computed again in the backward pass: those of then would not be those of now."""
    layer = BinaryConv2d(3, 4, 3)
    out = layer(torch.randn(2, 3, 5, 5)).sum()
    layer.clip_weights_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_a_second_derivative_is_refused():
    layer = BinaryConv2d(3, 4, 3)
    x = torch.randn(2, 3, 5, 5, requires_grad=True)
    (first,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


class Twice(SteSign):
    def codes(self, x):
        return 2 * super().codes(x)


class Dimmed(InputQuantizer):
    bits = 1

    def codes(self, x):
        return 0.3 * plain_signs(x, 1.0)


class WithZeros(InputQuantizer):
    bits = 1

    def codes(self, x):
        inside = x.clamp(-1, 1)
        return torch.sign(x.round()) + (inside - inside.detach())


class Shifted(KBit):
    def codes(self, x):
        return super().codes(x) + 0.25


class Halved(ScaledSign):
    def forward(self, weight):
        return super().forward(weight) / 2


def test_quantizers_of_ones_own_do_their_own_work():
    torch.manual_seed(0)
    layer = BinaryConv2d(3, 4, 3, bias=False)
    other = copy.deepcopy(layer)
    other.weight_quantizer = Halved()
    x = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(2 * other(x), layer(x))
    other = copy.deepcopy(layer)
    other.input_quantizer = Twice()
    torch.testing.assert_close(other(x), 2 * layer(x))


@pytest.mark.parametrize("make", [Twice, Dimmed, WithZeros, lambda: Shifted(1), lambda: Shifted(3)])
@pytest.mark.parametrize("weights", [None, "sign", "scaled_sign"])
def test_gradients_of_codes_of_ones_own(make, weights):
    """They need be neither +1 and -1, as those of the class that they are derived from, nor whole numbers."""
    torch.manual_seed(0)
    conv = BinaryConv2d(3, 4, 3, padding=1, input_quantizer=make(), weight_quantizer=weights)
    dense = BinaryLinear(6, 3, input_quantizer=make(), weight_quantizer=weights)
    products_of = {
        conv: lambda x, w: F.conv2d(x, w, conv.bias, padding=1),
        dense: lambda x, w: F.linear(x, w, dense.bias),
    }
    for layer, shape in ((conv, (2, 3, 5, 5)), (dense, (7, 6))):
        weight_of = layer.weight_quantizer or nn.Identity()
        gradients_agree(
            layer,
            torch.randn(shape, requires_grad=True),
            lambda x, layer=layer, of=weight_of: products_of[layer](layer.input_quantizer(x), of(layer.weight)),
        )


@pytest.mark.parametrize("name", ["input_quantizer", "weight_quantizer"])
def test_hooks_of_quantizers_are_called(name):
    torch.manual_seed(0)
    layer = BinaryConv2d(3, 4, 3, bias=False)
    x = torch.randn(2, 3, 5, 5)
    before = layer(x)
    seen = []
    getattr(layer, name).register_forward_hook(lambda module, inputs, output: seen.append(output))
    torch.testing.assert_close(layer(x), before)
    assert len(seen) == 1


def test_frozen_weights_pass_the_gradient_on():
    """As in training around frozen layers, with the paper's binary gradient too."""
    torch.manual_seed(0)
    layer = BinaryConv2d(3, 4, 3, bias=False, gradient_quantizer="binary")
    x = torch.randn(2, 3, 5, 5, requires_grad=True)
    upstream = torch.randn(2, 4, 3, 3)
    expected = torch.autograd.grad(layer(x), x, upstream)
    layer.requires_grad_(False)
    assert torch.equal(torch.autograd.grad(layer(x), x, upstream)[0], expected[0])
