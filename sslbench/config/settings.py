"""What can be set besides the parts, in which range, what it means, where its default comes from.

These dataclasses are the schema that Hydra checks types against; `__post_init__` adds the ranges
and the rules between fields that a type cannot express. "Paper" is Singh, Garg and Mishra, "Self
and Semi-Supervised Deep Learning"; "reading" marks a place where the paper is silent or contradicts
itself, and names the other reading that the setting offers.
"""

import re
from dataclasses import dataclass, field

from omegaconf import MISSING

from sslbench.config.data import Data
from sslbench.config.parts import EXECUTION, UNLABELED, Method, Model, Operation, Optimizer, Ratio
from sslbench.config.paths import expand
from sslbench.config.ranges import (
    LARGEST_SEED,
    MOST_IMAGES,
    MOST_STEPS,
    not_negative,
    one_of,
    positive,
    require,
)

EXACT, FORCE, EVALUATE, RESTART = RESUMES = ("exact", "force", "evaluate", "restart")
AUTO, MPS, NONE = SHARINGS = ("auto", "mps", "none")
RUNNING, REESTIMATED, BATCH = BN_STATISTICS = ("running", "reestimated", "batch")
DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
MOST_CELLS_PER_DEVICE = 256


@dataclass
class Augmentation:
    """Two random views of an image, each a chain of operations in the order in which they stand.

    Supervised learning uses `view_a`, self-supervised both; semi-supervised methods take `view_a`
    as the weak view (of labelled images too) and `view_b` as the strong one, if they have one.
    """

    name: str = MISSING
    view_a: dict[str, Operation] = field(default_factory=dict)
    """Operations by name; the name is what an override says: `augmentation.view_a.blur.p=0.9`."""
    view_b: dict[str, Operation] = field(default_factory=dict)


@dataclass
class Tracking:
    """Where the curves can be watched."""

    name: str = "wandb"
    """`wandb`, `tensorboard` (event files in `tensorboard/` of each cell's folder) or `off`."""
    mode: str = "auto"
    """`auto`: online where a key is configured, else offline; or `online`, `offline`."""
    project: str | None = None
    """None: WANDB_PROJECT, or `sslbench`."""
    entity: str | None = None
    """None: WANDB_ENTITY, or the account's own."""
    group: str | None = None
    """The experiment's name."""
    checkpoints: bool = False
    """Upload the final weights as an artifact."""

    def __post_init__(self) -> None:
        one_of("tracking.name", self.name, ("wandb", "tensorboard", "off"))
        one_of("tracking.mode", self.mode, ("auto", "online", "offline"))


