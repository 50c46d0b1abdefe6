"""Checkpoints: a Lightning checkpoint that also says what was trained, in plain types.

Files are loaded with ``weights_only=True`` and nothing else: a checkpoint is data, it cannot run code.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import nn

from .. import __version__
from ..data.glimpse import Glimpse
from ..errors import FormatError, TrainingError
from ..files import replacing
from ..models import create
from ..nn import method
from ..preprocess import Preprocess
from ..target import is_packed, is_zip
from .recipes import Recipe

__all__ = [
    "AtomicCheckpoints",
    "Record",
    "build",
    "checkpoint_of",
    "fingerprint",
    "load_module",
    "load_record",
    "load_weights",
    "plain",
    "weights_checkpoint",
]

KEY = "xnornet"  # of the record among Lightning's own entries
TALLY_KEY = "xnornet_tally"  # of the sums over the unfinished epoch
TO_RESUME = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", TALLY_KEY)
RECORD_VERSION = 1
_PACK = "xnornet.convert.pack(module, example_input, path)"  # what packs a module of one's own
NETWORK_PREFIX = "network."  # `Classifier.network` in the state dict


@dataclass(frozen=True)
class Record:
    """What a checkpoint says of itself; all one needs to rebuild the network and to tell how it came about.

    Attributes:
        model, model_options, method, input_scale: of `xnornet.models.create`.
        labels: names of the classes.
        preprocess: from an image to the input.
        recipe: every value of the recipe, as plain types.
        origins: SHA-256 of the files that the recipe's `init_from` and `teacher` name, where it names any.
        train_images: what its training images look like; None where that is not known.
        epoch: epochs completed.
        batch: batches of the next epoch done; not 0 in a checkpoint within an epoch.
        images_seen: training images shown so far.
        train_seconds: wall-clock time of the completed epochs, evaluation included.
        epoch_seconds: of the unfinished one.
        history: one row an epoch: epoch, images_seen, lr (of its last step), train_loss, train_top1, test_loss,
            test_top1, seconds; train_top5 and test_top5 where there are more than five classes.
        versions: of python, torch, lightning and xnornet.
    """

    model: str
    model_options: Mapping[str, Any]
    method: str
    input_scale: str
    labels: tuple[str, ...]
    preprocess: Preprocess
    recipe: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)
    train_images: Glimpse | None = None
    epoch: int = 0
    batch: int = 0
    images_seen: int = 0
    train_seconds: float = 0.0
    epoch_seconds: float = 0.0
    history: tuple[Mapping[str, float], ...] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: _versions())

    @property
    def test_top1(self) -> float | None:
        """Accuracy (0..1) on the test split after the last epoch, by torch."""
        return self.history[-1].get("test_top1") if self.history else None

    def to_plain(self) -> dict[str, Any]:
        """As dicts, lists, strings and numbers."""
        return {"record_version": RECORD_VERSION, **plain(asdict(self))}

    @classmethod
    def from_plain(cls, entries: Mapping[str, Any]) -> Record:
        """The inverse of `to_plain`. Raises ValueError, TypeError or KeyError for anything else."""
        values = dict(entries)
        version = values.pop("record_version")
        if version != RECORD_VERSION:
            raise ValueError(f"record version {version}, this xnornet reads {RECORD_VERSION}")
        values["preprocess"] = Preprocess(**{k: _tuple(v) for k, v in values["preprocess"].items()})
        values["labels"] = tuple(values["labels"])
        values["history"] = tuple(values["history"])
        seen = values.get("train_images")
        values["train_images"] = Glimpse.from_plain(seen) if seen else None
        return cls(**values)

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        labels: tuple[str, ...],
        model_options: Mapping[str, Any],
        origins: Mapping[str, str] | None = None,
        train_images: Glimpse | None = None,
    ) -> Record:
        """The record of a run that has not begun."""
        return cls(
            model=recipe.model,
            model_options=model_options,
            method=recipe.method,
            input_scale=recipe.input_scale,
            labels=labels,
            preprocess=recipe.preprocess,
            recipe=plain(asdict(recipe)),
            origins=origins or {},
            train_images=train_images,
        )


def build(record: Record) -> nn.Module:
    """The network of a record with fresh weights. Raises ValueError for an unknown model, method or option."""
    chosen = method(record.method, cast("Any", record.input_scale))
    return create(record.model, chosen, num_classes=len(record.labels), **record.model_options)


def checkpoint_of(path: str | Path) -> Path:
    """A checkpoint, or the last one of a run folder."""
    path = Path(path)
    return path / "last.ckpt" if path.is_dir() else path


def load_module(path: str | Path) -> tuple[nn.Module, Record]:
    """Rebuild the trained network: in eval mode, on the CPU.

    A run folder is taken for its last checkpoint. The input is (N, C, H, W) float32, normalised;
    ``record.preprocess.output_shape`` says (H, W, C).

    Raises:
        FormatError: the file is missing, damaged, not a checkpoint of this package, or of a method or model that is
            not known here.
    """
    path = checkpoint_of(path)
    checkpoint, record = _load(path)
    try:
        network = build(record)
    except ValueError as error:  # our own words, whose remedy is at the end
        raise FormatError(f"{path}: {' '.join(str(error).split())}") from error
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise FormatError(f"{path}: weights and record do not fit: {_first_line(error)}") from error
    try:
        weights = checkpoint["state_dict"]
        network.load_state_dict(
            {k.removeprefix(NETWORK_PREFIX): v for k, v in weights.items() if k.startswith(NETWORK_PREFIX)}
        )
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise FormatError(f"{path}: weights and record do not fit: {_first_line(error)}") from error
    return network.eval(), record


@torch.no_grad()
def load_weights(network: nn.Module, path: str | Path) -> str:
    """Take over the weights of a checkpoint's network wherever name and shape fit; say in a line what was.

    Latent weights are put where their method wants them. A scale that is learned here, and was not there, begins at
    the closed form of the weights taken over; weights that were not quantized so there are made what the method begins
    with (`WeightQuantizer.adopt_`).

    Raises:
        FormatError: as `load_module`, or nothing fits.
    """
    path = checkpoint_of(path)
    checkpoint, record = _load(path)
    found = checkpoint.get("state_dict", {})
    found = {k.removeprefix(NETWORK_PREFIX): v for k, v in found.items() if k.startswith(NETWORK_PREFIX)}
    own = network.state_dict()
    fits = {name: value for name, value in found.items() if name in own and own[name].shape == value.shape}
    if not fits:
        raise FormatError(f"{path}: none of its weights fits this network; begin with one of the same model")
    network.load_state_dict(fits, strict=False)
    before = _quantizers(record)
    for name, layer in network.named_modules():
        quantizer = getattr(layer, "weight_quantizer", None)
        if quantizer is None or f"{name}.weight" not in fits:
            continue
        layer.clip_weights_()
        # What has been trained so already has its codes and its scales, which are to stay.
        learned = any(f"{name}.weight_quantizer.{key}" in fits for key, _ in quantizer.named_parameters())
        if not learned and before.get(name) != repr(quantizer):
            quantizer.adopt_(layer.weight)
    fresh = [name for name in own if name not in fits]
    rest = f"; fresh: {', '.join(fresh)}" if fresh else ""
    return f"begins with {len(fits)} of {len(own)} tensors from {path}{rest}"


def _quantizers(record: Record) -> dict[str, str]:
    """By layer, the weight quantizers of a record's network as they print; none where that is not known here."""
    try:
        with torch.device("meta"):
            network = build(record)
    except Exception:  # an architecture of one's own may compute numbers, which tensors of no memory have not
        try:
            with torch.random.fork_rng(devices=[]):
                network = build(record)
        except (ValueError, TypeError):
            return {}
    return {name: repr(getattr(layer, "weight_quantizer", None)) for name, layer in network.named_modules()}


