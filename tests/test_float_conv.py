"""Float convolutions of our networks: torch's, whichever way they are computed."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xnornet import models
from xnornet.nn import binarize_
from xnornet.nn.float_conv import FloatConv2d

FORMATS = st.sampled_from([torch.contiguous_format, torch.channels_last])


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_values_and_gradients_are_those_of_torch(data):
    """Of any geometry; a third of the layers see each image as a whole, a third are strided and of one pixel."""
    draw = data.draw
    kind = draw(st.sampled_from(["any", "whole", "strided"]))
    kernel = 1 if kind == "strided" else draw(st.integers(1, 4))
    size = kernel if kind == "whole" else kernel + draw(st.integers(0, 5))
    padding = 0 if kind != "any" else draw(st.integers(0, 2))
    stride = draw(st.integers(2, 3)) if kind == "strided" else draw(st.integers(1, 3))
    channels, filters = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    torch.manual_seed(draw(st.integers(0, 2**31)))
    ours = FloatConv2d(channels, filters, kernel, stride, padding, bias=draw(st.booleans()))
    torchs = nn.Conv2d(channels, filters, kernel, stride, padding, bias=ours.bias is not None).double()
    torchs.load_state_dict(ours.state_dict())
    ours.to(memory_format=draw(FORMATS))
    x = torch.randn(draw(st.integers(1, 3)), channels, size, size).contiguous(memory_format=draw(FORMATS))
    x.requires_grad_(draw(st.booleans()))
    got, expected = ours(x), torchs(x.double())
    torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-4)
    upstream = torch.randn(got.shape)
    gradients = (
        torch.autograd.grad(out, [*([x] if x.requires_grad else []), *layer.parameters()], up)
        for out, layer, up in ((got, ours, upstream), (expected, torchs, upstream.double()))
    )
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a.double(), b.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 2, 2)])
def test_one_image_as_torch_takes_it(shape):
    layer = FloatConv2d(3, 5, 2)
    torch.testing.assert_close(layer(torch.ones(shape))[None], layer(torch.ones(1, *shape)))


@pytest.mark.parametrize("options", [{"padding": "same"}, {"padding": 1, "padding_mode": "circular"}])
def test_other_paddings_are_torchs(options):
    layer = FloatConv2d(3, 5, 3, **options)
    x = torch.randn(2, 3, 3, 3)
    assert torch.equal(layer(x), nn.Conv2d.forward(layer, x))


def test_the_exported_graph_has_a_convolution():
    graph = torch.export.export(FloatConv2d(3, 5, 2).eval(), (torch.ones(1, 3, 2, 2),)).graph
    assert torch.ops.aten.conv2d.default in {node.target for node in graph.nodes}


def test_fx_traces_it():
    layer = torch.nn.Sequential(FloatConv2d(3, 5, 2))
    x = torch.randn(1, 3, 2, 2)
    torch.testing.assert_close(torch.fx.symbolic_trace(layer)(x), layer(x))


def steps(tensor):
    """The names of the operators that made a tensor, each as often as it ran."""
    seen, left = set(), [tensor.grad_fn]
    while left:
        step = left.pop()
        if step is not None and step not in seen:
            seen.add(step)
            left += [source for source, _ in step.next_functions]
    return [step.name() for step in seen]


@pytest.mark.parametrize("model", ["alexnet", "vgg_small", "vgg19"])
def test_dense_layers_of_our_networks_are_no_convolutions(model):
    network = models.create(model, "float", width=8)
    size = models.image_size(model)
    out = network.to(memory_format=torch.channels_last)(
        torch.randn(2, models.options(model)["in_channels"], size, size)
    )
    made = sum(isinstance(layer, FloatConv2d) for layer in network.modules())
    assert sum("Convolution" in name for name in steps(out)) == made - 3


@pytest.mark.parametrize("name", sorted(models.MODELS))
@pytest.mark.parametrize("method", ["float", "xnor"])
def test_no_network_strides_by_torchs_own_layer(name, method):
    """Few channels, read by a kernel of one pixel, are what oneDNN writes outside of."""
    with torch.device("meta"):
        network = models.create(name, method)
    for layer in network.modules():
        if type(layer) is nn.Conv2d:
            assert (layer.kernel_size, max(layer.stride)) == ((1, 1), 1)


def test_float_networks_of_ours_can_be_binarised():
    network = models.create("vgg_small", "float", width=8)
    report = binarize_(network, "xnor")
    assert sum(layer.changed for layer in report.layers) == 7


def test_a_last_layer_of_few_classes_trains_in_bfloat16():
    """oneDNN's gradient of its bias writes past the end on CPUs with AMX, and the process dies."""
    script = """if True:
        import torch
        from xnornet.nn.float_conv import FloatConv2d
        layer = FloatConv2d(4096, 10, 1).to(memory_format=torch.channels_last)
        for _ in range(20):
            with torch.autocast("cpu", torch.bfloat16):
                out = layer(torch.randn(16, 4096, 1, 1))
            out.backward(torch.randn_like(out))
    """
    subprocess.run([sys.executable, "-c", script], check=True)
