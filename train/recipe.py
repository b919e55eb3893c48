"""A recipe: everything that decides a training run, in one typed dataclass."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import yaml

from glorext.models import InputSpec, spec
from glorext.runtime.errors import RecipeError, UsageError
from glorext.runtime.files import atomic_path

OUTPUTS = "outputs"  # where a run goes that names no folder
Flag = bool | Literal[0, 1]  # the published configurations write 0 and 1
Level = Literal["O0", "O2", "O3", "auto"]
Device = Literal["CPU", "GPU", "Ascend"]
Schedule = Literal["cosine_annealing", "exponential", "linear", "Linear", "poly", "steps", "cosine"]
Augmentation = Literal["color_jitter", "autoaugment", "randaugment", "crop_flip", "none"]


def _key(default, text: str, *aliases: str):
    make = {"default_factory": default} if callable(default) else {"default": default}
    return field(metadata={"help": text, "aliases": aliases}, **make)


@dataclass
class Recipe:
    """One training run. Published spellings of a key are accepted as well (see each key's aliases).

    Raises:
        RecipeError: an impossible value; names its key.
    """

    network: str = _key("resnext50", "name of the network", "backbone")
    network_args: dict[str, Any] = _key(dict, "further arguments of the network's constructor")
    num_classes: int | None = _key(None, "number of classes; by default as many as there are labels", "class_num")
    input: dict[str, Any] = _key(dict, "what differs from the network's InputSpec: size, resize, mean, ...")
    augmentation: Augmentation = _key("color_jitter", "what happens to a training picture besides normalization")
    val_split: float = _key(0.0, "share of each class that is held out for validation; 0: none")
    batch_size: int = _key(128, "pictures per step and device", "per_batch_size")
    micro_batch_size: int = _key(
        0, "pictures of a step that go through the network at a time, their gradients add up; 0: all"
    )
    epochs: int = _key(150, "length of the run", "max_epoch", "epoch_size")
    lr: float = _key(0.05, "highest learning rate", "lr_max")
    lr_scheduler: Schedule = _key("cosine_annealing", "shape of the learning rate", "lr_decay_mode")
    lr_init: float = _key(0.0, "learning rate where the warm-up of the glore schedules starts")
    lr_end: float = _key(0.0, "learning rate at the end of the linear schedule")
    lr_epochs: list[int] | str = _key(lambda: [30, 60, 90, 120], "epochs where `exponential` decays")
    lr_gamma: float = _key(0.1, "factor of `exponential`")
    eta_min: float = _key(0.0, "lowest learning rate of `cosine_annealing`")
    T_max: int | None = _key(None, "epochs of half a cosine; by default all")
    warmup_epochs: int = _key(1, "epochs in which the learning rate rises")
    momentum: float = _key(0.9, "of the optimizer")
    weight_decay: float = _key(1e-4, "of weights; biases, gamma and beta have none")
    optimizer: Literal["momentum", "adamw", "lamb"] = _key(
        "momentum", "adamw (arXiv:1711.05101) and lamb (arXiv:1904.00962) are MindSpore's; momentum counts for neither"
    )
    layer_decay: float = _key(
        1.0, "rate of each stage of the network as a share of that of the one above it (arXiv:1801.06146)"
    )
    clip_grad: float = _key(0.0, "largest L2 norm of all gradients together (arXiv:1211.5063); 0: any")
    label_smooth: Flag = _key(True, "whether labels are smoothed", "use_label_smooth")
    label_smooth_factor: float = _key(0.1, "share of the target that goes to the other classes")
    mixup: float = _key(0.0, "alpha of mixup (arXiv:1710.09412); 0: none; with cutmix, one of both at each step")
    cutmix: float = _key(0.0, "alpha of CutMix (arXiv:1905.04899); 0: none")
    random_erasing: float = _key(0.0, "share of the pictures of which a rectangle is erased (arXiv:1708.04896)")
    class_weights: Literal["none", "balanced"] = _key(
        "none", "balanced: each class counts alike in the loss, however many pictures it has (King and Zeng, 2001)"
    )
    weight_average: float = _key(
        0.0, "decay of an average of the weights, which is evaluated and kept (arXiv:1703.01780); 0: none", "ema"
    )
    early_stopping: int = _key(0, "epochs without a better top-1 after which the run ends; 0: never")
    amp_level: Level | dict[Device, Level] = _key(
        dict, "mixed precision: O0, O2, O3, auto, or one per device; by default O0 on CPU, O2 on GPU and Ascend"
    )
    amp_dtype: Literal["float16", "bfloat16"] = _key(
        "float16", "what mixed precision computes in; bfloat16, without a loss scale, where the chip has it"
    )
    loss_scale: float = _key(1024.0, "factor of the loss under mixed precision (the first one, if dynamic)")
    dynamic_loss_scale: Flag = _key(
        False, "halve the scale at overflow, double it after 2000 good steps", "is_dynamic_loss_scale"
    )
    skip_overflow: Flag = _key(
        True, "leave out the update of a step that overflowed; false, as published: only what a dynamic scale must"
    )
    sync_batch_norm: Flag = _key(
        False, "batch norms take the mean and variance of the pictures of all devices; on Ascend"
    )
    weight_init: Literal["he_normal", "he_uniform", "xavier_uniform"] | None = _key(
        None, "how fresh convolutions are filled; by default as the network says"
    )
    pretrained: bool | str | None = _key(None, "a run, a checkpoint, a package or a name to start from")
    new_head: Flag = _key(False, "start `pretrained` with a fresh classifier")
    pretrain_epoch_size: int = _key(0, "epochs of the schedule that `pretrained` has already had")
    freeze_epochs: int = _key(0, "first epochs in which only the classifier learns")
    save_checkpoint: Flag = _key(True, "whether checkpoints are written")
    save_checkpoint_epochs: int = _key(1, "epochs between two checkpoints")
    ckpt_interval: int = _key(0, "steps between two checkpoints; 0: at epoch ends only")
    keep_checkpoint_max: int = _key(5, "how many of the newest checkpoints stay", "ckpt_save_max")
    ckpt_path: str = _key(OUTPUTS, "folder of the run", "save_checkpoint_path", "out")
    is_save_on_master: Flag = _key(True, "must be true: only rank 0 writes")
    rank: int = _key(0, "of this process; set by the launcher")
    group_size: int = _key(1, "number of devices; set by the launcher")
    seed: int = _key(1, "of initial weights, order of pictures and augmentation")
    workers: int | None = _key(None, "threads of each stage of the input pipeline; by default the cores, at most 8")
    conv_form: Literal["grouped", "split"] = _key(
        "grouped", "split: each grouped convolution as one for each group, for a device without grouped ones"
    )
    deterministic: Flag = _key(False, "equal bits at every run on a card as well, which costs time")
    jit_level: Literal["O0", "O1"] = _key("O0", "graph compiler: O1 fuses kernels")
    data_sink: Flag | None = _key(None, "feed the device from its own queue; by default on GPU and Ascend")
    skip_corrupt: Flag = _key(False, "leave out pictures that cannot be decoded, and report them")
    tensorboard: Flag = _key(False, "write a TensorBoard log into the run's folder")
    mlflow: Flag = _key(False, "log to MLflow, where MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say")
    wandb: Flag = _key(False, "log to Weights & Biases, where WANDB_PROJECT and WANDB_MODE say")

    def __post_init__(self):
        if isinstance(self.lr_epochs, str):  # published as '30,60,90,120'
            if not re.fullmatch(r"\d+(\s*,\s*\d+)*", self.lr_epochs):
                raise RecipeError(expected="epochs as 30,60", found=repr(self.lr_epochs), where="key lr_epochs")
            self.lr_epochs = [int(part) for part in self.lr_epochs.split(",")]
        for item in dataclasses.fields(self):
            if isinstance(getattr(self, item.name), int) and item.type in ("Flag", "Flag | None"):
                setattr(self, item.name, bool(getattr(self, item.name)))
        self.lr_scheduler = cast(Schedule, self.lr_scheduler.lower())  # published as "Linear"
        if self.pretrained is False:
            self.pretrained = None
        self._check()

    def _check(self):
        for key, low, high in LIMITS:
            value = getattr(self, key)
            if value is not None and not low <= value <= high:
                raise RecipeError(expected=f"{key} between {low:g} and {high:g}", found=value, where=f"key {key}")
        impossible = (
            ("warmup_epochs", self.warmup_epochs > self.epochs, f"at most the {self.epochs} epochs of the run"),
            ("pretrain_epoch_size", self.pretrain_epoch_size >= self.epochs, f"less than the {self.epochs} epochs"),
            ("freeze_epochs", self.freeze_epochs > self.epochs, f"at most the {self.epochs} epochs of the run"),
            ("lr_end", self.lr_end > self.lr, f"at most lr, {self.lr:g}"),
            ("eta_min", self.eta_min > self.lr, f"at most lr, {self.lr:g}"),
            ("lr_epochs", self.lr_epochs != sorted({max(epoch, 0) for epoch in self.lr_epochs}), "increasing epochs"),
            ("is_save_on_master", not self.is_save_on_master, "true: only rank 0 writes"),
            ("rank", self.rank >= self.group_size, f"less than group_size, {self.group_size}"),
            ("pretrained", self.pretrained is True, "the path of a checkpoint or a published name"),
            ("micro_batch_size", bool(self.batch_size % self.at_once), f"a divisor of batch_size, {self.batch_size}"),
            ("new_head", self.new_head and not self.pretrained, "false, or `pretrained` to take the rest from"),
        )
        for key, wrong, expected in impossible:
            if wrong:
                raise RecipeError(expected=expected, found=getattr(self, key), where=f"key {key}")

    def require_start(self) -> None:
        """Raise RecipeError where frozen layers would be random ones."""
        if self.freeze_epochs and not self.pretrained:
            do = "Name it: --from MODEL, such as --from resnext50; or train everything with --freeze_epochs 0."
            raise RecipeError(expected="a model whose layers are frozen", found="none", where="key pretrained", do=do)

    @property
    def source(self) -> str | None:
        """What `pretrained` names, if anything."""
        return self.pretrained if isinstance(self.pretrained, str) else None

    @property
    def at_once(self) -> int:
        """Pictures that go through the network at a time."""
        return self.micro_batch_size or self.batch_size

    @property
    def smoothing(self) -> float:
        """Share of the target that label smoothing takes from the label; 0 where it is off."""
        return self.label_smooth_factor if self.label_smooth else 0.0

    @property
    def skips_overflow(self) -> bool:
        """Whether a step that overflowed updates nothing; a dynamic loss scale is found by skipping."""
        return bool(self.skip_overflow or self.dynamic_loss_scale)

    def input_spec(self):
        """The InputSpec of the run: the network's own with the recipe's changes."""
        try:
            network = spec(self.network)
        except UsageError as error:
            raise RecipeError(expected=error.expected, found=error.found, where="key network") from error
        try:
            made = InputSpec.from_dict({**network.input.to_dict(), **with_resize(self.input, network.input)})
        except UsageError as error:
            raise RecipeError(expected=error.expected, found=error.found, where="key input") from error
        multiple = network.family.side_multiple
        if made.size % multiple:
            raise RecipeError(
                expected=f"input.size as a multiple of {multiple}, for {network.name}",
                found=made.size,
                where="key input",
            )
        return made

    def amp_for(self, device: str) -> str:
        """The mixed precision level on `device`: "O0", "O2", "O3" or "auto"."""
        if isinstance(self.amp_level, str):
            return self.amp_level
        levels: dict[str, str] = dict(self.amp_level.items())
        return levels.get(device, "O0" if device == "CPU" else "O2")

    def save(self, path) -> None:
        """Write the recipe as YAML, atomically."""
        with atomic_path(path) as temporary:
            temporary.write_text(
                yaml.safe_dump(dataclasses.asdict(self), sort_keys=False, allow_unicode=True), encoding="utf-8"
            )


def with_resize(changes: dict, before: InputSpec) -> dict:
    """Changes of an input; where they name `size` alone, with the `resize` that keeps the ratio it had `before`."""
    size = changes.get("size")
    if type(size) is not int or size == before.size or "resize" in changes:
        return changes
    return {**changes, "resize": round(size * before.resize / before.size)}


def scaled_epochs(before: Recipe, epochs: int) -> dict[str, Any]:
    """The keys that count epochs of the learning rate's fall, for a run of another length: T_max, lr_epochs."""
    share = epochs / before.epochs
    falls = sorted({max(1, round(epoch * share)) for epoch in map(int, before.lr_epochs)})
    return {"T_max": before.T_max and max(1, round(before.T_max * share)), "lr_epochs": falls}


MANY = 10**9
LIMITS = (  # key, lowest, highest
    ("num_classes", 2, MANY),
    ("val_split", 0, 0.9),
    ("batch_size", 1, MANY),
    ("micro_batch_size", 0, MANY),
    ("epochs", 1, MANY),
    ("lr", 0, 1e3),
    ("lr_init", 0, 1e3),
    ("lr_end", 0, 1e3),
    ("eta_min", 0, 1e3),
    ("lr_gamma", 0, 1),
    ("T_max", 1, MANY),
    ("warmup_epochs", 0, MANY),
    ("momentum", 0, 1),
    ("weight_decay", 0, 1),
    ("clip_grad", 0, MANY),
    ("layer_decay", 0.01, 1),
    ("mixup", 0, 100),
    ("cutmix", 0, 100),
    ("random_erasing", 0, 1),
    ("weight_average", 0, 0.999999),
    ("early_stopping", 0, MANY),
    ("label_smooth_factor", 0, 0.999),
    ("loss_scale", 1, 2.0**32),
    ("pretrain_epoch_size", 0, MANY),
    ("freeze_epochs", 0, MANY),
    ("save_checkpoint_epochs", 1, MANY),
    ("ckpt_interval", 0, MANY),
    ("keep_checkpoint_max", 1, MANY),
    ("rank", 0, MANY),
    ("group_size", 1, MANY),
    ("seed", 0, 2**31 - 1),
    ("workers", 1, 1024),
)
