"""Parameter groups, schedules, losses and Bop, against closed formulas and NumPy."""

import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from xnornet.errors import UsageError
from xnornet.models import create
from xnornet.nn import BinaryConv2d, BinaryLinear
from xnornet.train import Bop, check_optimiser, parameter_groups
from xnornet.train.losses import classification, distillation, squared_hinge
from xnornet.train.optimisers import latent_weights, optimiser
from xnornet.train.recipes import recipe
from xnornet.train.schedules import learning_rate


def names_of(network, group):
    names = {id(p): name for name, p in network.named_parameters()}
    return {names[id(p)] for p in group["params"]}


def test_weight_decay_is_for_float_weights_only():
    network = create("small_convnet", "xnor", width=4)
    groups = parameter_groups(network, 0.1)
    (decayed,) = [group for group in groups if group["weight_decay"]]
    assert names_of(network, decayed) == {"features.0.weight", "classifier.weight"}
    assert decayed["weight_decay"] == 0.1
    (binary,) = [group for group in groups if group["binary"]]
    latent = {f"{n}.weight" for n, m in network.named_modules() if isinstance(m, BinaryConv2d | BinaryLinear)}
    assert names_of(network, binary) == latent
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))
    both = parameter_groups(network, 0.1, decay_latent=True)
    assert set().union(*(names_of(network, g) for g in both if g["weight_decay"])) == latent | names_of(
        network, decayed
    )


def test_layers_may_scale_their_learning_rate():
    network = nn.Sequential(BinaryLinear(4, 4, weight_quantizer="sign"), BinaryLinear(4, 2), nn.Linear(2, 2))
    kappa = math.sqrt((4 + 4) / 1.5)  # BinaryConnect's, of the first layer
    with pytest.raises(ValueError, match="give parameter_groups the lr"):
        parameter_groups(network)
    for power, expected in ((1, 0.1 * kappa), (2, 0.1 * kappa**2)):
        groups = parameter_groups(network, lr=0.1, lr_scale_power=power)
        rates = {name: group["lr"] for group in groups for name in names_of(network, group)}
        assert rates == pytest.approx({**dict.fromkeys(rates, 0.1), "0.weight": expected})


def test_latent_weights_may_learn_at_a_rate_of_their_own():
    network = nn.Sequential(BinaryLinear(4, 4, weight_quantizer="sign"), BinaryLinear(4, 2), nn.Linear(2, 2))
    with pytest.raises(ValueError, match="give parameter_groups the lr"):
        parameter_groups(network[1:], latent_lr=3)
    kappa = math.sqrt((4 + 4) / 1.5)
    groups = parameter_groups(network, lr=0.1, latent_lr=3)
    rates = {name: group["lr"] for group in groups for name in names_of(network, group)}
    assert rates == pytest.approx({**dict.fromkeys(rates, 0.1), "0.weight": 0.3 * kappa, "1.weight": 0.3})
    made = optimiser(network, recipe("fashion-xnor").override({"lr": 0.1, "latent_lr": 3}))
    rates = {name: group["lr"] for group in made.param_groups for name in names_of(network, group)}
    assert rates["1.weight"] == pytest.approx(0.3)
    assert rates["1.bias"] == pytest.approx(0.1)


def test_traps_of_a_loop_of_ones_own():
    network = create("small_convnet", "xnor", width=4)
    with pytest.warns(UserWarning, match="weight decay 0.01 on latent weights"):
        check_optimiser(network, torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.01))
    sgd, adam = torch.optim.SGD, torch.optim.Adam
    for slow in (sgd(network.parameters(), lr=0.1), sgd(parameter_groups(network, 0.01), lr=0.1)):
        with pytest.warns(UserWarning, match="SGD hardly turns the signs of latent weights"):
            check_optimiser(network, slow)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_optimiser(network, adam(parameter_groups(network, 0.01), lr=0.1))
        check_optimiser(network, sgd(parameter_groups(network, 0.01, lr=0.1, latent_lr=10), lr=0.1))
        for other in ("float", "xnor-code", "reactnet"):
            of_other = create("small_convnet", other, width=4)
            check_optimiser(of_other, sgd(parameter_groups(of_other, lr=0.1), lr=0.1))
    with pytest.raises(UsageError, match="use DistributedDataParallel"):
        check_optimiser(nn.DataParallel(network), torch.optim.SGD(network.parameters(), lr=0.1))


def rate(steps, start=1.0, end=0.0, **changes):
    factor = learning_rate(recipe("fashion-xnor").override({"epochs": 10, **changes}), steps, start, end)
    return factor, [factor(s) for s in range(steps + 1)]


