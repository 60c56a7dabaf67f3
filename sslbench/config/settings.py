"""What can be set, in which range, what it means, and where its default comes from.

These dataclasses are the schema that Hydra checks types against; `__post_init__` adds the ranges
and the rules between fields that a type cannot express. "Paper" is Singh, Garg and Mishra, "Self
and Semi-Supervised Deep Learning"; "reading" marks a place where the paper is silent or contradicts
itself, and names the other reading that the setting offers.

A field with `metadata=EXECUTION` says how a cell is run and is no part of its identity.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from omegaconf import MISSING

EXECUTION = {"identity": False}


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise ValueError(f"{name}={value}: {rule}")


def _positive(name: str, value: float) -> None:
    _require(math.isfinite(value), name, value, "must be finite")
    _require(value > 0, name, value, "must be greater than 0")


def _not_negative(name: str, value: float) -> None:
    _require(math.isfinite(value), name, value, "must be finite")
    _require(value >= 0, name, value, "must not be negative")


def _fraction(name: str, value: float) -> None:
    _require(0 <= value <= 1, name, value, "must lie between 0 and 1")


def _one_of(name: str, value: str, choices: Sequence[str]) -> None:
    _require(value in choices, name, value, f"must be one of {', '.join(choices)}")


def _interval(name: str, bounds: list[float], low: float, high: float) -> None:
    ordered = len(bounds) == 2 and low <= bounds[0] <= bounds[1] <= high
    _require(ordered, name, bounds, f"must be [low, high] with {low} <= low <= high <= {high}")


@dataclass
class Model:
    """An encoder `(B, 3, 96, 96) -> (B, D)`; the classifier on top belongs to the method."""

    name: str = MISSING


@dataclass
class ConvNet(Model):
    """Strided 3x3 convolutions without padding, flattened (paper, figure 1)."""

    name: str = "convnet"
    blocks: int = 5
    """Figure 1 prints five blocks, the text says four; only five give its 512 features."""
    channels: int = 128
    dropout: float = 0.0
    """Probability of Dropout2d after each ReLU."""

    def __post_init__(self) -> None:
        _require(1 <= self.blocks <= 5, "model.blocks", self.blocks, "1 to 5 fit in 96x96 images")
        _positive("model.channels", self.channels)
        _fraction("model.dropout", self.dropout)


@dataclass
class ResNet18(Model):
    """torchvision's resnet18 without its classifier (paper, figure 3)."""

    name: str = "resnet18"
    stem: str = "imagenet"
    """`imagenet`: 7x7 stride 2 and max-pool, as torchvision has it. The other reading, `cifar`, is
    figure 3's drawing: 3x3 stride 1 and no max-pool."""

    def __post_init__(self) -> None:
        _one_of("model.stem", self.stem, ("imagenet", "cifar"))


@dataclass
class WideResNet(Model):
    """Pre-activation wide residual network with a 1x1 skip in each stage's first block."""

    name: str = "wrn45_2"
    stem_width: int = 16
    widths: list[int] = field(default_factory=lambda: [16, 32, 64, 128])
    strides: list[int] = field(default_factory=lambda: [1, 2, 2, 2])
    blocks_per_stage: int = 5
    dropout: float = 0.0
    """Probability of dropout between a block's two convolutions."""
    bn_momentum: float = 0.001
    """Share of the new batch in BatchNorm's running statistics (PyTorch's sense). The other
    reading of "momentum 0.001" is 0.999 in that sense."""
    negative_slope: float = 0.1

    def __post_init__(self) -> None:
        _require(
            len(self.widths) == len(self.strides) > 0,
            "model.widths",
            self.widths,
            f"needs one stride per stage; model.strides={self.strides}",
        )
        for name in ("stem_width", "blocks_per_stage"):
            _positive(f"model.{name}", getattr(self, name))
        for name in ("widths", "strides"):
            values = getattr(self, name)
            _require(min(values) >= 1, f"model.{name}", values, "each must be at least 1")
        _fraction("model.dropout", self.dropout)
        _fraction("model.bn_momentum", self.bn_momentum)
        _not_negative("model.negative_slope", self.negative_slope)


