"""The paper's identities as acceptance tests, and one step of its released code."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from xnornet import Model, ops
from xnornet.bench.efficiency import speedup
from xnornet.convert import lower
from xnornet.models import create
from xnornet.nn import BinaryConv2d, BinaryLinear
from xnornet.nn.functional import input_scale, quantize, sign
from xnornet.nn.quantizers import ScaledSign, input_quantizer
from xnornet.ops import Window

from .engine_cases import ISAS, model_of, random_bits


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_1_alpha_and_sign_minimise_the_distance(seed):
    """Eqs. 3 to 6: among all alpha (a grid) and all B, ||W - alpha B||^2 is least at mean|W| and sign(W)."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(1, rng.integers(1, 7))).astype(np.float32)
    codes, scale = ScaledSign().codes(torch.from_numpy(weight))
    w, best = weight[0].astype(np.float64), float(scale[0])

    def cost(alpha, signs):
        return float(((w - alpha * signs) ** 2).sum())

    least = cost(best, codes[0].numpy())
    # J* = ||W||^2 - n alpha*^2 (the residual, from putting alpha* into eq. 3)
    assert least == pytest.approx((w**2).sum() - w.size * best**2, rel=1e-5, abs=1e-6)
    for signs in itertools.product((-1.0, 1.0), repeat=w.size):
        for alpha in np.linspace(0.0, 3.0, 61):
            assert cost(alpha, np.array(signs)) >= least - 1e-6


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_2_k_is_the_mean_magnitude_of_each_window(kernel, stride, padding):
    x = torch.randn(2, 5, 9, 8, dtype=torch.double)
    windows = F.unfold(x.abs(), kernel, stride=stride, padding=padding)  # (N, elements of a window, windows)
    k = input_scale(x, (kernel, kernel), (stride, stride), (padding,) * 4, (1, 1), groups=1)
    torch.testing.assert_close(k.flatten(1), windows.mean(dim=1))


@pytest.mark.parametrize("channels", [1, 3, 31, 32, 63, 64, 65, 96, 130])
def test_3_a_binary_convolution_is_the_float_one_of_signs_exactly(channels):
    rng = np.random.default_rng(channels)
    for kernel, stride, padding in itertools.product((1, 3, 5, 6), (1, 2), (0, 1, 2)):
        window = Window((kernel, kernel), (stride, stride), (padding,) * 4)
        weight = random_bits(rng, 5, kernel, kernel, channels)
        x = rng.normal(size=(1, channels, 7, 8)).astype(np.float32)
        layers = [
            ops.Sign(name="s", inputs=("input",)),
            ops.BinaryConv2d(name="c", inputs=("s",), weight=weight, window=window),
            ops.Affine(name="f", inputs=("c",)),
        ]
        filters = torch.from_numpy(weight.signs()).permute(0, 3, 1, 2)
        expected = F.conv2d(sign(torch.from_numpy(x)), filters.float(), None, stride, padding)
        model = model_of((7, 8, channels), layers)
        for isa in ISAS:
            got = Model(model, isa=isa).run(x)
            np.testing.assert_array_equal(got.reshape(-1), expected.permute(0, 2, 3, 1).reshape(-1).numpy())


def settled_norm(channels):
    """Batch norm with statistics, and slopes of both signs, tiny and 0."""
    norm = nn.BatchNorm2d(channels).eval()
    with torch.no_grad():
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.05, 1)
        norm.bias.normal_(0, 0.3)
        norm.weight.copy_(torch.randn(channels) * torch.tensor([1.0, 1.0, 1.0, 0.0, 1e-6]).repeat(channels)[:channels])
    return norm