def test_learning_rates():
    cosine, _ = rate(100, warmup_epochs=1)
    assert [cosine(s) for s in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert cosine(10) == 1.0
    assert cosine(55) == pytest.approx(0.5)
    assert cosine(100) == pytest.approx(0.0)
    assert cosine(32) == pytest.approx((1 + math.cos(math.pi * 22 / 90)) / 2)
    for epochs in (10, 50):  # a run shorter than its warm-up has half of it, and then the schedule
        short, _ = rate(100, warmup_epochs=epochs)
        assert [short(s) for s in (0, 49, 50, 100)] == pytest.approx([0.02, 1.0, 1.0, 0.0])
    linear, _ = rate(10, schedule="linear")
    assert [linear(s) for s in (0, 5, 10, 11)] == [1.0, 0.5, 0.0, 0.0]
    assert rate(10, schedule="constant")[1] == [1.0] * 11
    # From 3e-3 to 2e-6 by the same factor at every step (BinaryConnect).
    _, exponential = rate(100, 3e-3, 2e-6, schedule="exponential", lr_end=2e-6)
    ratios = np.array(exponential[1:]) / exponential[:-1]
    assert ratios == pytest.approx(ratios[0])
    assert 3e-3 * exponential[-1] == pytest.approx(2e-6)
    _, polynomial = rate(100, schedule="polynomial")
    assert polynomial == pytest.approx([(1 - s / 100) ** 4 for s in range(101)])
    _, ended = rate(100, 2.5e-3, 5e-6, schedule="linear")
    assert 2.5e-3 * ended[-1] == pytest.approx(5e-6)


def test_the_released_code_s_schedule():
    """55 epochs: 1-18 at 1e-2, 19-29 at 5e-3, 30-43 at 1e-3, 44-52 at 5e-4, 53-55 at 1e-4."""
    pieces = {"epochs": 55, "schedule": "step", "lr_steps": "18:0.5,29:0.1,43:0.05,52:0.01"}
    _, factors = rate(550, **pieces)
    by_epoch = [1e-2 * factors[10 * epoch] for epoch in range(55)]
    assert by_epoch == pytest.approx([1e-2] * 18 + [5e-3] * 11 + [1e-3] * 14 + [5e-4] * 9 + [1e-4] * 3)


def test_losses():
    logits = torch.tensor([[2.0, -0.5], [0.3, 0.4]])
    labels = torch.tensor([0, 0])
    # images x classes: 1-2 < 0, 1-0.5, 1-0.3, 1+0.4
    assert squared_hinge(logits, labels).item() == pytest.approx((0 + 0.25 + 0.49 + 1.96) / 4)
    assert classification("squared_hinge", logits, labels) == squared_hinge(logits, labels)
    teacher = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    for temperature in (1.0, 4.0):
        p = np.exp(teacher.numpy() / temperature)
        q = np.exp(logits.numpy() / temperature)
        p, q = (x / x.sum(1, keepdims=True) for x in (p, q))
        expected = -(p * np.log(q)).sum(1).mean() * temperature**2
        assert distillation(logits, teacher, temperature).item() == pytest.approx(expected, rel=1e-6)


def test_bop_flips_as_the_article_says():
    """Five steps of random gradients beside NumPy."""
    rng = np.random.default_rng(0)
    latent = rng.uniform(-1, 1, (4, 6)).astype(np.float32)
    weight = nn.Parameter(torch.from_numpy(latent.copy()))
    gamma, tau = 0.3, 0.2
    flip = Bop([{"params": [weight], "binary": True}], gamma=gamma, threshold=tau)
    w, m, flips = np.where(latent >= 0, 1.0, -1.0), np.zeros((4, 6)), 0
    np.testing.assert_array_equal(weight.detach(), w)
    for _ in range(5):
        g = rng.standard_normal((4, 6)).astype(np.float32)
        weight.grad = torch.from_numpy(g)
        flip.step()
        m = (1 - gamma) * m + gamma * g
        turned = (np.abs(m) >= tau) & (np.sign(m) == np.sign(w))
        w, flips = np.where(turned, -w, w), flips + turned.sum()
        np.testing.assert_array_equal(weight.detach(), w)
        np.testing.assert_allclose(flip.state[weight]["momentum"], m, atol=1e-6)
    assert 0 < flips < 5 * 24
    assert weight.grad is not None, "Adam, which has no part in these, hides the gradient only for itself"


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "bop"])
def test_a_step_marked_as_lost_changes_nothing(name):
    network = nn.Sequential(BinaryLinear(4, 4), nn.Linear(4, 2))
    made = optimiser(network, recipe("fashion-xnor").override({"optimiser": name, "bop_gamma": "0.5"}))
    torch.manual_seed(0)
    for bad in (0.0, 1.0, 0.0):
        before = [p.detach().clone() for p in network.parameters()]
        for p in network.parameters():
            p.grad = torch.full_like(p, float("nan")) if bad else torch.randn_like(p)
        made.found_inf = torch.tensor(bad)
        made.step()
        same = [torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
        assert all(same) if bad else not any(same)


def test_bop_trains_binary_weights_and_adam_the_rest():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), BinaryLinear(32, 32, weight_quantizer="sign"), nn.BatchNorm1d(32),
        nn.Linear(32, 2),
    )  # fmt: skip
    made = optimiser(network, recipe("fashion-xnor").override({"optimiser": "bop", "bop_gamma": "1e-2", "lr": "1e-2"}))
    start = network[2].weight.detach().clone()
    x = torch.randn(256, 8)
    y = (x[:, 0] * x[:, 1] > 0).long()
    losses = []
    for _ in range(150):
        made.zero_grad()
        loss = nn.functional.cross_entropy(network(x), y)
        loss.backward()
        made.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert set(network[2].weight.unique().tolist()) == {-1.0, 1.0}
    assert not torch.equal(network[2].weight, start), "some weights flipped"