@dataclass
class Method:
    """How the encoder learns."""

    uses_pool: ClassVar[bool] = True
    """Whether it learns from unlabelled images; without them the ratio is no part of a cell."""
    epochs_are_of_pool: ClassVar[bool] = False
    """Whether an epoch is a pass over the pool, and not over the labelled images."""

    name: str = MISSING
    epochs: float = 100.0
    batch_size: int = 125
    """Images per step; for the semi-supervised method the labelled ones."""
    adam_lr: float = 2e-3
    """The paper's learning rate for this method; `optimizer=adam` and `adamw` take it."""
    select: str = "best"
    """Which weights are evaluated at the end: those of the epoch with the `best` validation
    accuracy (reading: the paper saves a checkpoint after each epoch), or the `last`."""
    eval_every: float = 1.0
    """Epochs from one validation and checkpoint to the next."""

    def __post_init__(self) -> None:
        _positive("method.epochs", self.epochs)
        _positive("method.batch_size", self.batch_size)
        _positive("method.adam_lr", self.adam_lr)
        _one_of("method.select", self.select, ("best", "last"))
        _positive("method.eval_every", self.eval_every)


@dataclass
class Supervised(Method):
    """Cross-entropy on the labelled images (paper, table 1)."""

    uses_pool: ClassVar[bool] = False

    name: str = "supervised"


@dataclass
class BarlowTwins(Method):
    """Barlow Twins on the pool, then a linear probe on the frozen encoder (paper, table 2)."""

    epochs_are_of_pool: ClassVar[bool] = True

    name: str = "barlow"
    epochs: float = 4.0
    batch_size: int = 100
    """Reading: figure 5 ends at step 4000 = 4 epochs x 100,000 images / 100."""
    adam_lr: float = 5e-4
    select: str = "last"
    lambd: float = 0.0051
    """Weight of the redundancy-reduction term: the lambda of Zbontar et al. 2021, eq. 1."""
    projector: list[int] = field(default_factory=list)
    """Widths of the projector's layers. Reading: none, as the paper's pipeline puts the loss on the
    embeddings; Zbontar et al. use [8192, 8192, 8192]."""
    probe_l2: float = 1.0
    """L2 penalty of the linear probe on standardised embeddings (1 / C of the logistic loss)."""
    knn_k: int = 200
    """Neighbours of the k-NN reading, at most the number of labelled images."""
    snapshot_steps: list[int] = field(
        default_factory=lambda: [50, 500, 1000, 2000, 4000], metadata=EXECUTION
    )
    """Steps after which validation embeddings are kept (paper, figure 5: steps 50 and 4000)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.batch_size >= 2, "method.batch_size", self.batch_size, "needs at least 2")
        _not_negative("method.lambd", self.lambd)
        _positive("method.probe_l2", self.probe_l2)
        _positive("method.knn_k", self.knn_k)
        for width in self.projector:
            _positive("method.projector", width)
        for step in self.snapshot_steps:
            _positive("method.snapshot_steps", step)


@dataclass
class Semi(Method):
    """FixMatch (Sohn et al. 2020) with Adam and no threshold (paper, tables 3 and 4)."""

    name: str = "semi"
    batch_size: int = 32
    unlabeled_batch_size: int = 64
    threshold: float = 0.0
    """Pseudo-labels below this confidence are left out; the paper has none, FixMatch 0.95."""
    unlabeled_weight: float = 1.0
    """Weight of the unlabelled loss. Reading: 1, as in FixMatch."""
    pseudo_labels: str = "hard"
    """`hard`: argmax of the weak view, as the paper has it; `soft`: its whole distribution."""
    ema: float = 0.0
    """Decay of the averaged weights that are evaluated. Reading: 0, none; FixMatch has 0.999."""
    weak_pass: str = "separate"
    """How the weak view goes through BatchNorm. Reading: `separate`, a pass of its own without
    gradients; `joint`: one batch with the labelled and the strong images, as FixMatch's code."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("method.unlabeled_batch_size", self.unlabeled_batch_size)
        _fraction("method.threshold", self.threshold)
        _not_negative("method.unlabeled_weight", self.unlabeled_weight)
        _one_of("method.pseudo_labels", self.pseudo_labels, ("hard", "soft"))
        _require(0 <= self.ema < 1, "method.ema", self.ema, "must lie in [0, 1)")
        _one_of("method.weak_pass", self.weak_pass, ("separate", "joint"))


