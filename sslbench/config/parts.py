"""What a part declares of itself: its settings, what it needs, and how it is built.

A part is a dataclass derived from one of these, in this package or outside it. A YAML file names it
by its import path, as in `conf/method/semi.yaml`. Hydra checks its fields' types; its
`__post_init__` checks their ranges (`sslbench.config.ranges`); nothing else in the program knows
which parts there are. Each field needs a default. Composing settings imports the part's file: one
that imports torch only in its methods keeps `--help` quick where it is among the default choices.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

from omegaconf import MISSING

from sslbench.config.durations import slow_average
from sslbench.config.ranges import (
    MOST_IMAGES,
    MOST_STEPS,
    all_positive,
    below_one,
    fraction,
    not_negative,
    one_of,
    positive,
    require,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from sslbench.interfaces import MethodModule

EXECUTION = {"identity": False}
"""Marks a field that says how a cell is run, and is no part of what the cell is."""
LABELED, UNLABELED = "labeled", "unlabeled"
IMAGE_SIDE = 96
"""Of STL-10's images, in pixels, and of all others unless asked for otherwise."""
LARGEST_RATIO = 999_999_999
SMALLEST_NORM = 1e-12
"""Of gradients: with less they would be 0 in 32 bits."""


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
        one_of("ratio.of", self.of, ("pool", "batch"))
        positive("ratio.labeled", self.labeled, LARGEST_RATIO)
        in_range = -1 <= self.unlabeled <= LARGEST_RATIO
        rule = f"must be from -1 to {LARGEST_RATIO:,}"
        require(in_range, "ratio.unlabeled", self.unlabeled, rule)
        if self.unlabeled > 0:
            divisor = math.gcd(self.labeled, self.unlabeled)
            self.labeled, self.unlabeled = self.labeled // divisor, self.unlabeled // divisor
            self.name = f"{self.labeled}:{self.unlabeled}"
        else:
            self.labeled, self.name = 1, "all" if self.unlabeled else "none"


@dataclass(frozen=True)
class Stream:
    """Images that a method takes at each step."""

    of: str
    """`labeled` or `unlabeled` images."""
    views: dict[str, str]
    """Name in the batch -> view of the augmentation, `view_a` or `view_b`."""
    batch_size: int


@dataclass(frozen=True)
class Sizes:
    """Of the data set that a method is built for."""

    num_classes: int
    num_labeled: int
    num_unlabeled: int
    """Images in the unlabelled file; a batch's `unlabeled_indices` are below it."""
    num_pool: int
    """Those of them that the ratio admits."""


@dataclass
class Part:
    """A choice of a config group."""


@dataclass
class Model(Part):
    """An encoder `(B, 3, side, side) -> (B, D)`; the classifier on top belongs to the method."""

    name: str = MISSING

    @property
    def choice(self) -> str:
        """What the config group calls it, where that is not its name."""
        return self.name

    def require_buildable(self, side: int) -> None:
        """Refuse an encoder that cannot be built here for such images, before anything trains.

        Raises:
            ValueError: With the setting to change; by default none is refused.
        """

    def adapt(self, weights: "dict[str, Tensor]", encoder: "nn.Module") -> "dict[str, Tensor]":
        """Return weights out of a file as such an encoder takes them, by its names if they fit."""
        return weights

    def as_timm(self, encoder: "nn.Module") -> "nn.Module":
        """Return an encoder as timm builds it, with its weights.

        Raises:
            ValueError: If timm has none like it.
        """
        raise ValueError(f"model={self.name}: timm has no such encoder; --to onnx needs none")

    def too_slow(self, num_steps: int) -> list[str]:
        """Return a line for each setting that is too slow for so many steps, with the way out."""
        return []

    def build(self, side: int = IMAGE_SIDE) -> "nn.Module":
        """Build the encoder, its weights drawn from torch's global generator.

        Its `embedding_dim` is D; `side` is that of the images it will see.
        """
        raise NotImplementedError

    def require_side(self, side: int) -> None:
        """Refuse images that the encoder does not take.

        Raises:
            ValueError: With the setting to change; by default none is refused.
        """