@dataclass
class Settings:
    """One cell: everything that is needed to train, evaluate and record it."""

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
    bn_statistics: str = RUNNING
    """What BatchNorm normalises by where a cell is evaluated, in validations too. Reading:
    `running`, the averages of training; `reestimated`, plain averages over batches of 2,000
    labelled train images without augmentation, which the weights that are kept hold too; `batch`,
    those of the evaluated batch, 250 mixed images at most, on which each figure then depends."""
    precision: str = "auto"
    """`fp32`; `bf16` in convolutions and matrix products; `auto`: bf16 where hardware has it."""
    device: str = field(default="auto", metadata=EXECUTION)
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    cells_per_device: int | str = field(default=AUTO, metadata=EXECUTION)
    """Cells that may share one GPU in a parallel sweep. `auto`: as many as its free memory takes,
    by what like cells took, with two cores for each, and at most four."""
    gpu_sharing: str = field(default=AUTO, metadata=EXECUTION)
    """How they share it. `mps`: side by side, by a control daemon of Nvidia's Multi-Process Service
    that the sweep starts and ends; `none`: by turns; `auto`: `mps` where its program is there."""
    threads: int | None = field(default=None, metadata=EXECUTION)
    """Of each pool: torch's, BLAS's, OpenMP's, those that hash data. None: one for each core,
    divided among the workers of a sweep, and at most OMP_NUM_THREADS. Cores are those of affinity,
    SLURM_CPUS_PER_TASK and the container's limit, whichever is least."""
    compile: str = field(default="auto", metadata=EXECUTION)
    """`on`: views, encoder and loss are compiled (torch.compile), which rounds otherwise; `auto`:
    on a GPU, where a cell has so many steps that it pays; `off`: never. A cell goes on with what it
    was begun with."""
    log_every: int = field(default=50, metadata=EXECUTION)
    """Steps from one point of the curves to the next."""
    resume: str = field(default=EXACT, metadata=EXECUTION)
    """Where a stopped cell cannot go on to the same bits (other code, another version of torch,
    processor or number of threads), or a finished one's files are damaged: `exact` refuses, `force`
    goes on all the same and records it, `evaluate` evaluates a finished cell's weights again,
    `restart` trains the cell anew."""
    outputs: str = field(default="outputs", metadata=EXECUTION)
    """Where cells, caches and reports go."""
    cell: str | None = field(default=None, metadata=EXECUTION)
    """The id of a cell that was begun or planned: its settings are those in its folder."""

    @property
    def init_from(self) -> str | None:
        return self.init["from"]

    @property
    def uses_pool(self) -> bool:
        """Whether the method learns from unlabelled images; else the ratio is no part of a cell."""
        return any(stream.of == UNLABELED for stream in self.method.streams(self.ratio))

    def __post_init__(self) -> None:
        require(set(self.init) == {"from"}, "init", self.init, "the only key is init.from")
        if self.init_from is not None and not re.match(r"\w+ ", self.init_from):  # of a method
            self.init = {"from": expand("init.from", self.init_from)}
        self.outputs = expand("outputs", self.outputs)
        not_negative("seed", self.seed, LARGEST_SEED)
        if self.steps is not None:
            positive("steps", self.steps, MOST_STEPS)
        one_of("bn_statistics", self.bn_statistics, BN_STATISTICS)
        one_of("precision", self.precision, ("auto", "fp32", "bf16"))
        one_of("resume", self.resume, RESUMES)
        one_of("compile", self.compile, ("auto", "on", "off"))
        if self.cells_per_device != AUTO:
            is_number = isinstance(self.cells_per_device, int)
            rule = "must be auto or a whole number"
            require(is_number, "cells_per_device", self.cells_per_device, rule)
            positive("cells_per_device", self.cells_per_device, MOST_CELLS_PER_DEVICE)
        one_of("gpu_sharing", self.gpu_sharing, SHARINGS)
        positive("log_every", self.log_every, MOST_STEPS)
        is_device = DEVICE.fullmatch(self.device) is not None
        require(is_device, "device", self.device, "must be auto, cpu, cuda or cuda:N")
        if self.threads is not None:
            positive("threads", self.threads)
        if self.ratio.unlabeled == 0 and self.uses_pool:
            raise ValueError(
                f"method={self.method.name} ratio={self.ratio.name}: this method learns from "
                "unlabelled images; pick a ratio such as ratio=1:20, or ratio=all for all of them"
            )
        self.model.require_side(self.data.side)
        for view in (self.augmentation.view_a, self.augmentation.view_b):
            for operation in view.values():
                operation.require_side(self.data.side)
        self._refuse_mixed_images()
        for stream in self.method.streams(self.ratio):
            if stream.batch_size > MOST_IMAGES:
                raise ValueError(
                    f"ratio={self.ratio.name} ratio.of={self.ratio.of}: asks for "
                    f"{stream.batch_size:,} images of a stream in each step; at most "
                    f"{MOST_IMAGES:,} are allowed"
                )

    def contradictions(self) -> list[str]:
        """Return a line for each setting that another one undoes, with the way out."""
        lines, views = self.method.contradictions(), self._views()
        plain = [
            view
            for view in views
            if not any(it.p > 0 for it in getattr(self.augmentation, view).values())
        ]
        if 0 < len(plain) < len(views):
            lines.append(
                f"augmentation.{plain[0]}: has no operations, and method={self.method.name} sees "
                "these images as they are; its own augmentation has some for each of its views"
            )
        return lines

    def _views(self) -> list[str]:
        """Return the views that the method sees."""
        streams = self.method.streams(self.ratio)
        return sorted({view for stream in streams for view in stream.views.values()})

    def _refuse_mixed_images(self) -> None:
        """Refuse mixed images for a method that would take their labels for whole ones."""
        for view in self._views():
            operations = getattr(self.augmentation, view).items()
            mixing = [name for name, it in operations if it.mixes and it.p > 0]
            if mixing and not self.method.takes_mixed:
                raise ValueError(
                    f"augmentation.{view}.{mixing[0]}: mixes images, and method={self.method.name} "
                    f"has no loss for two labels; use method=supervised, or set its p to 0"
                )
            if len(mixing) > 1:
                raise ValueError(
                    f"augmentation.{view}: {' and '.join(mixing)} both mix images; one may, so set "
                    "the other one's p to 0"
                )
