"""Binary layers: drop-in equality with torch's, alpha and K as the paper defines them, paddings, train against eval."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xnornet.nn import METHODS, BinaryConv2d, BinaryLinear, SteSign, clip_weights_, method
from xnornet.nn.functional import feature_scale, input_scale, pad, sign
from xnornet.nn.quantizers import InputQuantizer


def binary(weight):
    """alpha * sign(W), spelled out."""
    alpha = weight.abs().flatten(1).mean(1).view(-1, *[1] * (weight.dim() - 1))
    return alpha * sign(weight)


CONVOLUTIONS = [
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (0, 1)},
    {"kernel_size": 3, "dilation": 2, "padding": 2, "groups": 2},
    {"kernel_size": 1, "stride": 2, "bias": False},
    {"kernel_size": (3, 5), "padding": "same"},
    {"kernel_size": 3, "padding": "valid", "groups": 4},
]


@pytest.mark.parametrize("options", CONVOLUTIONS)
@pytest.mark.parametrize("quantizer", [None, "ste_sign"])
def test_a_binary_convolution_is_torch_convolution_of_binary_tensors(options, quantizer):
    torch.manual_seed(0)
    layer = BinaryConv2d(4, 8, **options, input_quantizer=quantizer).train()
    plain = nn.Conv2d(4, 8, **options)
    assert {k: v.shape for k, v in layer.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    plain.load_state_dict(layer.state_dict())
    plain.weight.data = binary(plain.weight.data)
    x = torch.randn(2, 4, 9, 8)
    torch.testing.assert_close(layer(x), plain(x if quantizer is None else sign(x)))


@pytest.mark.parametrize("quantizer", [None, "ste_sign"])
def test_a_binary_dense_layer_is_torch_linear_of_binary_tensors(quantizer):
    torch.manual_seed(0)
    layer = BinaryLinear(6, 5, input_quantizer=quantizer).train()
    plain = nn.Linear(6, 5)
    plain.load_state_dict(layer.state_dict())
    plain.weight.data = binary(plain.weight.data)
    x = torch.randn(3, 6)
    torch.testing.assert_close(layer(x), plain(x if quantizer is None else sign(x)))


def test_same_seed_same_latent_weights_as_torch():
    torch.manual_seed(3)
    expected = nn.Conv2d(3, 4, 3).weight
    torch.manual_seed(3)
    assert torch.equal(BinaryConv2d(3, 4, 3).weight, expected)


def mean_of_windows(x, kernel, stride, padding, dilation, groups):
    """K by its definition: mean |x| over each window, tap by tap, zeros outside."""
    n, channels, height, width = x.shape
    top, bottom, left, right = padding
    padded = np.zeros((n, channels, height + top + bottom, width + left + right))
    padded[:, :, top : top + height, left : left + width] = np.abs(x)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    rows = range(0, padded.shape[2] - reach[0] + 1, stride[0])
    columns = range(0, padded.shape[3] - reach[1] + 1, stride[1])
    out = np.empty((n, groups, len(rows), len(columns)))
    for g, (i, row), (j, column) in itertools.product(range(groups), enumerate(rows), enumerate(columns)):
        part = padded[:, g * channels // groups : (g + 1) * channels // groups]
        window = part[:, :, row : row + reach[0] : dilation[0], column : column + reach[1] : dilation[1]]
        out[:, g, i, j] = window.mean(axis=(1, 2, 3))
    return out


WINDOWS = [
    ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    ((2, 3), (1, 2), (0, 1, 2, 0), (1, 1), 2),
    ((3, 2), (2, 1), (2, 2, 1, 1), (2, 1), 3),
    ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 6),
    ((7, 6), (1, 1), (0, 0, 0, 0), (1, 1), 1),
]


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "groups"), WINDOWS)
def test_k_is_the_mean_magnitude_of_each_window(kernel, stride, padding, dilation, groups):
    x = torch.randn(2, 6, 7, 6, generator=torch.Generator().manual_seed(0))
    got = input_scale(x, kernel, stride, padding, dilation, groups)
    expected = mean_of_windows(x.numpy().astype(np.float64), kernel, stride, padding, dilation, groups)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("options", CONVOLUTIONS)
@pytest.mark.parametrize("training", [True, False])
def test_a_convolution_with_k(options, training):
    """Eq. 11: (sign(I) * sign(W)) . K alpha, plus the bias, which no scale touches."""
    torch.manual_seed(0)
    layer = BinaryConv2d(4, 8, **options, input_scale="k").train(training)
    x = torch.randn(2, 4, 9, 8)
    groups = options.get("groups", 1)
    plain = nn.Conv2d(4, 8, **{**options, "bias": False})
    plain.weight.data = sign(layer.weight.data)
    k = mean_of_windows(
        x.numpy(), layer.kernel_size, layer.stride, layer.explicit_padding, layer.dilation, groups
    ).repeat(8 // groups, axis=1)
    alpha = layer.weight.abs().flatten(1).mean(1).view(-1, 1, 1)
    expected = plain(sign(x)) * alpha * torch.from_numpy(k).float()
    expected = expected if layer.bias is None else expected + layer.bias.view(-1, 1, 1)
    torch.testing.assert_close(layer(x), expected)


def test_a_dense_layer_with_k():
    torch.manual_seed(0)
    layer = BinaryLinear(6, 5, input_scale="k").eval()
    x = torch.randn(3, 6)
    beta = x.abs().mean(dim=1, keepdim=True)
    torch.testing.assert_close(feature_scale(x), beta)
    expected = F.linear(sign(x), sign(layer.weight)) * layer.weight.abs().mean(1) * beta + layer.bias
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(
    "make", [lambda k: BinaryConv2d(4, 3, 3, padding=1, input_scale=k), lambda k: BinaryLinear(4, 3, input_scale=k)]
)
def test_the_gradient_through_k_is_an_option(make):
    """Beyond the STE's clip, all gradient there is comes through K."""
    x = 3 + torch.rand(2, 4, 5, 5) if isinstance(make("k"), nn.Conv2d) else 3 + torch.rand(2, 4)
    for scale, flows in (("k", False), ("k-gradient", True)):
        torch.manual_seed(0)
        inputs = x.clone().requires_grad_()
        layer = make(scale)
        layer(inputs).pow(2).sum().backward()
        assert bool(inputs.grad.abs().sum() > 0) == flows
        assert layer.weight.grad.abs().sum() > 0


