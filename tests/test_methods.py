"""Methods by name: the layers they make, the order of their blocks, the settings that go with them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from xnornet import Model, format, reference
from xnornet.convert import lower
from xnornet.models import create
from xnornet.nn import METHODS, BinaryConv2d, BinaryLinear, Method, clip_weights_, method, method_names
from xnornet.nn.float_conv import FloatConv2d
from xnornet.nn.quantizers import SteSign
from xnornet.summary import summarise

NAMES = [*METHODS, "dorefa:1,2", "dorefa:2,4,6", "dorefa:32,1", "kbit:2,2", "kbit:4,32"]


@pytest.mark.parametrize("name", NAMES)
def test_every_method_trains_the_small_network(name):
    """Two steps on one batch: finite gradients everywhere, and weights that moved."""
    torch.manual_seed(0)
    network = create("small_convnet", name, width=4, image_size=12)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    before = {key: p.detach().clone() for key, p in network.named_parameters()}
    for _ in range(2):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(torch.randn(8, 1, 12, 12)), torch.arange(8) % 3).backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
        optimiser.step()
        clip_weights_(network)
    still = [key for key, p in network.named_parameters() if torch.equal(p, before[key])]
    assert not still
    assert torch.isfinite(network.eval()(torch.randn(2, 1, 12, 12))).all()


def kinds(network):
    """Kinds of the modules, in the order in which they finish; the stem left out."""
    seen = []
    for module in network.modules():
        module.register_forward_hook(lambda m, *_: seen.append(type(m).__name__))
    network.eval()(torch.randn(1, 1, 12, 12))
    names = {"BatchNorm2d": "B", "SteSign": "A", "ReLU": "relu", "BinaryConv2d": "C", "MaxPool2d": "P"}
    return " ".join(names[kind] for kind in seen if kind in names)


def test_the_orders_of_the_paper():
    """Sections 3.2 and 4.2: B-A-C-P, and the C-B-A-P of table 3b, where the pool sees signs."""
    first = kinds(create("small_convnet", "xnor", width=4, image_size=12))
    assert first == "B A C P B A C B A C P B relu"
    # A layer quantizes its input, which here is quantized already: A before each C.
    second = kinds(create("small_convnet", "xnor-cbap", width=4, image_size=12))
    assert second == "B A A C B A P A C B A A C B relu P"


def test_quantizing_again_changes_nothing_in_the_order_conv_first():
    """Whatever the gradient of the method's own quantizer, which may vanish at +1 and -1."""
    for quantizer in ("ste_sign", "approx_sign", "kbit:2", "dorefa:3", "dorefa:1"):
        chosen = Method("x", "scaled_sign", quantizer, order="conv-first")
        layer = chosen.conv2d(3, 4, 3, bias=False)
        x = torch.randn(2, 3, 8, 8, requires_grad=True)
        quantized = nn.functional.max_pool2d(chosen.activation()(x), 2)
        plain = nn.functional.conv2d(quantized, layer.weight_quantizer(layer.weight))
        torch.testing.assert_close(layer(quantized), plain)
        upstream = torch.randn_like(plain)
        through, without = (
            torch.autograd.grad(out, x, upstream, retain_graph=True)[0] for out in (layer(quantized), plain)
        )
        assert (through != 0).any()
        torch.testing.assert_close(through, without)