@pytest.mark.parametrize("bias", [False, True])
def test_4_a_threshold_is_batch_norm_and_sign_bit_for_bit(bias):
    """At every sum d that can occur, so at T - 1, T and T + 1 too."""
    torch.manual_seed(0)
    layer, norm = BinaryConv2d(7, 40, 1, bias=bias).eval(), settled_norm(40)
    net = nn.Sequential(nn.Conv2d(1, 7, 1), layer, norm, BinaryConv2d(40, 3, 1), nn.Flatten()).eval()
    (threshold,) = (op for op in lower(net, torch.zeros(1, 1, 1, 1)).ops if isinstance(op, ops.Threshold))
    d = torch.arange(-7.0, 8.0).view(-1, 1, 1, 1).expand(-1, 40, 1, 1)
    with torch.no_grad():
        alpha = layer.weight.abs().flatten(1).mean(1).view(-1, 1, 1)
        value = d * alpha
        value = value if layer.bias is None else value + layer.bias.view(-1, 1, 1)
        expected = sign(norm(value)).flatten(1).numpy()
    sums = d.flatten(1).numpy()
    got = np.where(threshold.descending == 1, sums <= threshold.threshold, sums >= threshold.threshold)
    np.testing.assert_array_equal(np.where(got, 1, -1), expected)
    assert 0 < threshold.descending.sum() < 40
    assert (norm.weight == 0).any()


