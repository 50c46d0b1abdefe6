"""Values and gradients of the quantizers of BinaryConnect, BinaryNet, DoReFa-Net, Bi-Real Net, ReActNet, of k bits."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from xnornet.nn import BinaryConv2d, BinaryLinear, RPReLU
from xnornet.nn.quantizers import (
    ApproxSign,
    BinaryGradient,
    ClippedSign,
    DoReFaGradient,
    DoReFaWeight,
    KBitWeight,
    LearnedSign,
    RSign,
    ScaledSign,
    SignWeight,
    StochasticSign,
    input_quantizer,
)

# The ends of every range and their neighbours, zeros of both signs, and what lies beyond.
X = np.concatenate(
    [
        np.linspace(-2, 2, 4001, dtype=np.float32),
        np.array([0.0, -0.0, 1e-45, -1e-45, *np.nextafter(np.float32([1, 1, -1, -1]), np.float32([0, 2, 0, -2]))]),
    ]
).astype(np.float32)


def numpy_sign(x):
    return np.where(x >= 0, 1.0, -1.0)


def gradient(function, x, upstream):
    tensor = torch.from_numpy(np.asarray(x)).requires_grad_()
    function(tensor).backward(torch.from_numpy(np.asarray(upstream)))
    return tensor.grad.numpy()


UPSTREAM = np.linspace(-3, 5, X.size, dtype=np.float32)


def test_approx_sign():
    """Bi-Real Net, eq. 9: the derivative of 2x + x^2 below zero, 2x - x^2 above it, within [-1, 1]."""
    np.testing.assert_array_equal(ApproxSign()(torch.from_numpy(X)).numpy(), numpy_sign(X))
    expected = UPSTREAM * np.where(np.abs(X) <= 1, 2 - 2 * np.abs(X), 0)
    np.testing.assert_allclose(gradient(ApproxSign(), X, UPSTREAM), expected, rtol=1e-6)


def test_rsign_shifts_each_channel():
    torch.manual_seed(0)
    quantizer = RSign(3)
    torch.nn.init.normal_(quantizer.shift)
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    upstream = torch.randn(2, 3, 4, 5)
    out = quantizer(x)
    out.backward(upstream)
    shifted = (x + quantizer.shift.view(3, 1, 1)).detach()
    np.testing.assert_array_equal(out.detach().numpy(), numpy_sign(shifted.numpy()))
    expected = upstream * (2 - 2 * shifted.abs()).clamp(min=0)
    torch.testing.assert_close(x.grad, expected)
    torch.testing.assert_close(quantizer.shift.grad, expected.sum((0, 2, 3)))
    layer = BinaryConv2d(3, 2, 3, input_quantizer="rsign")
    assert layer.input_quantizer.shift.shape == (3,)
    assert BinaryLinear(5, 2, input_quantizer="rsign").input_quantizer.shift.shape == (5,)
    torch.nn.init.normal_(layer.input_quantizer.shift)
    layer.reset_parameters()
    assert not layer.input_quantizer.shift.any()
    with pytest.raises(ValueError, match=r"RSign\(channels\)"):
        RSign()(x)
    with pytest.raises(ValueError, match="RSign has 4 shifts, the layer 3"):
        BinaryConv2d(3, 2, 3, input_quantizer=RSign(4))


def test_rprelu():
    torch.manual_seed(0)
    layer = RPReLU(3)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    for shape in ((2, 3), (2, 3, 4, 5)):
        x = torch.randn(shape)
        moved = x.movedim(1, -1) - layer.shift
        expected = torch.where(moved > 0, moved, layer.slope * moved) + layer.offset
        torch.testing.assert_close(layer(x), expected.movedim(-1, 1))


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
@pytest.mark.parametrize(("name", "low"), [("kbit", -1), ("dorefa", 0)])
def test_inputs_of_k_bits(name, low, bits):
    """2^k equally spaced levels from low to 1, ties up; the gradient passes inside the range, ends included."""
    quantizer = input_quantizer(f"{name}:{bits}")
    steps = 2**bits - 1
    place = (np.clip(X.astype(np.float64), low, 1) - low) / (1 - low) * steps
    clear = np.abs(place % 1 - 0.5) > 1e-5  # of ties, where float32 decides
    got = quantizer(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(got[clear], (np.floor(place + 0.5) / steps * (1 - low) + low)[clear], atol=1e-6)
    assert (got.min(), got.max()) == (low, 1)
    assert len(np.unique(got)) == 2**bits
    codes = quantizer(torch.from_numpy(X), as_codes=True).numpy()
    np.testing.assert_array_equal(codes, np.round(codes))
    np.testing.assert_allclose(codes / steps, got, rtol=1e-6)
    inside = (low <= X) & (X <= 1)
    np.testing.assert_allclose(gradient(quantizer, X, UPSTREAM), UPSTREAM * inside, rtol=1e-6)


def weights(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 0.8, shape)  # some of them beyond 1


def test_sign_weights_pass_the_gradient():
    """BinaryConnect and BinaryNet: no scale and no mask; the clip after the step keeps the weights in range."""
    weight, upstream = weights(4, 3, 3, 3), weights(4, 3, 3, 3, seed=1)
    np.testing.assert_array_equal(SignWeight()(torch.from_numpy(weight)).numpy(), numpy_sign(weight))
    np.testing.assert_array_equal(gradient(SignWeight(), weight, upstream), upstream)
    codes, scale = SignWeight().codes(torch.from_numpy(weight))
    np.testing.assert_array_equal(codes.numpy(), numpy_sign(weight))
    assert scale is None


def test_clipped_signs_are_larqs():
    """Signs whose gradient passes on; latent weights of any layer, at the rate of any layer, kept within the clip."""
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(3, 4, 3)
    torch.manual_seed(0)
    layer = BinaryConv2d(3, 4, 3, weight_quantizer="clipped_sign:1.25")
    assert torch.equal(layer.weight, plain.weight)
    assert layer.lr_scale == 1
    weight, upstream = weights(5, 7), weights(5, 7, seed=1)
    np.testing.assert_array_equal(gradient(ClippedSign(1.25), weight, upstream), upstream)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-2, 2, layer.weight.numel()).view_as(layer.weight))
    layer.clip_weights_()
    assert torch.equal(
        layer.weight, torch.linspace(-2, 2, layer.weight.numel()).view_as(layer.weight).clamp(-1.25, 1.25)
    )


def test_stochastic_signs():
    """+1 with probability clip((w + 1) / 2, 0, 1), the gradient passed on; real weights outside training."""
    torch.manual_seed(0)
    values = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 3.0])
    many = values.repeat(4000, 1)
    drawn = StochasticSign()(many)
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    chance = ((values + 1) / 2).clamp(0, 1)
    deviation = (chance * (1 - chance) / 4000).sqrt()
    assert (((drawn > 0).double().mean(0) - chance).abs() <= 4.5 * deviation).all()
    weight, upstream = weights(5, 7), weights(5, 7, seed=1)
    np.testing.assert_array_equal(gradient(StochasticSign(), weight, upstream), upstream)
    real, sign_ = StochasticSign().eval(), StochasticSign("sign").eval()
    assert torch.equal(real(many), many)
    assert torch.equal(real.codes(many)[0], many)
    np.testing.assert_array_equal(sign_(many).numpy(), numpy_sign(many.numpy()))
    assert (real.bits, sign_.bits) == (32, 1)


def test_the_learning_rate_and_the_weights_that_begin_in_the_unit_interval():
    """BinaryConnect's code: the inverse of Glorot's bound, sqrt(1.5 / (fan in + fan out))."""
    torch.manual_seed(0)
    layer = BinaryConv2d(8, 16, 3, weight_quantizer="sign")
    assert layer.lr_scale == pytest.approx(1 / math.sqrt(1.5 / (8 * 9 + 16 * 9)))
    assert BinaryLinear(30, 20, weight_quantizer="sign").lr_scale == pytest.approx(1 / math.sqrt(1.5 / 50))
    assert BinaryConv2d(8, 16, 3).lr_scale == 1
    assert 0.9 < layer.weight.data.max() <= 1
    assert -1 <= layer.weight.data.min() < -0.9
    layer.weight.data.zero_()
    layer.reset_parameters()
    assert float(layer.weight.data.std()) == pytest.approx(1 / math.sqrt(3), rel=0.05)


def test_a_learned_scale():
    weight, upstream = weights(4, 3, 3, 3), weights(4, 3, 3, 3, seed=1)
    quantizer = LearnedSign()
    quantizer.attach(torch.from_numpy(weight))
    np.testing.assert_allclose(quantizer.scale.detach(), np.abs(weight).mean(axis=(1, 2, 3)))
    torch.nn.init.normal_(quantizer.scale)
    scale = quantizer.scale.detach().numpy()
    latent = torch.from_numpy(weight).requires_grad_()
    out = quantizer(latent)
    out.backward(torch.from_numpy(upstream))
    spread = scale.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(out.detach().numpy(), numpy_sign(weight) * spread)
    np.testing.assert_allclose(latent.grad.numpy(), spread * (np.abs(weight) <= 1) * upstream)
    np.testing.assert_allclose(quantizer.scale.grad.numpy(), (upstream * numpy_sign(weight)).sum((1, 2, 3)))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_weights_of_k_bits(bits):
    """q_k of the clipped weight, the optimal scale for these codes, and the gradient through both."""
    weight, upstream = weights(5, 4, 3, 3), weights(5, 4, 3, 3, seed=1)
    quantizer, steps = KBitWeight(bits), 2**bits - 1
    b = 2 * np.floor((np.clip(weight, -1, 1) + 1) * steps / 2 + 0.5) - steps
    flat_w, flat_b = weight.reshape(5, -1), b.reshape(5, -1)
    alpha = ((flat_w * flat_b).sum(1) / (flat_b**2).sum(1)).reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(quantizer(torch.from_numpy(weight)).numpy(), alpha * b)
    codes, scale = quantizer.codes(torch.from_numpy(weight))
    np.testing.assert_array_equal(codes.numpy(), b)
    np.testing.assert_allclose(scale.numpy(), alpha.ravel())
    for other in (0.99, 1.01):  # no other scale is nearer
        assert (((weight - other * alpha * b) ** 2).sum((1, 2, 3)) > ((weight - alpha * b) ** 2).sum((1, 2, 3))).all()
    through_scale = b * ((upstream * b).sum((1, 2, 3)) / (b**2).sum((1, 2, 3))).reshape(-1, 1, 1, 1)
    through_codes = alpha * steps * (np.abs(weight) <= 1) * upstream
    np.testing.assert_allclose(gradient(quantizer, weight, upstream), through_scale + through_codes, rtol=1e-9)
    if bits == 1:
        np.testing.assert_allclose(gradient(ScaledSign(), weight, upstream), through_scale + through_codes, rtol=1e-9)

    def cost(w):  # codes held fixed
        return float((upstream * b * ((w * b).sum((1, 2, 3)) / (b**2).sum((1, 2, 3))).reshape(-1, 1, 1, 1)).sum())

    at = (2, 1, 0, 2)
    delta = np.zeros_like(weight)
    delta[at] = 1e-6
    numeric = (cost(weight + delta) - cost(weight - delta)) / 2e-6
    assert through_scale[at] == pytest.approx(numeric, rel=1e-6)


def test_dorefa_weights_of_one_bit():
    """Eq. 8: one scale for the whole layer, taken as a constant; the gradient passes, beyond 1 too."""
    weight, upstream = weights(4, 3, 3, 3), weights(4, 3, 3, 3, seed=1)
    got = DoReFaWeight(1)(torch.from_numpy(weight)).numpy()
    np.testing.assert_allclose(got, np.abs(weight).mean() * numpy_sign(weight))
    np.testing.assert_array_equal(gradient(DoReFaWeight(1), weight, upstream), upstream)
    latent = torch.from_numpy(weight.copy())
    DoReFaWeight(1).constrain_(latent)
    np.testing.assert_array_equal(latent.numpy(), weight)


@pytest.mark.parametrize("bits", [2, 4])
def test_dorefa_weights_of_k_bits(bits):
    """Eq. 9: 2 Q_k(tanh W / (2 max|tanh W|) + 1/2) - 1; the gradient is that of what is rounded."""
    weight, upstream = weights(3, 2, 3, 3), weights(3, 2, 3, 3, seed=1)
    steps = 2**bits - 1

    def before_rounding(w):
        return np.tanh(w) / (2 * np.abs(np.tanh(w)).max()) + 0.5

    expected = 2 * np.floor(before_rounding(weight) * steps + 0.5) / steps - 1
    quantizer = DoReFaWeight(bits)
    np.testing.assert_allclose(quantizer(torch.from_numpy(weight)).numpy(), expected, atol=1e-12)
    codes, scale = quantizer.codes(torch.from_numpy(weight))
    np.testing.assert_allclose(codes.numpy(), expected * steps, atol=1e-9)
    np.testing.assert_allclose(scale.numpy(), np.full(3, 1 / steps))
    numeric = np.empty_like(weight)
    for i in np.ndindex(weight.shape):
        delta = np.zeros_like(weight)
        delta[i] = 1e-6
        change = 2 * (before_rounding(weight + delta) - before_rounding(weight - delta)) / 2e-6
        numeric[i] = (upstream * change).sum()
    np.testing.assert_allclose(gradient(quantizer, weight, upstream), numeric, rtol=1e-5, atol=1e-6)
    assert torch.isfinite(quantizer(torch.zeros(2, 3))).all()


def test_binary_gradients():
    """max|g| sign(g) of each sample (section 3.2); what is exactly 0 stays 0."""
    x, upstream = weights(3, 2, 4, 4), weights(3, 2, 4, 4, seed=1)
    upstream[:, :, 0] = 0
    largest = np.abs(upstream).max(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(gradient(BinaryGradient(), x, upstream), largest * np.sign(upstream))
    assert (gradient(BinaryGradient(), x, np.zeros_like(x)) == 0).all()
    layer = BinaryConv2d(2, 3, 3, bias=False, gradient_quantizer="binary")
    inputs = torch.randn(2, 2, 5, 5, requires_grad=True)
    signal = torch.randn(2, 3, 3, 3)
    layer(inputs).backward(signal)
    arriving = signal.sign() * signal.abs().amax((1, 2, 3), keepdim=True)
    binary = layer.weight_quantizer(layer.weight.detach())
    torch.testing.assert_close(inputs.grad, F.conv_transpose2d(arriving, binary) * (inputs.abs() <= 1))
    real = BinaryConv2d(2, 3, 3, bias=False)  # the weights' gradient is that of the real one
    real.weight.data = layer.weight.data
    real(inputs).backward(signal)
    torch.testing.assert_close(layer.weight.grad, real.weight.grad)
    dense = BinaryLinear(4, 3, bias=False, input_quantizer=None, gradient_quantizer="binary")
    inputs, signal = torch.randn(2, 4, requires_grad=True), torch.randn(2, 3)
    dense(inputs).backward(signal)
    arriving = signal.sign() * signal.abs().amax(1, keepdim=True)
    torch.testing.assert_close(inputs.grad, arriving @ dense.weight_quantizer(dense.weight.detach()))


def test_dorefa_gradients_are_unbiased_and_of_few_values():
    """Eq. 12."""
    torch.manual_seed(0)
    x, upstream = weights(2, 3, 5), weights(2, 3, 5, seed=1)
    draws = np.stack([gradient(DoReFaGradient(2), x, upstream) for _ in range(3000)])
    largest = np.abs(upstream).max(axis=(1, 2), keepdims=True)
    levels = (draws / (2 * largest) + 0.5) * 3
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-9)
    assert set(np.round(levels).ravel()) == {0, 1, 2, 3}
    inside = np.abs(upstream) < 0.6 * largest  # at the ends the clip takes some of the noise away
    error = np.abs(draws.mean(axis=0) - upstream) / largest
    assert error[inside].max() < 0.05


def test_centring():
    weight = torch.from_numpy(weights(4, 3, 2, 2))
    expected = (weight - weight.mean(1, keepdim=True)).clamp(-1, 1)
    ScaledSign(center=True).constrain_(weight)
    torch.testing.assert_close(weight, expected)
    layer = BinaryConv2d(3, 4, 3, weight_quantizer="scaled_sign:center=true")
    torch.testing.assert_close(layer.weight.mean(1), torch.zeros(4, 3, 3), atol=1e-6, rtol=0)
    with pytest.warns(UserWarning, match="one input channel are not centred"):
        depthwise = BinaryConv2d(4, 4, 3, groups=4, weight_quantizer="scaled_sign:center=true")
    depthwise.clip_weights_()
    assert depthwise.weight.abs().max() > 0


@pytest.mark.parametrize("name", ["scaled_sign", "learned_sign", "sign", "kbit:2", "dorefa:1", "dorefa:3"])
def test_eval_mode_has_the_values_and_the_gradients_of_training_mode(name):
    torch.manual_seed(0)
    layer = BinaryConv2d(4, 6, 3, weight_quantizer=name, input_quantizer="kbit:2")
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    upstream = torch.randn(2, 6, 4, 4)
    wanted = (x, *layer.parameters())
    outs = [layer.train()(x), layer.eval()(x)]
    torch.testing.assert_close(outs[0], outs[1])
    grads = [torch.autograd.grad(out, wanted, upstream) for out in outs]
    torch.testing.assert_close(*grads)