def weights_checkpoint(network: nn.Module, record: Record) -> dict[str, Any]:
    """A checkpoint of weights alone: it can be loaded and begun with, not resumed."""
    weights = {NETWORK_PREFIX + name: value for name, value in network.state_dict().items()}
    return {"state_dict": weights, KEY: record.to_plain()}


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a checkpoint, in hexadecimal. Raises FormatError where there is none."""
    path = checkpoint_of(path)
    if not path.is_file():
        raise FormatError(f"{path}: no such checkpoint")
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


def weights_fingerprint(network: nn.Module) -> str:
    """SHA-256 of a network's weights and their names, in hexadecimal."""
    found = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def load_record(path: str | Path) -> Record:
    """Only what the checkpoint says of itself. Raises FormatError as `load_module`."""
    return _load(checkpoint_of(path))[1]


def _load(path: Path) -> tuple[dict[str, Any], Record]:
    if not path.is_file():
        raise FormatError(f"{path}: no such checkpoint")
    if is_packed(path):
        raise FormatError(f"{path}: a packed model, not a checkpoint; `xnornet unpack` makes one of it")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything at damaged bytes
        raise FormatError(f"{path}: {_why_not(path)}") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get(KEY), dict):
        raise FormatError(
            f"{path}: a checkpoint, but not one that xnornet wrote; make one with `xnornet train`, pack one of "
            f"XNOR-Net-PyTorch with `xnornet convert`, or load these weights into your own module, then {_PACK}"
        )
    try:
        return checkpoint, Record.from_plain(checkpoint[KEY])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FormatError(f"{path}: its record cannot be read: {_first_line(error)}") from error


def _why_not(path: Path) -> str:
    """Why torch does not load a file as data: in our words, since its own advise to run the code in it."""
    if not is_zip(path):
        return "not a checkpoint; make one with `xnornet train`"
    try:
        objects = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # as torch.load
        objects = []
    if objects:
        return (
            "not a checkpoint that xnornet wrote: it holds a pickled module or other objects, which may run code when "
            f"they are loaded; where you trust it load it yourself, then {_PACK}"
        )
    return "a checkpoint that is truncated or damaged; copy it again, or train again"


class AtomicCheckpoints(TorchCheckpointIO):
    """How Lightning writes and reads checkpoints here: complete or not at all, and as data only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        try:
            with replacing(path) as temporary:
                torch.save(checkpoint, temporary)
        except (OSError, RuntimeError) as error:  # torch's own writer says RuntimeError when the disk is full
            raise TrainingError(
                f"{path}: cannot be written ({_first_line(error)}); free some space, then go on with --resume"
            ) from error

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        checkpoint, _ = _load(Path(path))
        if lacks := [key for key in TO_RESUME if key not in checkpoint]:
            raise FormatError(
                f"{path}: lacks {', '.join(lacks)}; weights only cannot be resumed, but a new run can begin with them "
                "(init_from)"
            )
        return checkpoint


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "lightning": L.__version__,
        "xnornet": __version__,
    }


def plain(value: Any) -> Any:
    """The same as dicts, lists, strings and numbers."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