@pytest.mark.parametrize("given", [{}, {"gamma": 1e-3}])
def test_bop_flips_at_gamma_whatever_the_rate_of_the_groups(given):
    """`parameter_groups` gives binary weights the learning rate, here times BinaryNet's factor of some ten."""
    network = create("small_convnet", "bnn", width=4)
    gamma = given.get("gamma", 1e-4)
    made = Bop(parameter_groups(network, lr=1e-2), lr=1e-2, **given)
    assert {(group["binary"], group["lr"]) for group in made.param_groups} == {(True, gamma), (False, 1e-2)}
    weight = next(group for group in made.param_groups if group["binary"])["params"][0]
    weight.grad = torch.ones_like(weight)
    made.step()
    torch.testing.assert_close(made.state[weight]["momentum"], torch.full_like(weight, gamma))


def test_bop_begins_with_both_signs_where_latent_weights_begin_with_one():
    torch.manual_seed(0)
    network = create("birealnet18", "bireal", width=8)
    made = Bop(parameter_groups(network, lr=1e-2), lr=1e-2)
    binary = [weight for group in made.param_groups if group["binary"] for weight in group["params"]]
    assert len(binary) == 16
    for weight in binary:
        assert set(weight.unique().tolist()) == {-1.0, 1.0}
        assert abs(weight.mean().item()) < 0.2


def test_what_bop_cannot_do():
    weight = nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match="threshold=-1"):
        Bop([weight], threshold=-1)
    with pytest.raises(ValueError, match="gamma=2: between 0 and 1"):
        Bop([{"params": [weight], "binary": True}], gamma=2)
    with pytest.raises(UsageError, match="this network has none"):
        optimiser(nn.Linear(2, 2), recipe("fashion-xnor").override({"optimiser": "bop"}))


def test_weight_decay_is_for_all_kinds_of_float_layers():
    network = nn.ModuleDict(
        {
            "conv1d": nn.Conv1d(2, 3, 3),
            "up": nn.ConvTranspose2d(2, 3, 2),
            "words": nn.Embedding(5, 4),
            "attention": nn.MultiheadAttention(4, 2),
            "norm": nn.BatchNorm2d(3),
            "slope": nn.PReLU(3),
            "binary": BinaryLinear(4, 2),
        }
    )
    (decayed,) = [group for group in parameter_groups(network, 0.1) if group["weight_decay"]]
    assert names_of(network, decayed) == {
        "conv1d.weight",
        "up.weight",
        "words.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    }


def test_a_latent_weight_that_is_computed_is_refused():
    network = nn.Sequential(nn.Linear(4, 4), BinaryLinear(4, 2))
    prune.l1_unstructured(network[1], "weight", amount=0.5)
    for act in (parameter_groups, lambda n: check_optimiser(n, torch.optim.Adam(n.parameters()))):
        with pytest.raises(ValueError, match="layer '1' computes its weight from others"):
            act(network)


@pytest.mark.parametrize(
    ("method", "said"), [("kbit:2,2", "has 2 bits"), ("dorefa:4,32", "has 4 bits"), ("xnor-code", "is centred")]
)
def test_bop_is_for_weights_of_one_bit(method, said):
    network = create("small_convnet", method, width=4)
    with pytest.raises(UsageError, match=f"optimiser=bop flips .* of layer '.*' {said}; choose another method"):
        optimiser(network, recipe("fashion-xnor").override({"optimiser": "bop"}))


def test_bop_takes_gradients_that_a_scaler_left_scaled():
    """As `torch.amp.GradScaler` leaves them to a fused optimiser."""
    weight = nn.Parameter(torch.tensor([1.0, -1.0]))
    made = Bop([{"params": [weight], "binary": True}], gamma=0.5, threshold=1.0, lr=1e-3)
    made.grad_scale, made.found_inf = torch.tensor(8.0), torch.tensor(0.0)
    weight.grad = torch.tensor([8 * 2.1, 8 * -1.9])  # momenta of 1.05 and -0.95
    made.step()
    assert weight.tolist() == [-1.0, -1.0]
    torch.testing.assert_close(made.state[weight]["momentum"], torch.tensor([1.05, -0.95]))


def test_adamw_decays_float_weights_apart_from_gradients():
    """One step without gradients: Adam leaves weights where they are but for the decay that it takes for one."""
    made = recipe("fashion-xnor").override({"optimiser": "adamw", "weight_decay": 0.1, "lr": 0.5})
    network = create("small_convnet", "xnor")
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    stepping = optimiser(network, made)
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    stepping.step()
    latent = {id(weight) for weight in latent_weights(network)}
    decayed = {name for name, p in network.named_parameters() if p.dim() > 1 and id(p) not in latent}
    assert decayed
    for name, p in network.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] * (0.95 if name in decayed else 1.0))