def test_the_gradient_through_k_by_finite_differences():
    """Away from sign changes the layer is smooth in its input, but for the STE's part, which is 0 beyond the clip."""
    torch.manual_seed(0)
    layer = BinaryConv2d(2, 3, 3, padding=1, stride=2, input_scale="k-gradient").double()
    x = (2 + torch.rand(1, 2, 4, 4, dtype=torch.double)) * sign(torch.randn(1, 2, 4, 4, dtype=torch.double))
    assert torch.autograd.gradcheck(layer, x.requires_grad_())


@pytest.mark.parametrize("value", [0, 1, -1])
@pytest.mark.parametrize("options", [o for o in CONVOLUTIONS if o.get("padding") != "valid"])
@pytest.mark.parametrize("training", [True, False])
def test_padding_values(value, options, training):
    torch.manual_seed(0)
    layer = BinaryConv2d(4, 8, **options, padding_value=value).train(training)
    x = torch.randn(2, 4, 9, 8)
    padded = pad(sign(x), layer.explicit_padding, float(value))
    expected = F.conv2d(padded, binary(layer.weight), layer.bias, layer.stride, 0, layer.dilation, layer.groups)
    torch.testing.assert_close(layer(x), expected)


def test_padding_values_differ():
    layer = BinaryConv2d(3, 2, 3, padding=1).eval()
    x = torch.randn(1, 3, 4, 4)
    outputs = []
    for value in (0, 1, -1):
        layer.padding_value = value
        outputs.append(layer(x))
    assert not torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[1], outputs[2])
    assert torch.equal(outputs[0][..., 1:-1, 1:-1], outputs[1][..., 1:-1, 1:-1])


@pytest.mark.parametrize("channels", [1, 3, 31, 32, 33, 64, 65, 130])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_eval_sums_are_exact_integers(channels, kernel, stride):
    """In eval mode alpha multiplies the finished sum: what the packed network computes, bit for bit."""
    torch.manual_seed(0)
    layer = BinaryConv2d(channels, 4, kernel, stride=stride, padding=kernel // 2, bias=False).eval()
    x = torch.randn(1, channels, 6, 5)
    with torch.no_grad():
        alpha = layer.weight.abs().flatten(1).mean(1).view(-1, 1, 1)
        sums = F.conv2d(sign(x).to(torch.int64).double(), sign(layer.weight).double(), None, stride, kernel // 2)
        assert torch.equal(sums, sums.round())
        assert torch.equal(layer(x), sums.float() * alpha)


@pytest.mark.parametrize("make", [lambda: BinaryConv2d(5, 6, 3, padding=1), lambda: BinaryLinear(5, 6)])
def test_train_and_eval_agree(make):
    torch.manual_seed(0)
    layer = make()
    x = torch.randn(4, 5, 6, 6) if isinstance(layer, nn.Conv2d) else torch.randn(4, 5)
    torch.testing.assert_close(layer.train()(x), layer.eval()(x))


def test_an_image_alone_gives_what_it_gives_in_a_batch():
    torch.manual_seed(0)
    layer = BinaryConv2d(5, 6, 3, padding=1, input_scale="k").eval()
    x = torch.randn(4, 5, 6, 6)
    for i in range(4):
        torch.testing.assert_close(layer(x[i : i + 1]), layer(x)[i : i + 1])


@pytest.mark.parametrize("quantizer", ["ste_sign", "rsign", None])
@pytest.mark.parametrize("scale", ["none", "k"])
def test_an_image_without_a_batch(quantizer, scale):
    torch.manual_seed(0)
    layer = BinaryConv2d(5, 6, 3, padding=1, input_quantizer=quantizer, input_scale=scale if quantizer else "none")
    x = torch.randn(5, 7, 6, requires_grad=True)
    torch.testing.assert_close(layer(x), layer(x[None])[0])
    layer(x).sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 4, 4), (2, 5, 4), (3, 2, 1, 4)])
