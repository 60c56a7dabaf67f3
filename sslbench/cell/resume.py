"""Going on with a cell that was stopped: from which state, and whether to the same bits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sslbench.cell import checkpoint
from sslbench.cell.curves import CURVES
from sslbench.config.settings import EVALUATE, FORCE, RESTART

NO_WEIGHTS = "there are no weights to evaluate; resume=restart trains the cell anew"
GO_ON_ALL_THE_SAME = "take resume=force to go on all the same, resume=restart to begin anew"
Origin = dict[str, str]
"""What a cell's bits depend on beside its settings: `code`, `torch` and so on."""
OF_TRAINING = ("*.pt", CURVES, "embeddings-*.npz", "snapshot-*.npz")
"""Files that a cell's training makes."""


class CannotGoOn(ValueError):
    """The state that a cell stands at does not lead to the bits that it would have had."""


@dataclass
class Standing:
    """Where a cell stands: the state to go on from, if any, and what its reader must know."""

    state: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def step(self) -> int:
        return 0 if self.state is None else self.state["step"]


def find_origin(
    device: torch.device, precision: str, versions: Mapping[str, str], more: Mapping[str, str]
) -> Origin:
    """Return what the bits of a cell that trains here and now depend on.

    Args:
        more: What else they depend on, such as its images' `fingerprint`.
    """
    on_gpu = device.type == "cuda"
    of_cpu = torch.backends.cpu.get_cpu_capability
    processor = torch.cuda.get_device_name(device) if on_gpu else of_cpu()
    found = {name: versions.get(name, "unknown") for name in ("code", "torch", "torchvision")}
    found |= {"processor": processor, "precision": precision, **more}
    return found if on_gpu else found | {"threads": str(torch.get_num_threads())}


def take_up(
    folder: Path, cell: str, origin: Origin, resume: str, *, selects_best: bool
) -> Standing:
    """Find the state that a cell goes on from.

    Args:
        origin: What its bits depend on now. Where it names no `kernels` these are those that the
            cell was begun with, and are added.
        resume: What to do where going on would not lead to the same bits.

    Raises:
        CannotGoOn: If it would not, and `resume` is neither `force` nor `restart`.
    """
    state, problems = checkpoint.load_latest(folder, cell)
    if state is None:
        if problems and resume == EVALUATE:
            raise CannotGoOn(f"{problems[0]}; {NO_WEIGHTS}")
        begin_anew(folder)
        return Standing(None, [f"{problem}: the cell began anew" for problem in problems])
    if problems:  # what is damaged must not become the one before the last
        (folder / checkpoint.BEFORE_LAST).replace(folder / checkpoint.LAST)
    if selects_best and (problem := _find_best(state, folder, cell)) is not None:
        if resume == EVALUATE:
            raise CannotGoOn(f"{problem}; {NO_WEIGHTS}")
        begin_anew(folder)
        return Standing(None, [*problems, f"{problem}: the cell began anew"])
    step = state["step"]
    notes = [
        *state.get("notes", []),
        *(f"{it}: the cell went on after step {step}" for it in problems),
    ]
    before = state.get("origin", {})
    if "kernels" in before:
        origin.setdefault("kernels", before["kernels"])
    changes = _changes(before, origin)
    if not changes:
        return Standing(state, notes)
    if resume == RESTART:
        begin_anew(folder)
        return Standing(None, [f"the cell began anew after step {step}: {changes}"])
    if resume != FORCE and not (resume == EVALUATE and "optimizer" not in state):
        raise CannotGoOn(
            f"it stands at step {step}, and would not go on to the same bits: {changes}; go back "
            f"to that, or {GO_ON_ALL_THE_SAME}"
        )
    return Standing(
        state, [*notes, f"the cell went on after step {step} by resume={resume}: {changes}"]
    )


def _find_best(state: dict[str, Any], folder: Path, cell: str) -> str | None:
    """Complete the last checkpoint of a cell that was all but done, which is without its best.

    Returns:
        What is wrong with these weights.
    """
    step = state["progress"]["best_step"]
    if state.get("best") is not None or step == 0:
        return None
    path = folder / checkpoint.BEST
    try:
        state["best"] = checkpoint.load_own(path, cell)
    except ValueError as error:
        return str(error)
    return None if state["best"]["step"] == step else f"{path}: not of step {step}"


def _changes(then: Origin, now: Origin) -> str:
    keys = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    return ", ".join(
        f"{key} was {then.get(key, 'none')}, is {now.get(key, 'none')}" for key in keys
    )


def begin_anew(folder: Path) -> None:
    """Drop how far a cell has come, so that nothing of it passes for what comes now."""
    for pattern in OF_TRAINING:
        for path in folder.glob(pattern):
            path.unlink()