@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (3, 1, 0)])
def test_5_pooling_bits_is_max_pool_then_batch_norm_then_sign(window):
    """By or where the slope is positive, by and where it is negative."""
    torch.manual_seed(0)
    kernel, stride, padding = window
    net = nn.Sequential(
        nn.Conv2d(1, 20, 3),
        nn.BatchNorm2d(20),
        BinaryConv2d(20, 40, 3, padding=1),
        nn.MaxPool2d(kernel, stride, padding),
        settled_norm(40),
        BinaryConv2d(40, 6, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).eval()
    x = torch.randn(16, 1, 12, 12)
    packed = lower(net, torch.zeros(1, 1, 12, 12))
    kinds = [op.kind for op in packed.ops]
    assert kinds.index("threshold") < len(kinds) - 1
    assert {"max_pool2d", "threshold"} <= set(kinds)
    with torch.no_grad():
        expected = net(x).numpy()
    for isa in ISAS:
        np.testing.assert_allclose(Model(packed, isa=isa).run(x.numpy()), expected, rtol=1e-5, atol=1e-5)


def test_6_the_exact_gradient_is_the_derivative_where_there_is_one():
    """Of alpha by finite differences, with the signs held fixed; of sign, the straight-through estimator's mask."""
    rng = np.random.default_rng(2)
    weight, upstream = rng.normal(0, 0.7, (2, 3, 9))
    signs = np.where(weight >= 0, 1.0, -1.0)

    def cost(w):
        return float((upstream * np.abs(w).mean(axis=1, keepdims=True) * signs).sum())

    step = 1e-6  # far below every |w|, so that no sign changes
    assert np.abs(weight).min() > 10 * step
    numeric = np.empty_like(weight)
    for i in np.ndindex(weight.shape):
        delta = np.zeros_like(weight)
        delta[i] = step
        numeric[i] = (cost(weight + delta) - cost(weight - delta)) / (2 * step)
    latent = torch.from_numpy(weight).requires_grad_()
    ScaledSign("exact")(latent).backward(torch.from_numpy(upstream))
    ste = np.abs(weight).mean(axis=1, keepdims=True) * (np.abs(weight) <= 1) * upstream
    assert (np.abs(weight) > 1).any()
    np.testing.assert_allclose(latent.grad.numpy(), numeric + ste, rtol=1e-6, atol=1e-9)


def test_7_q1_is_sign_and_q2_has_four_levels():
    x = torch.linspace(-1.5, 1.5, 3001)
    assert torch.equal(quantize(x, 1, signed=True), sign(x))
    assert quantize(torch.zeros(1), 1, signed=True).item() == 1  # ties round up
    levels = input_quantizer("kbit:2")(x).unique()
    torch.testing.assert_close(levels, torch.tensor([-1, -1 / 3, 1 / 3, 1]))
    # q_k(x) = 2 ([(2^k - 1)(x + 1) / 2] / (2^k - 1) - 1/2), section 3.2, away from ties
    for bits in range(1, 9):
        steps, inside = 2**bits - 1, torch.linspace(-1, 1, 1013, dtype=torch.double)
        formula = 2 * (((inside + 1) / 2 * steps).round() / steps - 0.5)
        tied = ((inside + 1) / 2 * steps % 1 - 0.5).abs() < 1e-9
        torch.testing.assert_close(input_quantizer(f"kbit:{bits}")(inside)[~tied], formula[~tied])


def test_8_the_speedup_of_the_model():
    """Section 4.1, and points of the curves of figure 4."""
    assert round(speedup(256, 9), 2) == 62.27
    curve = {1: 7.89, 2: 14.05, 3: 18.99, 32: 52.4, 1024: 63.6}
    assert {c: round(speedup(c, 9), 2 if c < 10 else 1) for c in curve} == curve
    assert [round(speedup(256, k * k), 1) for k in (1, 2, 5, 11)] == [51.2, 60.2, 63.4, 63.9]


def test_9_parameters():
    with torch.device("meta"):
        alexnet, resnet, googlenet = (create(n, "xnor", num_classes=1000) for n in ("alexnet", "resnet18", "googlenet"))
        float_alexnet = create("alexnet", "float", num_classes=1000)
    layers = [m for m in float_alexnet.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == 62_378_344
    assert sum(isinstance(m, nn.Conv2d) for m in googlenet.modules()) == 21
    binary = [m.weight.numel() for m in resnet.modules() if isinstance(m, BinaryConv2d | BinaryLinear)]
    assert sum(binary) == 10_985_472
    assert sum(m.weight.numel() for m in alexnet.modules() if isinstance(m, BinaryConv2d)) == 58_236_928


@pytest.mark.parametrize("method", ["bwn", "xnor"])
def test_10_batch_norm_takes_alpha_out(method):
    """With alpha = 1 and the statistics estimated again, the logits are the same."""
    torch.manual_seed(0)
    network = create("small_convnet", method, width=8, image_size=12).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps, module.momentum = 1e-12, 1.0
    x = torch.randn(64, 1, 12, 12, dtype=torch.double)

    def logits():
        with torch.no_grad():
            network.train()(x)
            return network.eval()(x)

    before = logits()
    for module in network.modules():
        if isinstance(module, BinaryConv2d):
            module.weight_quantizer.codes = lambda weight: (sign(weight), None)
            module.weight_quantizer.forward = lambda weight: sign(weight)
    torch.testing.assert_close(logits(), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("gradient", "factor"), [("code-sgd", 12), ("code-adam", 1)])
def test_one_step_of_the_released_code(gradient, factor):
    """Centre, clamp, binarise, backward, rescale, step: worked in NumPy, for a convolution of 3 channels, 2 x 2."""
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.8, (4, 3, 2, 2)).astype(np.float32)
    x = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    upstream = rng.normal(size=(2, 4, 4, 3)).astype(np.float32)
    rate = 0.01

    def centred_and_clamped(w):
        return np.clip(w - w.mean(axis=1, keepdims=True), -1, 1)

    w = centred_and_clamped(weight.astype(np.float64))
    assert (np.abs(w) == 1).any()
    n, c = 12, 3
    alpha = np.abs(w).mean(axis=(1, 2, 3), keepdims=True)
    g = np.zeros_like(w)  # dC/dW~: what each weight meets, times the gradient there
    for i, j in itertools.product(range(2), range(2)):
        g[:, :, i, j] = np.einsum("noyx,ncyx->oc", upstream, x[:, :, i : i + 4, j : j + 3])
    g = g * (alpha * (np.abs(w) < 1) + 1 / n) * (1 - 1 / c) * factor
    expected = w - rate * g

    layer = BinaryConv2d(
        3, 4, 2, bias=False, input_quantizer=None, weight_quantizer=f"scaled_sign:gradient={gradient},center=true"
    )
    layer.weight.data = torch.from_numpy(weight)
    optimiser = torch.optim.SGD(layer.parameters(), lr=rate)
    layer.clip_weights_()
    out = layer(torch.from_numpy(x))
    binary = alpha * np.where(w >= 0, 1, -1)
    torch.testing.assert_close(out, F.conv2d(torch.from_numpy(x), torch.from_numpy(binary).float()))
    out.backward(torch.from_numpy(upstream))
    optimiser.step()
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected, atol=1e-6)
    layer.clip_weights_()  # as the next step begins
    np.testing.assert_allclose(layer.weight.detach().numpy(), centred_and_clamped(expected), atol=1e-6)