@dataclass
class View:
    """Probabilities and strengths of one random view, drawn anew for each image.

    The operations come in this order: crop, flip, jitter, grayscale, blur, solarise, normalise. The
    paper names them without numbers. Reading: those of Zbontar et al. 2021.
    """

    crop: float = 1.0
    """Probability of a random resized crop."""
    crop_scale: list[float] = field(default_factory=lambda: [0.08, 1.0])
    """Share of the image's area that is kept."""
    crop_ratio: list[float] = field(default_factory=lambda: [0.75, 4 / 3])
    """Width : height of the crop, drawn log-uniformly."""
    flip: float = 0.5
    jitter: float = 0.8
    """Probability of colour jitter, in a random order of its four operations."""
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    grayscale: float = 0.2
    blur: float = 0.5
    blur_kernel: int = 9
    """Side of the Gaussian kernel in pixels: a tenth of the image, made odd."""
    blur_sigma: list[float] = field(default_factory=lambda: [0.1, 2.0])
    """Standard deviation of the Gaussian in pixels."""
    solarize: float = 0.0
    solarize_threshold: int = 128
    """Pixel values from here on (0 to 255) are inverted."""

    def __post_init__(self) -> None:
        for name in ("crop", "flip", "jitter", "grayscale", "blur", "solarize"):
            _fraction(f"augmentation.{name}", getattr(self, name))
        for name in ("brightness", "contrast", "saturation"):
            _fraction(f"augmentation.{name}", getattr(self, name))
        _require(0 <= self.hue <= 0.5, "augmentation.hue", self.hue, "must lie in [0, 0.5]")
        _interval("augmentation.crop_scale", self.crop_scale, 1e-4, 1.0)
        _interval("augmentation.crop_ratio", self.crop_ratio, 0.01, 100.0)
        _interval("augmentation.blur_sigma", self.blur_sigma, 1e-3, 100.0)
        odd = self.blur_kernel % 2 == 1 and 1 <= self.blur_kernel <= 95
        _require(odd, "augmentation.blur_kernel", self.blur_kernel, "must be odd, 1 to 95")
        threshold = self.solarize_threshold
        _require(0 <= threshold <= 256, "augmentation.solarize_threshold", threshold, "0 to 256")


@dataclass
class Augmentation:
    """Two random views of an image.

    Supervised learning uses `view_a`; Barlow Twins both; the semi-supervised method takes `view_a`
    as the weak view (of labelled images too) and `view_b` as the strong one.
    """

    name: str = MISSING
    view_a: View = field(default_factory=View)
    view_b: View = field(default_factory=View)


@dataclass
class Ratio:
    """labelled : unlabelled, in lowest terms: 2:10 is 1:5, by whatever name."""

    name: str = MISSING
    """Follows from the numbers."""
    labeled: int = 1
    unlabeled: int = 20
    """0: no unlabelled images; -1: all of them."""
    of: str = "pool"
    """What the ratio counts. Reading: images in the `pool` (1:20 of 5,000 labels is all of STL-10's
    100,000); the other reading, images per `batch`, keeps the whole pool."""

    def __post_init__(self) -> None:
        _one_of("ratio.of", self.of, ("pool", "batch"))
        _positive("ratio.labeled", self.labeled)
        _require(self.unlabeled >= -1, "ratio.unlabeled", self.unlabeled, "must be -1 or more")
        if self.unlabeled > 0:
            divisor = math.gcd(self.labeled, self.unlabeled)
            self.labeled, self.unlabeled = self.labeled // divisor, self.unlabeled // divisor
            self.name = f"{self.labeled}:{self.unlabeled}"
        else:
            self.labeled, self.name = 1, "all" if self.unlabeled else "none"


@dataclass
class Optimizer:
    """What turns gradients into steps (paper: Adam)."""

    name: str = "adam"
    lr: float = 2e-3
    weight_decay: float = 0.0
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    """Decay of Adam's two moments."""
    momentum: float = 0.9
    """Of SGD."""
    nesterov: bool = True
    schedule: str = "constant"
    """Reading: `constant`, as the paper names none; `cosine` decays to 0 at the last step."""
    warmup: float = 0.0
    """Share of all steps in which the learning rate rises linearly from 0."""
    clip_grad_norm: float = 0.0
    """Gradients are scaled down to this norm; 0: never."""

    def __post_init__(self) -> None:
        _one_of("optimizer.name", self.name, ("adam", "adamw", "sgd"))
        _positive("optimizer.lr", self.lr)
        _not_negative("optimizer.weight_decay", self.weight_decay)
        _one_of("optimizer.schedule", self.schedule, ("constant", "cosine"))
        _fraction("optimizer.warmup", self.warmup)
        _not_negative("optimizer.clip_grad_norm", self.clip_grad_norm)
        _require(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "must lie in [0, 1)")
        valid = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        _require(valid, "optimizer.betas", self.betas, "must be two numbers in [0, 1)")