@dataclass
class Method(Part):
    """How the encoder learns. An epoch is a pass over the images of the first stream."""

    takes_mixed: ClassVar[bool] = False
    """Whether its loss heeds the shares of images that are mixed."""
    name: str = MISSING
    epochs: float = 100.0
    batch_size: int = 125
    """Images of the first stream per step."""
    adam_lr: float = 2e-3
    """The paper's learning rate for this method; `optimizer=adam` and `adamw` take it."""
    select: str = "best"
    """Which weights are evaluated at the end: those of the epoch with the `best` validation
    accuracy (reading: the paper saves a checkpoint after each epoch), or the `last`."""
    train_figures: str = "last"
    """Of which steps train figures are means: those before the `last` validation. The other
    reading: those before the `best` one, of the weights that `select=best` evaluates."""
    ema: float = 0.0
    """Decay of the averaged weights that are evaluated; 0: none, the weights themselves are."""
    mirrored: bool = False
    """Whether evaluation averages an image's embedding with that of its mirror image, and so the
    predictions, which are linear in it."""
    eval_every: float = 1.0
    """Epochs from one validation and checkpoint to the next."""
    snapshot_steps: list[int] = field(default_factory=list, metadata=EXECUTION)
    """Steps after which validation embeddings are kept, as at the end; none: never."""

    def streams(self, ratio: Ratio) -> list[Stream]:
        """Return the images that each step takes; a ratio may be of the images in a batch."""
        raise NotImplementedError

    def build(self, encoder: "nn.Module", sizes: Sizes) -> "MethodModule":
        """Build the module that learns, around an encoder."""
        raise NotImplementedError

    def too_slow(self, num_steps: int) -> list[str]:
        """Return a line for each setting that is too slow for so many steps, with the way out."""
        return slow_average("method.ema", self.ema, num_steps)

    def contradictions(self) -> list[str]:
        """Return a line for each setting that another one undoes, with the way out."""
        return []

    def settled(self, ratio: Ratio, count_labeled: Callable[[], int]) -> Self:
        """Return the same without what makes no difference here: as by default, that is.

        Args:
            count_labeled: Called where the number of labelled images matters.
        """
        return self

    def __post_init__(self) -> None:
        positive("method.epochs", self.epochs, 1e9)
        positive("method.batch_size", self.batch_size, MOST_IMAGES)
        positive("method.adam_lr", self.adam_lr)
        one_of("method.select", self.select, ("best", "last"))
        one_of("method.train_figures", self.train_figures, ("best", "last"))
        below_one("method.ema", self.ema)
        positive("method.eval_every", self.eval_every, 1e9)
        all_positive("method.snapshot_steps", self.snapshot_steps, MOST_STEPS, longest=1000)


@dataclass
class Optimizer(Part):
    """What turns gradients into steps (paper: Adam)."""

    name: str = MISSING
    lr: float = 2e-3
    weight_decay: float = 0.0
    decay_norms_and_biases: bool = True
    """Whether weights of normalisation layers and biases decay too."""
    schedule: str = "constant"
    """Reading: `constant`, as the paper names none; `cosine` decays to 0 at the last step;
    `fixmatch` is cos(7 pi t / 16) of the share t of steps after the warm-up, which ends at 0.195
    (Sohn et al. 2020, section 2.4)."""
    warmup: float = 0.0
    """Share of all steps in which the learning rate rises linearly from 0."""
    clip_grad_norm: float = 0.0
    """Gradients are scaled down to this norm; 0: never."""

    def build(self, groups: list[dict], device: "torch.device") -> "torch.optim.Optimizer":
        """Build torch's optimizer of parameter groups on a device."""
        raise NotImplementedError

    def rate(self, device: "torch.device") -> "float | Tensor":
        """Return the first learning rate; on a GPU a tensor there, which a CUDA graph can read."""
        import torch

        return torch.tensor(self.lr, device=device) if device.type == "cuda" else self.lr

    def __post_init__(self) -> None:
        positive("optimizer.lr", self.lr)
        not_negative("optimizer.weight_decay", self.weight_decay)
        one_of("optimizer.schedule", self.schedule, ("constant", "cosine", "fixmatch"))
        fraction("optimizer.warmup", self.warmup)
        not_negative("optimizer.clip_grad_norm", self.clip_grad_norm)
        scales = self.clip_grad_norm == 0 or self.clip_grad_norm >= SMALLEST_NORM
        rule = f"must be 0, for never, or at least {SMALLEST_NORM}"
        require(scales, "optimizer.clip_grad_norm", self.clip_grad_norm, rule)


Params = dict[str, "Tensor"]
"""What an operation draws for n images: tensors of shape (n, ...)."""


@dataclass
class Operation(Part):
    """A change of images that is drawn anew for each, and applied with probability `p`."""

    mixes: ClassVar[bool] = False
    """Whether it mixes each image with the one before it in the batch. What it draws then has
    `shares`, `(n,)` float32: how much of each image is left, of its label too."""
    p: float = 1.0

    def sample(self, generator: "torch.Generator", n: int, side: int) -> Params:
        """Draw the parameters of n images of `side` x `side` pixels, on the CPU.

        Names, shapes, dtypes and the number of draws must not depend on what is drawn.
        """
        return {}

    def require_side(self, side: int) -> None:
        """Refuse images that are too small for it.

        Raises:
            ValueError: With the setting to change; by default none is refused.
        """

    def apply(self, images: "Tensor", params: Params) -> "Tensor":
        """Return changed images, (n, 3, side, side) float32 in [0, 1], each by its own parameters.

        What is given stays as it is. It runs outside autocast and must not wait for the device (no
        `.item()`, no shape that depends on values), so that a CUDA graph can hold it.
        """
        raise NotImplementedError

    def __post_init__(self) -> None:
        fraction("augmentation: p", self.p)
