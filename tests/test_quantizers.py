"""Every quantizer's values and gradient against its closed formula, in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xnornet.nn.functional import sign
from xnornet.nn.quantizers import (
    GRADIENTS,
    INPUT_QUANTIZERS,
    WEIGHT_QUANTIZERS,
    ScaledSign,
    SteSign,
    WeightQuantizer,
    gradient_quantizer,
    input_quantizer,
    weight_quantizer,
)

# Zeros of both signs, the edges of the mask and their neighbours, denormals, and the ends of the range.
EDGES = np.array(
    [
        *(0.0, -0.0, 1e-45, -1e-45, 1e-38, -1e-38),
        *(1.0, -1.0, np.nextafter(np.float32(1), np.float32(2)), -np.nextafter(np.float32(1), np.float32(2))),
        *(np.nextafter(np.float32(1), np.float32(0)), 0.5, -0.5, 3e38, -3e38, np.inf, -np.inf),
    ],
    dtype=np.float32,
)
FLOATS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5), elements=st.floats(-2, 2, width=32)
)


def numpy_sign(x):
    return np.where(x >= 0, 1.0, -1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_sign_of_zeros_edges_and_infinities(dtype):
    x = torch.from_numpy(EDGES).to(dtype)
    out = sign(x)
    assert out.dtype == dtype
    # The reference compares what is left of the values in this dtype.
    np.testing.assert_array_equal(out.double().numpy(), numpy_sign(x.double().numpy()))


@given(FLOATS)
def test_sign_is_plus_or_minus_one(x):
    np.testing.assert_array_equal(sign(torch.from_numpy(x)).numpy(), numpy_sign(x))


def test_sign_keeps_the_memory_format():
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert sign(x).is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(sign(x).numpy(), numpy_sign(x.numpy()))
    np.testing.assert_array_equal(sign(x[:, ::2, 1:, ::3]).numpy(), numpy_sign(x[:, ::2, 1:, ::3].numpy()))


@pytest.mark.parametrize("clip", [1.0, 1.25])
def test_ste_sign(clip):
    finite = EDGES[np.abs(EDGES) < 2]
    x = torch.from_numpy(np.concatenate([EDGES, finite * np.float32(clip)])).requires_grad_()
    upstream = torch.linspace(-3, 5, x.numel())
    out = SteSign(clip)(x)
    out.backward(upstream)
    np.testing.assert_array_equal(out.detach().numpy(), numpy_sign(x.detach().numpy()))
    inside = np.abs(x.detach().numpy()) <= np.float32(clip)  # the edge belongs to the inside
    assert inside.any()
    assert not inside.all()
    np.testing.assert_array_equal(x.grad.numpy(), upstream.numpy() * inside)


@given(FLOATS)
@settings(deadline=None)
def test_ste_sign_on_any_tensor(x):
    tensor = torch.from_numpy(x).requires_grad_()
    upstream = torch.arange(1.0, tensor.numel() + 1).view(tensor.shape)
    SteSign()(tensor).backward(upstream)
    np.testing.assert_array_equal(tensor.grad.numpy(), upstream.numpy() * (np.abs(x) <= 1))


def closed_form(gradient, weight, upstream):
    """dC/dW for g = dC/dW~ (the formulas of paper section 2.1 and of its exact Jacobian), float64, loops."""
    w, g = weight.astype(np.float64), upstream.astype(np.float64)
    out = np.empty_like(w)
    for o in range(len(w)):
        n, alpha, s = w[o].size, np.abs(w[o]).mean(), np.abs(w[o]) <= 1
        if gradient == "exact":
            out[o] = numpy_sign(w[o]) / n * (g[o] * numpy_sign(w[o])).sum() + alpha * s * g[o]
        elif gradient == "paper":
            out[o] = g[o] * (1 / n + alpha * s)
        elif gradient == "ste":
            out[o] = g[o] * s
        elif gradient == "magnitude":
            out[o] = alpha * s * g[o]
        else:  # the released code: its mask leaves the edge out
            c = w.shape[1]
            out[o] = g[o] * (alpha * (np.abs(w[o]) < 1) + 1 / n) * ((1 - 1 / c) if c > 1 else 1)
            out[o] *= n if gradient == "code-sgd" else 1
    return out


def gradient_of(gradient, weight, upstream):
    """What autograd gives for W~."""
    w = torch.from_numpy(weight).requires_grad_()
    ScaledSign(gradient)(w).backward(torch.from_numpy(upstream))
    return w.grad.numpy()


@pytest.mark.parametrize("gradient", list(GRADIENTS))
@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (5, 7), (2, 1, 1, 2), (3, 2, 5, 1)])
def test_scaled_sign_gradient(gradient, shape):
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 0.8, shape).astype(np.float32)  # some of them beyond 1
    weight.flat[0], weight.flat[-1] = -0.0, 1.0
    upstream = rng.normal(size=shape).astype(np.float32)
    got = gradient_of(gradient, weight, upstream)
    np.testing.assert_allclose(got, closed_form(gradient, weight, upstream), rtol=2e-5, atol=1e-6)


def test_scaled_sign_gradients_differ():
    """Otherwise the test above could compare one formula with itself."""
    rng = np.random.default_rng(1)
    weight, upstream = rng.normal(size=(2, 3, 6)).astype(np.float32)
    gradients = [gradient_of(name, weight, upstream) for name in GRADIENTS]
    assert all(np.abs(a - b).max() > 1e-2 for i, a in enumerate(gradients) for b in gradients[:i])


@pytest.mark.parametrize("gradient", list(GRADIENTS))
def test_scaled_sign_mask_edges(gradient):
    edges = EDGES[np.isfinite(EDGES) & (np.abs(EDGES) < 2)].reshape(1, -1)
    upstream = np.linspace(1, 2, edges.size, dtype=np.float32).reshape(1, -1)
    np.testing.assert_allclose(
        gradient_of(gradient, edges, upstream), closed_form(gradient, edges, upstream), rtol=1e-5
    )


@pytest.mark.parametrize("gradient", list(GRADIENTS))
def test_scaled_sign_of_a_filter_of_zeros(gradient):
    weight = np.zeros((2, 4), np.float32)
    weight[1] = (0.5, -0.5, 0.25, -0.0)
    got = gradient_of(gradient, weight, np.ones((2, 4), np.float32))
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, closed_form(gradient, weight, np.ones((2, 4), np.float32)), rtol=1e-6)
    assert (got[0] != 0).all() == (
        gradient not in ("magnitude",)
    )  # alpha = 0 lets nothing through but where it is no factor


@given(hnp.arrays(np.float32, (3, 4, 2), elements=st.floats(-2, 2, width=32)))
def test_scaled_sign_values(weight):
    codes, scale = ScaledSign().codes(torch.from_numpy(weight))
    np.testing.assert_array_equal(codes.numpy(), numpy_sign(weight))
    np.testing.assert_allclose(
        scale.numpy(), np.abs(weight).reshape(3, -1).mean(axis=1, dtype=np.float64), rtol=1e-6, atol=1e-37
    )


def test_names_make_quantizers():
    def bits(make, names):
        return {name: make(name if name not in ("kbit", "dorefa") else f"{name}:3").bits for name in names}

    assert bits(input_quantizer, INPUT_QUANTIZERS) == {
        "ste_sign": 1, "approx_sign": 1, "rsign": 1, "ede_sign": 1, "kbit": 3, "dorefa": 3
    }  # fmt: skip
    assert bits(weight_quantizer, WEIGHT_QUANTIZERS) == {
        "scaled_sign": 1, "learned_sign": 1, "libra_sign": 1, "sign": 1, "clipped_sign": 1, "stochastic_sign": 32,
        "kbit": 3, "dorefa": 3,
    }  # fmt: skip
    assert isinstance(input_quantizer("ste_sign"), SteSign)
    assert input_quantizer("ste_sign:1.25").clip == 1.25
    assert input_quantizer(None) is None
    made = ScaledSign("ste")
    assert weight_quantizer(made) is made
    made = weight_quantizer("scaled_sign:gradient=paper,center=true")
    assert (made.gradient, made.center) == ("paper", True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: input_quantizer("sing"), "unknown input quantizer 'sing'; there are .*ste_sign"),
        (lambda: weight_quantizer("x"), "unknown weight quantizer 'x'.*scaled_sign"),
        (lambda: gradient_quantizer("x"), "unknown gradient quantizer 'x'.*binary"),
        (lambda: ScaledSign("true"), "unknown gradient 'true'.*exact"),
        (lambda: weight_quantizer("scaled_sign:centre=true"), "weight quantizer 'scaled_sign:centre=true'.*centre"),
        (lambda: input_quantizer("kbit"), "input quantizer 'kbit'.*bits"),
        (lambda: input_quantizer("kbit:9"), "1 to 8 bits can be quantized to, got 9"),
        (lambda: input_quantizer("dorefa:a"), "1 to 8 bits can be quantized to, got a"),
        (lambda: weight_quantizer("stochastic_sign:mean"), "eval is 'real' or 'sign', got 'mean'"),
        (lambda: input_quantizer("ste_sign:abc"), "clip is a number above 0, got 'abc'"),
        (lambda: input_quantizer("ste_sign:-1"), "clip is a number above 0, got -1"),
        (lambda: weight_quantizer("clipped_sign:0"), "clip is a number above 0, got 0"),
        (lambda: weight_quantizer("scaled_sign:center=yes"), "center is true or false, got 'yes'"),
        (lambda: input_quantizer(torch.nn.ReLU()), "ReLU.* is no InputQuantizer; give one, or a name: .*ste_sign"),
        (lambda: input_quantizer(1), "input quantizer 1 is no InputQuantizer"),
        (lambda: weight_quantizer(SteSign()), "SteSign.* is no WeightQuantizer"),
    ],
)
def test_unknown_names_are_refused_with_those_there_are(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("limit", [1.0, 0.5, None])
def test_codes_are_enough_for_a_weight_quantizer_of_ones_own(limit):
    class Signs(WeightQuantizer):
        bits = 1

        def codes(self, weight):
            return sign(weight.detach()), torch.tensor([2.0, 3.0])

    quantizer = Signs()
    quantizer.limit = limit
    weight = torch.tensor([[0.4, -0.6, 1.5], [-1.5, 0.5, -0.0]], requires_grad=True)
    value = quantizer(weight)
    assert value.tolist() == [[2, -2, 2], [-3, 3, 3]]
    value.backward(torch.arange(1.0, 7).view(2, 3))
    passes = weight.detach().abs() <= (limit or 2)
    assert torch.equal(weight.grad, torch.where(passes, torch.arange(1.0, 7).view(2, 3), 0))