@dataclass
class Data:
    """Which images, and how they are split."""

    name: str = "auto"
    """`stl10`; `layout`: any set in STL-10's binary layout under `root`; `digits`: the built-in
    stand-in; `auto`: STL-10 if it is under `root` or can be downloaded, else the stand-in."""
    root: str = field(default="data", metadata=EXECUTION)
    """The folder that holds `stl10_binary/`."""
    download: bool = field(default=True, metadata=EXECUTION)
    url: str = field(
        default="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz", metadata=EXECUTION
    )
    """Where STL-10's archive is, or a mirror of it (http, https or file)."""
    fold: int | None = None
    """One of the ten official folds of 1,000 labelled images; none: all of them."""
    num_labeled: int | None = None
    """A class-balanced choice of so many labelled images; none: all of them."""
    split_seed: int = 0
    """Seed of the splits and of the choice of labelled images; apart from the run's own seed."""
    val_fraction: float = 0.2
    """Share of the test images used for validation (paper: 1 : 4). Reading: stratified by class."""
    fingerprint: str = ""
    """What tells a `layout` data set from others; found when the data is opened."""

    def __post_init__(self) -> None:
        _one_of("data.name", self.name, ("auto", "stl10", "layout", "digits"))
        _not_negative("data.split_seed", self.split_seed)
        _require(0 < self.val_fraction < 1, "data.val_fraction", self.val_fraction, "0 < it < 1")
        if self.fold is not None:
            _require(0 <= self.fold <= 9, "data.fold", self.fold, "must be 0 to 9")
        if self.num_labeled is not None:
            _positive("data.num_labeled", self.num_labeled)


@dataclass
class Tracking:
    """Where the curves can be watched."""

    name: str = "wandb"
    """`wandb` or `off`."""
    mode: str = "auto"
    """`auto`: online where a key is configured, else offline; or `online`, `offline`."""
    project: str = "sslbench"
    entity: str | None = None
    group: str | None = None
    """The experiment's name."""
    checkpoints: bool = False
    """Upload the final weights as an artifact."""

    def __post_init__(self) -> None:
        _one_of("tracking.name", self.name, ("wandb", "off"))
        _one_of("tracking.mode", self.mode, ("auto", "online", "offline"))


@dataclass
class Settings:
    """One cell: everything that `run` needs to train, evaluate and record it."""

    model: Model = field(default_factory=Model)
    method: Method = field(default_factory=Method)
    augmentation: Augmentation = field(default_factory=Augmentation)
    ratio: Ratio = field(default_factory=Ratio)
    optimizer: Optimizer = field(default_factory=Optimizer)
    data: Data = field(default_factory=Data)
    tracking: Tracking = field(default_factory=Tracking, metadata=EXECUTION)
    init: dict[str, str | None] = field(default_factory=lambda: {"from": None})
    """`init.from`: whose encoder to start from. A checkpoint file, a cell's folder or id, or (in a
    sweep) a method, such as `barlow` or "barlow steps=9": its cell of the same model, data and
    seed, which is trained first."""
    seed: int = 0
    """Of the weights, the order of the images, their augmentation and the choice of the pool."""
    steps: int | None = None
    """Stop after so many steps instead of `method.epochs`."""
    precision: str = "auto"
    """`fp32`; `bf16` in convolutions and matrix products; `auto`: bf16 where hardware has it."""
    device: str = field(default="auto", metadata=EXECUTION)
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    cells_per_device: int = field(default=1, metadata=EXECUTION)
    """Cells that may share one GPU in a parallel sweep."""
    threads: int | None = field(default=None, metadata=EXECUTION)
    """Of the processor; none: all cores, divided among the workers of a sweep."""
    compile: str = field(default="auto", metadata=EXECUTION)
    """`auto`, `on`: a step is one CUDA graph where the images lie on the GPU; `off`: it is not."""
    log_every: int = field(default=50, metadata=EXECUTION)
    """Steps from one point of the curves to the next."""
    outputs: str = field(default="outputs", metadata=EXECUTION)
    """Where cells, caches and reports go."""

    @property
    def init_from(self) -> str | None:
        return self.init["from"]

    def __post_init__(self) -> None:
        _require(set(self.init) == {"from"}, "init", self.init, "the only key is init.from")
        _not_negative("seed", self.seed)
        if self.steps is not None:
            _positive("steps", self.steps)
        _one_of("precision", self.precision, ("auto", "fp32", "bf16"))
        _one_of("compile", self.compile, ("auto", "on", "off"))
        _positive("cells_per_device", self.cells_per_device)
        _positive("log_every", self.log_every)
        if self.threads is not None:
            _positive("threads", self.threads)
        if self.method.uses_pool and self.ratio.unlabeled == 0:
            raise ValueError(
                f"method={self.method.name} ratio={self.ratio.name}: this method learns from "
                "unlabelled images; pick a ratio such as ratio=1:20, or ratio=all for all of them"
            )