@pytest.mark.parametrize(
    ("float_layers", "quantized"), [(("first",), [False, True]), (("last",), [True, False]), ((), [True, True])]
)
@pytest.mark.parametrize("name", ["xnor", "xnor-cbap", "bwn"])
@pytest.mark.parametrize("model", ["small_convnet", "alexnet", "resnet18"])
def test_which_layers_stay_float_is_a_setting(model, name, float_layers, quantized):
    chosen = dataclasses.replace(method(name), float_layers=float_layers)
    with torch.device("meta"):
        layers = [m for m in create(model, chosen).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [isinstance(m, BinaryConv2d | BinaryLinear) for m in (layers[0], layers[-1])] == quantized
    if quantized[0]:
        assert layers[0].input_quantizer is None  # an image has no sign
    if quantized[1]:
        assert (layers[-1].input_quantizer is not None) == (name != "bwn")


@pytest.mark.parametrize("name", ["xnor", "xnor-cbap"])
@pytest.mark.parametrize(
    ("model", "options"), [("small_convnet", {}), ("alexnet", {"image_size": 63}), ("resnet18", {})]
)
def test_no_sign_stands_behind_a_relu(name, model, options):
    """All its outputs would be +1."""
    network = create(model, dataclasses.replace(method(name), float_layers=()), in_channels=1, **options)
    seen = {}
    for path, module in network.named_modules():
        # In the order conv-first what a layer of a chain quantizes may be signs behind a pool, and so all +1.
        inner = path.endswith(".input_quantizer")
        if isinstance(module, SteSign) and (name == "xnor" or model == "resnet18" or not inner):
            module.register_forward_hook(lambda m, inputs, out, path=path: seen.update({path: float(out.min())}))
    size = options.get("image_size", 28)
    with torch.no_grad():
        network(torch.randn(4, 1, size, size))
    assert seen
    assert set(seen.values()) == {-1.0}


def test_methods_state_what_they_quantize():
    facts = {
        name: (m.quantized_weights, m.binary_weights, m.quantized_inputs) for name in NAMES for m in [method(name)]
    }
    assert facts["float"] == (False, False, False)
    assert facts["bwn"] == facts["binaryconnect"] == facts["bwn-learned"] == (True, True, False)
    assert facts["xnor"] == facts["bnn"] == facts["reactnet"] == facts["dorefa:1,2"] == (True, True, True)
    assert facts["binaryconnect-stochastic"] == facts["kbit:4,32"] == (True, False, False)
    assert facts["dorefa:32,1"] == (False, False, True)
    assert facts["kbit:2,2"] == (True, False, True)
    assert method("dorefa:2,4,6").gradient_quantizer == "dorefa:6"
    assert method("xnor", "k").input_scale == "k"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: method("xor"), "unknown method 'xor'; there are float, bwn.*dorefa:W,A, .*kbit:W,A"),
        (lambda: method("dorefa"), "'dorefa' is not dorefa:W,A or dorefa:W,A,G with 1 to 8 bits"),
        (lambda: method("dorefa:1"), "'dorefa:1' is not dorefa:W,A"),
        (lambda: method("kbit:2,9"), "'kbit:2,9' is not kbit:W,A with"),
        (lambda: method("kbit:2,2,2"), "'kbit:2,2,2' is not kbit:W,A with"),
        (lambda: method("bwn", "k"), "method 'bwn' has real inputs"),
        (lambda: method("xnor-cbap", "k"), "method 'xnor-cbap' has conv-first"),
        (lambda: Method("x", float_layers=("middle",)), "float_layers names 'first' and 'last', got 'middle'"),
        (lambda: method("dorefa:32,32,4"), "'dorefa:32,32,4': a gradient quantizer needs quantized weights or inputs"),
        (lambda: Method("x", "scaled_sign", "rsign", order="conv-first"), "'rsign' learns a number a channel"),
        (
            lambda: method("xnor-real-weights+first"),
            r"'\+first' is for weights, and 'xnor-real-weights' quantizes none",
        ),
        (lambda: method("dorefa:32,2+first+last"), r"'\+first' is for weights, and 'dorefa:32,2' quantizes none"),
        (lambda: method("float+last"), r"'float\+last': 'float' quantizes nothing that '\+last' could add to"),
        (lambda: BinaryConv2d(1, 1, 1, input_quantizer=None, weight_quantizer=None), "neither weights nor inputs"),
        (lambda: BinaryConv2d(1, 1, 1, input_quantizer="dorefa:1", padding_value=1), r"inputs of \+1 and -1"),
    ],
)
def test_impossible_methods_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_quantizer_that_knows_its_channels_may_stand_behind_a_convolution():
    chosen = Method("x", "scaled_sign", "rsign:4", order="conv-first")
    assert chosen.activation()(torch.zeros(1, 4, 2, 2)).eq(1).all()


def test_a_first_layer_of_real_weights_stays_float():
    """Its inputs are, and so it has no gradient to quantize."""
    real = dataclasses.replace(method("dorefa:32,2,6"), float_layers=())
    assert type(real.first.conv2d(1, 1, 1)) is FloatConv2d
    assert method("dorefa:2,32,6+first").first.gradient_quantizer == "dorefa:6"


def test_a_name_may_take_first_and_last_layers_in():
    assert method("bnn+first+last").float_layers == ()
    assert method("bnn+last").float_layers == ("first",)
    assert method("dorefa:1,2+first").float_layers == ("last",)
    assert method("bnn+last").name == "bnn+last"
    assert method("xnor-real-weights+last").float_layers == ("first",)
    with pytest.raises(ValueError, match=r"method 'bnn\+middle': '\+middle' is not '\+first' or '\+last'"):
        method("bnn+middle")


