"""What a recipe says: every number of a training run. No torch here, so that listing recipes is quick."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise
from numbers import Integral, Real
from os import PathLike
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ...errors import UsageError
from ...preprocess import Preprocess

__all__ = ["Recipe"]

Optimiser = Literal["adam", "adamw", "sgd", "bop"]
Schedule = Literal["constant", "cosine", "linear", "polynomial", "exponential", "step"]


# What keys are called elsewhere.
_OTHER_NAMES = {
    **dict.fromkeys(("learning_rate", "lr0", "base_lr"), "lr"),
    **dict.fromkeys(("batch", "bs", "train_batch_size"), "batch_size"),
    **dict.fromkeys(("optimizer", "optim"), "optimiser"),
    **dict.fromkeys(("lr_schedule", "scheduler", "lr_scheduler"), "schedule"),
    **dict.fromkeys(("wd", "l2"), "weight_decay"),
    **dict.fromkeys(("num_epochs", "max_epochs"), "epochs"),
    **dict.fromkeys(("arch", "architecture", "network"), "model"),
    **dict.fromkeys(("color_jitter", "jitter"), "colour_jitter"),
    **dict.fromkeys(("clip_grad", "grad_clip", "clip_norm"), "gradient_clip"),
    **dict.fromkeys(("amp", "dtype"), "precision"),
    **dict.fromkeys(("pretrained", "checkpoint", "weights"), "init_from"),
}
_LEAST = {
    **dict.fromkeys(("epochs", "batch_size", "accumulate", "devices", "num_nodes"), 1),
    **dict.fromkeys(("test_epochs", "checkpoint_epochs"), 1),
    **dict.fromkeys(("pad_crop", "cutout", "limit_train", "seed", "checkpoint_steps", "checkpoint_minutes"), 0),
    **dict.fromkeys(("lr", "latent_lr", "lr_end", "power", "warmup_epochs", "momentum", "adam_eps", "weight_decay"), 0),
    **dict.fromkeys(("bop_gamma", "bop_gamma_end", "bop_threshold", "decay_epochs", "gradient_clip"), 0),
    **dict.fromkeys(("label_smoothing", "distillation", "temperature", "colour_jitter", "lighting"), 0),
}
# Arguments of a network that are no options of it, and what decides them.
_DECIDED = {
    "method": "method=NAME chooses it",
    "num_classes": "the data's classes decide it",
    "in_channels": "the recipe's images decide it",
}


@dataclass(frozen=True)
class Recipe:
    """One training run. The defaults are those that suit binary networks; a recipe states where it departs.

    Attributes:
        name: as on the command line.
        model, model_options: of `xnornet.models.create`.
        method: of `xnornet.nn.method`: "float", "bwn", "xnor", "dorefa:1,2", ...
        input_scale: the paper's K: "none", "k" or "k-gradient".
        data: of `xnornet.data.open_dataset`.
        preprocess: travels into the packed file.
        crop: augmentation of photos. "random": scaled as `short_side` says, then a crop of the network's size at a
            random place; "area": a random part of the image (Szegedy et al. 2015), scaled to that size; "none": as for
            evaluation.
        short_side: pixels of the smaller side before a random crop: drawn from smallest to largest.
        crop_area: the least share of the image that an "area" crop has; the largest is all of it.
        pad_crop: augmentation of small images, with `crop` "none": pad by so many black pixels, then crop at random.
        flip: augmentation; mirror every other image, at random.
        colour_jitter: augmentation; brightness, contrast and saturation of each image change by factors of 1 minus so
            much to 1 plus so much; 0: not.
        lighting: augmentation; noise along the principal components of ImageNet's colours, its deviation in their
            eigenvalues (Krizhevsky et al. 2012), 0.1 there; 0: none.
        cutout: augmentation, the last; a square of so many pixels at a random place takes the mean's colour; 0: none.
        sampling: "shuffle": every image once an epoch; "balanced": as many draws, each of a class, then of one of its
            images, with replacement (the released code).
        limit_train: train on the first so many images only, of all classes alike, to try things out; 0: on all.
        epochs: passes over the training images.
        batch_size: images a step; a last, smaller batch is left out.
        accumulate: gradients are summed over so many parts of each batch, where a whole one needs too much memory.
        optimiser: "adam" is what binary networks are trained with (paper, section 4.1); "adamw", whose weight decay
            is apart from the gradients; "sgd"; or "bop", which flips binary weights (`train/bop.py`) and uses Adam for
            all others.
        lr: learning rate at its highest.
        latent_lr: factor on the learning rate of latent weights, those behind quantized ones. What turns a sign is a
            step beside the weight's magnitude, so their rate is another thing than that of float weights and norms.
        lr_end: learning rate at the end of the schedules "cosine", "linear", "polynomial" and "exponential".
        schedule: from `lr` down to `lr_end`, step by step: see `train/schedules.py`; "step" goes by `lr_steps` instead.
        lr_steps: pairs "epochs:factor": once so many epochs are over, the learning rate is `lr` times the factor.
        power: of the schedule "polynomial"; 4 in the paper's GoogLeNet variant.
        warmup_epochs: `lr` rises linearly from 0 over these first, at most half of all.
        momentum, nesterov: of "sgd".
        adam_eps: Adam's eps; small, since gradients of binary weights are (see `parameter_groups`).
        bop_gamma, bop_gamma_end, bop_threshold: of "bop": the adaptivity rate at its highest and at the end of the
            schedule, and tau.
        weight_decay: of the float layers' weights. Binary layers have none: shrinking latent weights changes
            no sign, it only makes signs flip more easily.
        decay_latent: weight decay for latent weights too, as in the released code.
        decay_epochs: weight decay ends after so many epochs; 0: never.
        gradient_clip: gradients whose norm, over all parameters, is larger are scaled down to it; 0: off.
        loss: "cross_entropy", or "squared_hinge" (BinaryConnect, BinaryNet).
        label_smoothing: of the cross entropy.
        teacher: checkpoint of a trained network whose answers this one learns to give; empty: none.
        distillation, temperature: share of the teacher's loss in the whole, the labels' being the rest; and its
            temperature.
        init_from: checkpoint, or run folder, with the weights to begin with (two-stage training); empty: fresh ones.
        precision: "32-true", or "bf16-mixed", "16-mixed": convolutions in 16 bits; latent weights, norms and all
            testing stay in float32.
        compile: pass the network through `torch.compile`.
        devices, num_nodes: processes on this machine, and machines; under torchrun it decides.
        sync_batch_norm: batch statistics over all processes, not of each its own.
        seed: decides weights, order and augmentation; on one CPU, with as many threads, runs repeat exactly.
        test_epochs: test after every so many epochs, of which the last is one.
        checkpoint_epochs: save after every so many epochs, and after the last; less often where that would take more
            than a tenth of the time.
        checkpoint_minutes, checkpoint_steps: how often to save within an epoch, to resume from there; 0: not.
    """

    name: str
    model: str
    method: str
    data: str
    preprocess: Preprocess
    model_options: Mapping[str, Any] = field(default_factory=dict)
    input_scale: Literal["none", "k", "k-gradient"] = "none"
    crop: Literal["none", "random", "area"] = "none"
    short_side: tuple[int, int] = (256, 256)
    crop_area: float = 0.08
    pad_crop: int = 0
    flip: bool = False
    colour_jitter: float = 0.0
    lighting: float = 0.0
    cutout: int = 0
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    limit_train: int = 0
    epochs: int = 30
    batch_size: int = 128
    accumulate: int = 1
    optimiser: Optimiser = "adam"
    lr: float = 1e-3
    latent_lr: float = 1.0
    lr_end: float = 0.0
    schedule: Schedule = "cosine"
    lr_steps: tuple[tuple[float, float], ...] = ()
    power: float = 4.0
    warmup_epochs: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    adam_eps: float = 1e-10
    bop_gamma: float = 1e-4
    bop_gamma_end: float = 1e-6
    bop_threshold: float = 1e-8
    weight_decay: float = 0.0
    decay_latent: bool = False
    decay_epochs: int = 0
    gradient_clip: float = 0.0
    loss: Literal["cross_entropy", "squared_hinge"] = "cross_entropy"
    label_smoothing: float = 0.0
    teacher: str = ""
    distillation: float = 1.0
    temperature: float = 1.0
    init_from: str = ""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: bool = False
    devices: int = 1
    num_nodes: int = 1
    sync_batch_norm: bool = False
    seed: int = 0
    test_epochs: int = 1
    checkpoint_epochs: int = 1
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int = 0

    def __post_init__(self) -> None:
        for key, least in _LEAST.items():
            if not least <= getattr(self, key) < float("inf"):
                raise UsageError(f"{key}={getattr(self, key)}: at least {least}, and finite")
        if self.seed >= 1 << 63:
            raise UsageError(f"seed={self.seed}: below 2^63")
        if not self.data:
            raise UsageError("data=: a name or a folder; . is the current one")
        if not 0 < self.crop_area <= 1:
            raise UsageError(f"crop_area={self.crop_area}: above 0, at most 1")
        if self.crop != "none" and not max(self.preprocess.size) <= self.short_side[0] <= self.short_side[1]:
            least = max(self.preprocess.size)
            raise UsageError(f"short_side={self.short_side}: smallest and largest, in pixels; at least {least} here")
        if self.crop != "none" and self.pad_crop:
            raise UsageError(f"pad_crop={self.pad_crop}: only with crop=none, not crop={self.crop}")
        if self.colour_jitter > 1:
            raise UsageError(f"colour_jitter={self.colour_jitter}: at most 1")
        if self.lighting and self.preprocess.mode != "RGB":
            raise UsageError(f"lighting={self.lighting}: only of images in colour; here they are grey")
        if self.label_smoothing >= 1:
            raise UsageError(f"label_smoothing={self.label_smoothing}: below 1")
        if self.label_smoothing and self.loss != "cross_entropy":
            raise UsageError(f"label_smoothing={self.label_smoothing}: only with loss=cross_entropy, not {self.loss}")
        if self.distillation > 1:
            raise UsageError(f"distillation={self.distillation}: a share of the loss, at most 1")
        if self.temperature == 0:
            raise UsageError("temperature=0: above 0")
        if self.batch_size % self.accumulate:
            raise UsageError(f"accumulate={self.accumulate}: batch_size={self.batch_size} is not a multiple of it")
        if self.epochs % self.test_epochs:
            raise UsageError(f"test_epochs={self.test_epochs}: epochs={self.epochs} is not a multiple of it")
        if self.schedule == "exponential" and not self.lr_end:
            raise UsageError("schedule=exponential: needs lr_end above 0")
        if (self.schedule == "step") != bool(self.lr_steps):
            raise UsageError(f"schedule={self.schedule}: {'needs' if self.schedule == 'step' else 'has no'} lr_steps")
        self._check_rates()
        if self.optimiser == "bop" and self.latent_lr != 1:
            raise UsageError(f"latent_lr={self.latent_lr}: optimiser=bop flips binary weights at bop_gamma: change it")
        if self.momentum >= 1:
            raise UsageError(f"momentum={self.momentum}: below 1")
        if self.nesterov and not self.momentum:
            raise UsageError("nesterov=true: needs momentum above 0")

    def _check_rates(self) -> None:
        """Of the schedules. Raises UsageError."""
        epochs = [epoch for epoch, _ in self.lr_steps]
        if not all(0 <= number < float("inf") for pair in self.lr_steps for number in pair):
            raise UsageError(f"lr_steps={self.lr_steps}: epochs and factors are at least 0, and finite")
        if any(epoch >= following for epoch, following in pairwise(epochs)):
            raise UsageError(f"lr_steps={self.lr_steps}: one epoch after the other")
        ends = {"lr": "lr_end", **({"bop_gamma": "bop_gamma_end"} if self.optimiser == "bop" else {})}
        for start, end in ends.items():
            if self.schedule not in ("constant", "step") and getattr(self, end) > getattr(self, start):
                raise UsageError(f"{end}={getattr(self, end)}: at most {start}={getattr(self, start)}")
        if self.optimiser == "bop" and self.schedule == "exponential" and not self.bop_gamma_end:
            raise UsageError("bop_gamma_end=0.0: schedule=exponential with optimiser=bop needs it above 0")
        if self.optimiser == "bop" and self.bop_gamma > 1:
            raise UsageError(f"bop_gamma={self.bop_gamma}: at most 1")

    def override(self, changes: Mapping[str, Any]) -> Recipe:
        """A copy with some values replaced.

        Args:
            changes: by attribute name; text is parsed as the attribute's type. "model.OPTION" goes to the model. Of
                the recipe's options for its model, another "model" takes over those that it knows.
                "image_size" is the side of the network's input in pixels: sizes of images before the crop keep their
                proportion to it, `short_side` unless it is given too.

        Raises:
            UsageError: an unknown key (the message lists those there are), or a value of the wrong type.
        """
        kinds = get_type_hints(Recipe)
        keys = [f.name for f in fields(self) if f.name not in ("name", "preprocess", "model_options")]
        plain: dict[str, Any] = {}
        options = _options_for(str(changes.get("model", self.model)), self)
        for key, value in changes.items():
            if key == "image_size":
                plain = {**self._of_size(_parse(key, value, int)), **plain}
            elif key.startswith("model."):
                option = key.removeprefix("model.")
                if option in _DECIDED:
                    raise UsageError(f"{key}={value}: no option; {_DECIDED[option]}")
                options[option] = _guess(value)
            elif key in keys:
                plain[key] = _parse(key, value, kinds[key])
            else:
                near = difflib.get_close_matches(key, (*_OTHER_NAMES, *keys), 1, 0.75)
                meant = f"did you mean {_OTHER_NAMES.get(near[0], near[0])}? There" if near else "there"
                raise UsageError(f"unknown option '{key}'; {meant} are {', '.join(keys)}, image_size, model.OPTION")
        return replace(self, **plain, model_options=options)

    def idle(self, latent: bool = True) -> dict[str, str]:
        """The keys that change nothing beside the others, and what would make each count.

        Args:
            latent: whether the network has latent weights.
        """
        sgd, bop = self.optimiser == "sgd", self.optimiser == "bop"
        moving = self.schedule not in ("constant", "step")
        first = self.lr_steps[0][0] if self.lr_steps else 0
        counts = (
            ("optimiser=sgd", sgd, "momentum nesterov"),
            ("optimiser=adam, adamw or bop", not sgd, "adam_eps"),
            ("optimiser=bop", bop, "bop_gamma bop_gamma_end bop_threshold"),
            ("a schedule that falls to it", moving, "lr_end"),
            ("schedule=polynomial", self.schedule == "polynomial", "power"),
            ("crop=random or area", self.crop != "none", "short_side"),
            ("crop=area", self.crop == "area", "crop_area"),
            ("teacher=CHECKPOINT", bool(self.teacher), "distillation temperature"),
            ("distillation below 1", not self.teacher or self.distillation < 1, "label_smoothing"),
            ("weight_decay above 0", self.weight_decay > 0, "decay_latent decay_epochs"),
            ("a method with quantized weights", latent, "latent_lr decay_latent"),
            ("several processes", self.devices * self.num_nodes > 1, "sync_batch_norm"),
            (f"epochs above {self.decay_epochs}", self.decay_epochs < self.epochs, "decay_epochs"),
            (f"epochs above {first:g}", first < self.epochs, "lr_steps"),
        )
        return {key: need for need, met, keys in counts if not met for key in keys.split()}

    def _of_size(self, side: int) -> dict[str, Any]:
        """What changes for images of so many pixels, all sizes in proportion."""
        old = self.preprocess
        scale = side / min(old.size)
        resize = None if old.resize is None else round(old.resize * scale)
        try:
            preprocess = replace(old, size=(round(old.size[0] * scale), round(old.size[1] * scale)), resize=resize)
        except ValueError as error:
            raise UsageError(f"image_size={side}: {error}") from error
        return {"preprocess": preprocess, "short_side": tuple(round(n * scale) for n in self.short_side)}


def _options_for(model: str, recipe: Recipe) -> dict[str, Any]:
    """Those of a recipe's options for its model that another one knows too."""
    options = dict(recipe.model_options)
    if model == recipe.model or not options:
        return options
    from ...models import MODELS
    from ...models import options as known  # torch comes with it

    return {key: value for key, value in options.items() if model in MODELS and key in known(model)}


