"""Several processes: how many there are, and batch norm over all of them."""

from __future__ import annotations

import os
from typing import Any

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, distributed, nn

from ..errors import UsageError
from ..termination import end_with_first
from .recipes import Recipe

__all__ = [
    "BatchNorm",
    "SyncBatchNorm",
    "cluster_environment",
    "is_first_process",
    "join_processes",
    "process_counts",
    "synchronise_batch_norms",
    "unsynchronise_batch_norms",
]


_alone = False  # whether the run is of one process, whatever number a launcher has given it


def join_processes(devices: int, num_nodes: int) -> None:
    """Take this process for one of so many on each machine, from now on."""
    global _alone
    _alone = devices * num_nodes == 1
    if _alone:  # Lightning takes a number from what srun, say, has set, or keeps that of an earlier run
        rank_zero_only.rank = 0  # type: ignore[attr-defined]
    else:
        end_with_first()


def is_first_process() -> bool:
    """Whether this is the one, of several, that writes and prints."""
    if _alone:
        return True
    if int(os.environ.get("NODE_RANK") or 0):  # of another machine, where Lightning counts from 0 at first
        return False
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def cluster_environment() -> ClusterEnvironment:
    """How processes find each other: by torchrun, or as Lightning starts them; not by SLURM, which it would ask."""
    return TorchElasticEnvironment() if _by_torchrun() else LightningEnvironment()


def _by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def process_counts(recipe: Recipe) -> tuple[int, int]:
    """(processes on each machine, machines): as torchrun started them, else as the recipe says.

    Raises:
        UsageError: torchrun started another number of processes on some machines than on others; or there are to be
            several machines, and nothing says where the first is.
    """
    if not _by_torchrun():
        if recipe.num_nodes > 1 and "MASTER_ADDR" not in os.environ:
            raise UsageError(
                f"num_nodes={recipe.num_nodes}: start it by torchrun on each machine: torchrun --nnodes "
                f"{recipe.num_nodes} --nproc-per-node {recipe.devices} --rdzv-backend c10d --rdzv-endpoint FIRST:29500 "
                "--no-python xnornet train ..."
            )
        return recipe.devices, recipe.num_nodes
    here, everywhere = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    if everywhere % here:
        raise UsageError(f"torchrun started {everywhere} processes, {here} of them here: start as many on each machine")
    return here, everywhere // here


def synchronise_batch_norms(network: nn.Module) -> nn.Module:
    """The network with every `nn.BatchNorm2d` and `nn.BatchNorm1d` made a `SyncBatchNorm`; weights are shared."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                made = SyncBatchNorm(child.num_features, child.eps, child.momentum, child.affine)
                made.weight, made.bias = child.weight, child.bias
                made._buffers = child._buffers
                setattr(parent, name, made)
    return network


def unsynchronise_batch_norms(network: nn.Module) -> None:
    """Let every norm over all processes, torch's own too, go by this one's batch alone, in place: what runs the network
    in one process without the others would wait for them."""
    for module in network.modules():
        if isinstance(module, SyncBatchNorm | nn.SyncBatchNorm):
            module.__class__ = BatchNorm  # type: ignore[assignment]


class BatchNorm(nn.BatchNorm1d):
    """Batch norm of any shape: (N, channels, ...) -> the same."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"batch norm needs (N, channels, ...), got {tuple(input.shape)}")


class SyncBatchNorm(BatchNorm):
    """Batch norm with the statistics of all processes' batches, which have equal sizes; torch's own needs a GPU.

    Shape: (N, channels, ...) -> the same, in the same dtype; statistics of 16-bit inputs are float32.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or not distributed.is_initialized():
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        axes = [0, *range(2, input.dim())]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        world = distributed.get_world_size()
        mean = _sum(x.mean(axes)) / world
        centred = x - mean.view(shape)
        variance = _sum(centred.square().mean(axes)) / world
        self._update(mean.detach(), variance.detach(), input.numel() // input.shape[1] * world)
        scale = torch.rsqrt(variance + self.eps)
        out = centred * (scale if self.weight is None else scale * self.weight).view(shape)
        return (out if self.bias is None else out + self.bias.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / max(1, count - 1), share)


class _Sum(torch.autograd.Function):
    """The sum over all processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _sum(grads[0])


def _sum(x: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total