@pytest.mark.parametrize("name", ["reactnet", "xnor-learned", "irnet", "kbit:2,2"])
def test_a_network_without_memory_of_its_own_is_drawn_anew(name):
    """As frameworks that shard do it: on the meta device first, then memory, then `reset_parameters`."""
    with torch.device("meta"):
        network = create("reactnet18", name, width=8, stem="cifar")
    network.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(float("nan") if tensor.is_floating_point() else 7)
    network.apply(lambda part: part.reset_parameters() if hasattr(part, "reset_parameters") else None)
    fresh = create("reactnet18", name, width=8, stem="cifar").state_dict()
    assert all(getattr(part, "t", 0.001) == 0.001 for part in network.modules()), "the estimator is at its beginning"
    for key, tensor in network.state_dict().items():
        assert tensor.isfinite().all(), key
        if key.endswith(("shift", "slope", "offset")):
            assert torch.equal(tensor, fresh[key]), key


def test_all_names_are_listed():
    assert set(method_names()) == {*METHODS, "dorefa:W,A", "dorefa:W,A,G", "kbit:W,A"}


PACKED = {  # what an inner layer of each method becomes
    "binaryconnect": "binary_weight_conv2d",
    "binaryconnect-stochastic": "conv2d",
    "bwn-learned": "binary_weight_conv2d",
    "xnor-cbap": "binary_conv2d",
    "xnor-learned": "binary_conv2d",
    "bnn": "binary_conv2d",
    "bireal": "binary_conv2d",
    "reactnet": "binary_conv2d",
    "irnet": "binary_conv2d",
    "quicknet": "binary_conv2d",
    "dorefa:1,2": "binary_weight_conv2d",
    "dorefa:1,1": "binary_weight_conv2d",
    "dorefa:3,4": "quantized_conv2d",
    "dorefa:32,2": "conv2d",
    "kbit:2,2": "quantized_conv2d",
    "kbit:8,32": "quantized_conv2d",
    "kbit:1,1": "binary_conv2d",
}


@pytest.mark.parametrize("name", list(PACKED))
def test_every_method_packs_to_the_same_result(name):
    torch.manual_seed(0)
    network = create("small_convnet", name, width=4, image_size=12)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
    for _ in range(3):  # so that norms have statistics, and shifts and learned scales are not where they began
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(torch.randn(16, 1, 12, 12)), torch.arange(16) % 10).backward()
        optimiser.step()
        clip_weights_(network)
    network.eval()
    packed = format.loads(format.dumps(lower(network, torch.zeros(1, 1, 12, 12))))
    kinds = [op.kind for op in packed.ops]
    assert kinds.count(PACKED[name]) == 3 + (PACKED[name] == "conv2d")  # the stem too is float
    assert kinds.count("sign") + kinds.count("threshold") == (3 if PACKED[name] == "binary_conv2d" else 0)
    for row in summarise(packed).rows:
        if row.kind == "quantized_conv2d":
            width = int(name.split(":")[1].split(",")[0])
            assert row.weight_bits == width
            assert row.weight_bytes == -(-row.weights * width // 8)
    x = torch.randn(32, 1, 12, 12)
    with torch.no_grad():
        expected = network(x).numpy()
    for got in (reference.run(packed, x.numpy()), Model(packed).run(x.numpy())):
        close = np.abs(got - expected).max(axis=1) <= 1e-4 * np.abs(expected).max()
        assert close.mean() >= 0.9  # an input within rounding of a step may fall on either side of it: seldom


def test_what_the_page_says_of_dense_layers_written_as_convolutions() -> None:
    """Their factor on the learning rate in BinaryConnect and BinaryNet, and that of the authors' dense layers."""
    page = " ".join((Path(__file__).parents[1] / "docs" / "methods.md").read_text().split())
    ours, theirs = [], []
    for name in ("vgg_small", "alexnet"):
        with torch.device("meta"):
            network = create(name, "bnn")
        layers = [m for m in network.modules() if isinstance(m, BinaryConv2d)]
        dense = max(layers, key=lambda layer: layer.weight.numel())  # reads the whole map
        ours.append(dense.lr_scale)
        theirs.append(((dense.weight[0].numel() + dense.weight.shape[0]) / 1.5) ** 0.5)
    assert f"{ours[0]:.0f} and {ours[1]:.0f}, where the authors' dense layers would have {theirs[0]:.1f} and " in page
    assert f" and {theirs[1]:.1f}. All results" in page
    photos = " ".join((Path(__file__).parents[1] / "docs" / "imagenette.md").read_text().split())
    assert f"in AlexNet's first dense layer is {ours[1] / theirs[1]:.1f} times" in photos
