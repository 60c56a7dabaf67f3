"""Tiny cells in the states that a fault may find them in, each made once and then copied.

All is done in one folder, `<root>/work`, so that absolute paths in a cell's files stay right.
"""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from helpers.commands import drawn_digits, train_here
from helpers.layouts import CLASSES, make_layout

from faults.command import Ending, Fault, run_command
from faults.disturb import OtherCode, SignalAtStep
from sslbench.cell.folder import cells_folder
from sslbench.data.layout import FOLDER, IMAGE_SHAPE

SHARED = ("tracking=off", "threads=1", "log_every=2", "precision=fp32", "device=cpu")
SHARED += ("model.channels=8", "method.batch_size=8", "optimizer.lr=0.01")
LAYOUT, DIGITS = ("data=layout", "data.root=data"), ("data=digits",)
SEMI = ("method=semi", "ratio=1:1", "steps=8", "method.unlabeled_batch_size=8", "method.ema=0.9")
BARLOW = ("method=barlow", "ratio=1:1", "steps=8", "method.snapshot_steps=[3,8]")


@dataclass(frozen=True)
class Kind:
    """A cell's command; a child starts from `parent`, which is trained before it."""

    name: str
    arguments: tuple[str, ...]
    parent: tuple[str, ...] = ()


KINDS = {
    kind.name: kind
    for kind in (
        Kind("supervised", (*LAYOUT, "method=supervised", "steps=9")),
        Kind("barlow", (*LAYOUT, *BARLOW)),
        Kind("semi", (*LAYOUT, *SEMI)),
        Kind("child", (*LAYOUT, *SEMI), parent=(*LAYOUT, *BARLOW)),
        Kind("digits", (*DIGITS, "method=supervised", "steps=9")),
    )
}
STOP_STEPS = {"early": 3, "stopped": 6}
"""Where the states of these names were stopped; before the last step, after a validation."""


def tinted_layout(root: Path, *, seed: int = 0) -> Path:
    """Write a small data set whose classes have colours, so that a few steps learn something."""
    folder = make_layout(root, seed=seed)
    rng = np.random.default_rng(seed)
    tints = np.random.default_rng(99).integers(0, 160, (len(CLASSES), 3, 1, 1))
    for split in ("train", "test", "unlabeled"):
        size = (folder / f"{split}_X.bin").stat().st_size // int(np.prod(IMAGE_SHAPE))
        labels = np.arange(size) % len(CLASSES)
        images = tints[labels] + rng.integers(0, 96, (size, *IMAGE_SHAPE))
        images.astype(np.uint8).tofile(folder / f"{split}_X.bin")
    return folder


class Stage:
    """Cells in the work folder below `root`.

    `here`: commands without a fault run in this process, which is quicker for a few of them.
    """

    def __init__(self, root: Path, *, here: bool = False) -> None:
        self.root, self.work = root, root / "work"
        self._kept, self._here = root / "kept", here
        root.mkdir(parents=True, exist_ok=True)

    @property
    def outputs(self) -> Path:
        return self.work / "outputs"

    @property
    def cells(self) -> Path:
        return cells_folder(self.outputs)

    def kept(self, kind: Kind, state: str) -> Path:
        """Return a copy of the work folder with a cell in a state: look at it, change nothing.

        `new`: data, and the parent; `early`, `stopped`: interrupted; `done`; `other-…`: so, of
        another seed; `anew`: the parent trained anew by other code.
        """
        path = self._kept / kind.name / state
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with self.set_aside():
                self._make(kind, state)
                shutil.copytree(self.work, path)
        return path

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Keep the work folder out of the way, and put it back at the end."""
        aside = Path(tempfile.mkdtemp(dir=self.root, prefix="aside-"))
        if self.work.exists():
            self.work.rename(aside / "work")
        yield
        shutil.rmtree(self.work)
        if (aside / "work").exists():
            (aside / "work").rename(self.work)
        aside.rmdir()

    def enter(self, kind: Kind, state: str) -> None:
        """Put the work folder into a state."""
        kept = self.kept(kind, state)
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(kept, self.work)

    def arguments(self, kind: Kind, *, seed: int = 0) -> tuple[str, ...]:
        start = (f"init.from={self.parent_id(kind)}",) if kind.parent else ()
        return (*SHARED, *kind.arguments, f"seed={seed}", *start)

    def run(self, kind: Kind, *more: str, fault: Fault | None = None, seed: int = 0) -> Ending:
        """Run a kind's command."""
        return self.command(*self.arguments(kind, seed=seed), *more, fault=fault)

    def command(self, *arguments: str, fault: Fault | None = None) -> Ending:
        if fault is not None or not self._here:
            return run_command(self.work, arguments, fault)
        result = train_here(self.work, *arguments)
        return Ending(result.returncode, result.stdout + result.stderr)

    def cell_id(self, kind: Kind, *, state: str = "done") -> str:
        """Return the id of a kind's own cell."""
        here = {path.name for path in cells_folder(self.kept(kind, state) / "outputs").iterdir()}
        (own,) = here - {self.parent_id(kind)}
        return own

    def parent_id(self, kind: Kind) -> str | None:
        if not kind.parent:
            return None
        (parent,) = cells_folder(self.kept(kind, "new") / "outputs").iterdir()
        return parent.name

    def _make(self, kind: Kind, state: str) -> None:
        if state == "new":
            self._make_new(kind)
            return
        seed = int(state.startswith("other-"))
        self.enter(kind, "new")
        if state == "anew":
            shutil.rmtree(self.cells / str(self.parent_id(kind)))
            ending = self.command(*SHARED, *kind.parent, fault=OtherCode())
            assert ending.exit_code == 0, ending
            return
        step = STOP_STEPS.get(state.removeprefix("other-"))
        fault = SignalAtStep(step, signal.SIGTERM) if step else None
        ending = self.run(kind, fault=fault, seed=seed)
        assert ending.exit_code == (128 + signal.SIGTERM if step else 0), ending

    def _make_new(self, kind: Kind) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        if "data=digits" in kind.arguments:
            shutil.copytree(drawn_digits(), self.outputs / "cache")
        else:
            (self.outputs / "cache").mkdir(parents=True)  # its own, not that of all tests
            tinted_layout(self.work / "data")
            assert (self.work / "data" / FOLDER).is_dir()
        if kind.parent:
            ending = self.command(*SHARED, *kind.parent)
            assert ending.exit_code == 0, ending