@pytest.mark.parametrize("scale", ["none", "k-gradient"])
def test_dense_layers_take_vectors_in_any_arrangement(shape, scale):
    """A shift belongs to a feature, which is on the last axis."""
    torch.manual_seed(0)
    layer = BinaryLinear(4, 3, input_quantizer="rsign", input_scale=scale)
    torch.nn.init.normal_(layer.input_quantizer.shift)
    x = torch.randn(shape, requires_grad=True)
    out = layer(x)
    rows = [layer(row[None])[0] for row in x.reshape(-1, 4)]
    torch.testing.assert_close(out, torch.stack(rows).reshape(*shape[:-1], 3))
    out.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("scale", ["k", "k-gradient"])
def test_an_empty_batch(scale):
    layer = BinaryConv2d(4, 6, 3, padding=1, groups=2, input_scale=scale)
    x = torch.zeros(0, 4, 5, 5, requires_grad=True)
    assert layer(x).shape == layer.eval()(x).shape == (0, 6, 5, 5)
    layer.train()(x).sum().backward()
    assert x.grad.shape == x.shape


def test_a_quantizer_of_minus_one_zero_and_one():
    """Two bits a value: zeros must still be zeros in the backward pass."""

    class Ternary(InputQuantizer):
        bits = 2

        def codes(self, x):
            return x + (x.round().clamp(-1, 1) - x).detach()

    torch.manual_seed(0)
    layer = BinaryLinear(6, 3, input_quantizer=Ternary(), weight_quantizer="sign", bias=False)
    x, g = torch.randn(5, 6), torch.randn(5, 3)
    layer(x).backward(g)
    torch.testing.assert_close(layer.weight.grad, g.T @ x.round().clamp(-1, 1))


def test_hooks_of_a_quantizer_are_called():
    layer, seen = BinaryLinear(3, 2), []
    layer.input_quantizer.register_full_backward_pre_hook(lambda module, grads: seen.append(grads))
    layer(torch.randn(1, 3, requires_grad=True)).sum().backward()
    assert len(seen) == 1


def test_gradients_reach_weights_and_inputs_through_the_quantizers():
    torch.manual_seed(0)
    layer = BinaryConv2d(2, 3, 3)
    x = (torch.rand(1, 2, 5, 5) * 4 - 2).requires_grad_()
    layer(x).sum().backward()
    arriving = F.conv_transpose2d(torch.ones(1, 3, 3, 3), binary(layer.weight.detach()))
    torch.testing.assert_close(x.grad, arriving * (x.detach().abs() <= 1))
    assert (layer.weight.grad != 0).all()


def test_clip_weights():
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(BinaryLinear(2, 2)), BinaryConv2d(1, 1, 1))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(-7.0)
    clip_weights_(network)
    values = {name: set(p.flatten().tolist()) for name, p in network.named_parameters()}
    assert values == {
        "0.weight": {-7.0},
        "0.bias": {-7.0},  # a float layer
        "1.0.weight": {-1.0},
        "1.0.bias": {-7.0},
        "2.weight": {-1.0},
        "2.bias": {-7.0},
    }


def test_methods_choose_the_layers():
    for name, (weights, inputs) in {"float": (False, False), "bwn": (True, False), "xnor": (True, True)}.items():
        chosen = method(name)
        assert (chosen.binary_weights, chosen.quantized_inputs) == (weights, inputs)
        for layer in (chosen.conv2d(2, 3, 3), chosen.linear(2, 3)):
            assert isinstance(layer, BinaryConv2d | BinaryLinear) == weights
            assert (isinstance(getattr(layer, "input_quantizer", None), SteSign)) == inputs
    assert set(METHODS) >= {"float", "bwn", "xnor"}
    assert method("xnor", "k").conv2d(1, 1, 1).input_scale == "k"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BinaryConv2d(1, 1, 3, padding_mode="reflect", padding=1), "padding_mode 'reflect'"),
        (lambda: BinaryConv2d(1, 1, 3, padding_value=2), "padding_value is -1, 0 or 1, got 2"),
        (lambda: BinaryConv2d(1, 1, 3, padding_value=1, input_quantizer=None), "pads with 0"),
        (lambda: BinaryConv2d(1, 1, 3, input_scale="K"), "input_scale is 'none', 'k' or 'k-gradient', got 'K'"),
        (lambda: BinaryConv2d(1, 1, 3, input_scale="k", input_quantizer=None), "no input quantizer"),
        (lambda: BinaryLinear(1, 1, input_quantizer="relu"), "unknown input quantizer 'relu'"),
        (lambda: BinaryLinear(1, 1, weight_quantizer="relu"), "unknown weight quantizer 'relu'"),
        (lambda: method("xor"), "unknown method 'xor'"),
    ],
)
def test_impossible_layers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_layers_describe_themselves():
    text = repr(BinaryConv2d(1, 2, 3, padding=1, padding_value=1, input_scale="k"))
    assert "padding_value=1" in text
    assert "input_scale='k'" in text
    assert "gradient='exact'" in text
