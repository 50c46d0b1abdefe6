"""Training on a GPU, and that its result packs and runs on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xnornet import Model

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


@pytest.mark.parametrize("recipe", ["fashion-bwn", "fashion-xnor"])
def test_trained_on_gpu_runs_on_cpu(recipe: str, tmp_path: Path) -> None:
    from xnornet.convert.compare import compare, torch_evaluation
    from xnornet.convert.from_checkpoint import pack_checkpoint
    from xnornet.data import open_dataset
    from xnornet.evaluate import evaluate
    from xnornet.train.checkpoint import load_module
    from xnornet.train.run import train

    result = train(recipe, epochs=3, out=tmp_path / "run")
    assert result.test_top1 > 0.75
    packed = pack_checkpoint(result.checkpoint, tmp_path / "m.safetensors")
    data = open_dataset("fashion-mnist-mini")
    split = data.split("test")
    module, _ = load_module(result.checkpoint)
    engine = evaluate(Model(packed), split, data.class_names)
    compared = compare(engine, torch_evaluation(module, split, packed), packed, split)
    assert compared.same
    assert result.test_top1 == pytest.approx(compared.top1_torch, abs=1.5 / len(split))  # tested in float32 proper


def test_layers_give_the_same_on_both_devices() -> None:
    from xnornet.nn import BinaryConv2d

    layer = BinaryConv2d(16, 8, 3, padding=1).eval()
    x = torch.randn(2, 16, 9, 9)
    with torch.no_grad():
        on_cpu = layer(x).numpy()
        on_gpu = layer.cuda()(x.cuda()).cpu().numpy()
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("quantizer", ["ste_sign", "kbit:2"])
def test_gradients_are_the_same_on_both_devices(quantizer: str, compiled: bool) -> None:
    """What is kept in bits for the backward pass, packed there by the GPU, and by a compiled kernel."""
    import copy

    from xnornet.nn import BinaryConv2d

    torch.manual_seed(0)
    layer = BinaryConv2d(16, 8, 3, padding=1, input_quantizer=quantizer)
    x = torch.randn(3, 16, 9, 9)
    results = []
    for device in ("cpu", "cuda"):
        here = copy.deepcopy(layer).to(device)
        run = torch.compile(here) if compiled and device == "cuda" else here
        inputs = x.clone().to(device).requires_grad_()
        run(inputs).square().sum().backward()
        results.append([tensor.grad.cpu() for tensor in (inputs, here.weight, here.bias)])
    for on_cpu, on_gpu in zip(*results, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16-mixed"},
        {"precision": "16-mixed"},
        {"compile": "true"},
        {"optimiser": "bop"},
        {"gradient_clip": "1"},
    ],
)
def test_options_of_training_on_gpu(changes: dict[str, str], tmp_path: Path) -> None:
    from xnornet.train.run import train

    result = train("fashion-xnor", epochs=2, out=tmp_path / "run", overrides=changes)
    assert result.test_top1 > 0.5


def test_a_diverging_run_names_the_layer_on_gpu(tmp_path: Path) -> None:
    """The mark is read two batches later than on a CPU; weights and batch are still those of the step."""
    from xnornet.errors import TrainingError
    from xnornet.train.run import train

    with pytest.raises(TrainingError, match=r"epoch 1, step 1: the loss is \S+: layer '\S+' \(\w+\) made it first"):
        train("fashion-float", epochs=1, out=tmp_path / "run", overrides={"lr": "1e30"})


def test_synchronised_batch_norm_and_ddp_on_all_gpus(tmp_path: Path) -> None:
    import subprocess
    import sys

    count = torch.cuda.device_count()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "-m", "xnornet.cli"]
    command += ["train", "fashion-bwn", "--epochs", "1", "--out", str(tmp_path / "run"), "sync_batch_norm=true"]
    done = subprocess.run([*command, f"batch_size={50 * count}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
