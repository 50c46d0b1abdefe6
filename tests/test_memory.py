"""What quantized layers keep for the backward pass, and that keeping less changes no gradient."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from xnornet.nn import BinaryConv2d, BinaryLinear
from xnornet.nn.functional import sign
from xnornet.nn.packing import Layout, masked, pack, signs, unpack

SHAPES = [(1,), (8,), (3, 7), (64,), (2, 3, 5, 7), (4, 16, 6, 6), (128,), (0, 3, 4, 4)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packing_round_trip(shape, dtype):
    flags = torch.rand(shape) < 0.5
    kept = flags.clone()
    layout = Layout.of(flags)
    bits = pack(flags, layout)
    assert (bits.dtype, bits.numel()) == (torch.uint8, 16 * -(-flags.numel() // 128))  # rounded up to 16 bytes
    assert torch.equal(flags, kept)
    out = unpack(bits, layout, -3.0, 5.0, dtype)
    assert torch.equal(out, torch.where(flags, 5.0, -3.0).to(dtype))


def test_packing_keeps_the_memory_format():
    flags = (torch.rand(2, 3, 4, 5) < 0.5).to(memory_format=torch.channels_last)
    layout = Layout.of(flags)
    out = unpack(pack(flags, layout), layout, 0.0, 1.0, torch.float32)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(out, flags.float())
    part = flags[:, ::2, 1:]  # not dense
    layout = Layout.of(part)
    assert torch.equal(unpack(pack(part, layout), layout, 0.0, 1.0, torch.float32), part.float())


# Zeros of both signs, the edges of the mask and their neighbours, denormals, and what lies beyond.
EDGES = torch.tensor(
    [0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 1.25, -1.25, 3e38, float("inf"), -float("inf"), float("nan")]
)
EDGES = torch.cat([EDGES, *(torch.nextafter(EDGES, torch.tensor(end)) for end in (-9.0, 9.0))])


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.sampled_from([0.5, 1.0, 1.25]),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    st.sampled_from(["dense", "channels last", "part", "turned"]),
    st.integers(0, 2**32),
)
@settings(max_examples=100, deadline=None)
def test_signs_and_masks(shape, clip, dtype, kind, seed):
    """Of any shape, type and memory format: what comparisons say, bit for bit; NaN is outside, with either sign."""
    rng = torch.Generator().manual_seed(seed)
    x = EDGES[torch.randint(len(EDGES), shape, generator=rng)].to(dtype)
    if kind == "channels last" and len(shape) == 4:
        x = x.to(memory_format=torch.channels_last)
    elif kind == "part":
        x = x[..., ::2]
    elif kind == "turned":
        x = x.transpose(0, -1)
    layout = Layout.of(x)
    codes, positive, outside = signs(x, clip, layout)
    expected = torch.where(x >= 0, 1.0, -1.0).to(dtype)
    assert torch.equal(codes, expected)
    assert codes.is_contiguous(memory_format=torch.channels_last if layout.channels_last else torch.contiguous_format)
    again = unpack(positive, layout, -1.0, 1.0, dtype)
    assert torch.equal(again, expected)
    gradient = torch.randn(x.shape, generator=rng).to(dtype)
    wanted = torch.where(x.abs() <= clip, gradient, 0)
    assert torch.equal(masked(gradient, outside, layout), wanted)
    assert torch.equal(masked(gradient, outside, layout, into=again), wanted)
    assert signs(x, clip, layout, keep=False)[1] is None


def plain_conv(layer, x):
    """The layer's result through torch's own operators, which keep floats."""
    codes = layer.input_quantizer(x, as_codes=True)
    weight = layer.weight_quantizer(layer.weight) / layer.input_quantizer.steps
    return F.conv2d(codes, weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


CONVOLUTIONS = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (0, 1), "bias": False},
    {"kernel_size": 3, "dilation": 2, "padding": 2, "groups": 2},
    {"kernel_size": (3, 5), "padding": "same"},
    {"kernel_size": (2, 4), "padding": "same"},  # odd amounts, which torch pads itself
]


@pytest.mark.parametrize("options", CONVOLUTIONS)
@pytest.mark.parametrize("quantizer", ["ste_sign", "approx_sign", "kbit:2", "dorefa:1", "dorefa:8"])
def test_gradients_are_those_of_the_plain_convolution(options, quantizer):
    torch.manual_seed(0)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        layer = BinaryConv2d(4, 6, **options, input_quantizer=quantizer)
        x = (2 * torch.randn(3, 4, 9, 8)).to(memory_format=memory_format).requires_grad_()
        upstream = torch.randn_like(layer(x))
        got, expected = layer(x), plain_conv(layer, x)
        torch.testing.assert_close(got, expected)
        wanted = (x, *layer.parameters())
        for a, b in zip(
            torch.autograd.grad(got, wanted, upstream), torch.autograd.grad(expected, wanted, upstream), strict=True
        ):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7)])
def test_gradients_are_those_of_the_plain_dense_layer(shape):
    torch.manual_seed(0)
    layer = BinaryLinear(7, 6)
    x = (2 * torch.randn(shape)).requires_grad_()
    expected = F.linear(layer.input_quantizer(x), layer.weight_quantizer(layer.weight), layer.bias)
    upstream = torch.randn_like(expected)
    wanted = (x, *layer.parameters())
    for a, b in zip(
        torch.autograd.grad(layer(x), wanted, upstream), torch.autograd.grad(expected, wanted, upstream), strict=True
    ):
        torch.testing.assert_close(a, b)


@given(st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=20, deadline=None)
def test_gradients_of_any_number_of_elements(channels, size):
    """Not only multiples of eight, which fill whole bytes."""
    layer = BinaryConv2d(channels, 2, 1, bias=False)
    x = torch.randn(1, channels, size, size, requires_grad=True)
    wanted = (x, layer.weight)
    for a, b in zip(
        torch.autograd.grad(layer(x).sum(), wanted),
        torch.autograd.grad(plain_conv(layer, x).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def kept_bytes(module, x):
    """Bytes saved for the backward pass, parameters and the input itself left out, each tensor once."""
    held = {p.untyped_storage().data_ptr() for p in (*module.parameters(), x)}
    kept = {}

    def keep(tensor):
        if tensor.untyped_storage().data_ptr() not in held:
            kept[tensor.untyped_storage().data_ptr()] = (tensor, tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = module(x)
    del out
    return sum(size for _, size in kept.values())


@pytest.mark.parametrize("make", [lambda: BinaryConv2d(64, 8, 3, padding=1), lambda: BinaryLinear(64 * 256, 8)])
def test_a_binary_activation_is_kept_in_two_bits(make):
    """The mask and the sign; a float layer keeps 32 bits an element. Of the weights, only alpha is kept."""
    layer = make()
    shape = (16, 64, 16, 16) if isinstance(layer, nn.Conv2d) else (16, 64 * 256)
    x = torch.randn(shape, requires_grad=True)
    alpha = len(layer.weight) * 4
    kept = kept_bytes(layer, x * 1)
    assert kept - alpha == x.numel() // 4
    assert kept - alpha <= x.numel() * 4 / 8


@pytest.mark.parametrize(
    ("quantizer", "bits"),
    [
        *((name, 1) for name in ("ste_sign", "approx_sign", "rsign", "ede_sign", "kbit:1")),
        *((name, 8) for name in ("dorefa:1", "kbit:2", "kbit:7", "dorefa:7")),
        ("kbit:8", 16),
    ],
)
def test_codes_are_kept_in_few_bits(quantizer, bits):
    """Beside what the quantizer itself keeps for its gradient."""
    layer = BinaryLinear(64, 8, input_quantizer=quantizer, weight_quantizer=None, bias=False)
    x = torch.randn(32, 64, requires_grad=True)
    divided = layer.weight.numel() * 4 if layer.input_quantizer.steps > 1 else 0  # by the steps, the weight
    alone = kept_bytes(layer.input_quantizer, x * 1)
    assert kept_bytes(layer, x * 1) - alone - divided == x.numel() * bits // 8


def test_a_block_keeps_little_more_than_its_norm():
    """The norm keeps its float input, as everywhere; ReLU and a float convolution would keep another float tensor."""
    x = torch.randn(8, 64, 16, 16)
    binary = nn.Sequential(nn.BatchNorm2d(64), BinaryConv2d(64, 64, 3, padding=1, bias=False))
    plain = nn.Sequential(nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1, bias=False))
    kept = [kept_bytes(block, x) for block in (binary, plain)]  # x itself, the norm's input, is not counted
    assert kept[0] < kept[1] / 8


@pytest.mark.parametrize("quantizer", ["ste_sign", "approx_sign", "ede_sign", "kbit:2"])
@pytest.mark.parametrize(
    "make", [lambda **q: BinaryConv2d(4, 6, 3, padding=1, **q), lambda **q: BinaryLinear(4, 6, **q)]
)
def test_compiled_layers_compute_the_same(make, quantizer):
    torch.manual_seed(0)
    layer = make(input_quantizer=quantizer)
    x = torch.randn((3, 4, 6, 6) if isinstance(layer, nn.Conv2d) else (3, 4))
    x.view(-1)[:3] = torch.tensor([0.0, -0.0, 1.0])
    results = []
    for run in (layer, torch.compile(copy.deepcopy(layer), backend="aot_eager", fullgraph=True)):
        inputs = x.clone().requires_grad_()
        out = run(inputs)
        out.square().sum().backward()
        results.append((out, inputs.grad, *(p.grad for p in run.parameters())))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiling_keeps_the_sign_of_both_zeros(backend):
    x = torch.tensor([0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45])
    try:
        got = torch.compile(sign, backend=backend)(x)
    except torch._dynamo.exc.BackendCompilerFailed as error:
        pytest.skip(f"torch.compile does not work here: {error}")
    assert got.tolist() == [1, 1, 1, -1, 1, -1]


@pytest.mark.parametrize("make", [lambda: BinaryConv2d(64, 6, 3, padding=1), lambda: BinaryLinear(64, 6)])
def test_autocast(make):
    """bfloat16 sums; latent weights, their gradient and alpha stay in float32."""
    torch.manual_seed(0)
    layer = make()
    x = torch.randn((3, 64, 6, 6) if isinstance(layer, nn.Conv2d) else (3, 64), requires_grad=True)
    exact = layer(x)
    upstream = torch.randn_like(exact)
    expected = torch.autograd.grad(exact, (x, *layer.parameters()), upstream)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
        assert layer.weight_quantizer(layer.weight).dtype == torch.float32
    assert out.dtype in (torch.bfloat16, torch.float32)
    out.backward(upstream.to(out.dtype))
    grads = [x.grad, *(p.grad for p in layer.parameters())]
    torch.testing.assert_close(out.float(), exact, rtol=0.02, atol=0.02)
    for got, wanted in zip(grads, expected, strict=True):
        assert got.dtype == torch.float32
        assert (got - wanted).norm() < 0.02 * wanted.norm()