def _parse(key: str, value: Any, kind: Any) -> Any:
    """`value` as `kind`, from text or as it is."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UsageError(f"{key}={value}: one of {', '.join(get_args(kind))}")
        return value
    if get_args(kind)[1:] == (...,):
        parts = [part.split(":") for part in value.split(",") if part] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise UsageError(f"{key}={value}: needs several values, with commas between")
        if any(not isinstance(part, list | tuple) or len(part) != len(get_args(get_args(kind)[0])) for part in parts):
            raise UsageError(f"{key}={value}: needs pairs epochs:factor, with commas between (30:0.1,60:0.01)")
        return tuple(_parse(key, part, get_args(kind)[0]) for part in parts)
    if get_origin(kind) is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        kinds = get_args(kind)
        if not isinstance(parts, list | tuple) or len(parts) != len(kinds):
            raise UsageError(f"{key}={value}: needs {len(kinds)} values, with commas between")
        return tuple(_parse(key, part, kind) for part, kind in zip(parts, kinds, strict=True))
    if kind is bool:
        known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if str(value).lower() not in known:
            raise UsageError(f"{key}={value}: true or false")
        return known[str(value).lower()]
    # NumPy's numbers too, and paths.
    allowed = {int: (Integral, str), float: (Real, str), str: (str, PathLike)}[kind]
    try:
        if isinstance(value, allowed) and not isinstance(value, bool):
            return kind(value)
    except ValueError:
        pass
    what = {int: "a whole number", float: "a number", str: "text"}[kind]
    raise UsageError(f"{key}={value}: needs {what}")


def _guess(value: Any) -> Any:
    """A model's option, whose type only the model knows: a number or a truth value where the text is one."""
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
