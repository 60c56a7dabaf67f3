"""The table of faults: by a seed, one fault of one kind, at one moment of one cell."""

import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faults.cells import KINDS, Kind, Stage, tinted_layout
from faults.command import Fault
from faults.damage import DAMAGES, replace
from faults.disturb import (
    ERRORS,
    ClockBack,
    FileSizeLimit,
    KillAtRename,
    KillInFile,
    OtherCode,
    OtherNumbers,
    Refusal,
    SignalAfter,
    SignalAtStep,
)
from sslbench.data.layout import FOLDER

NEW, STOPPED, DONE = "new", "stopped", "done"
MANY, ONCE = ("last", "best", ""), ("record", "settings", "metrics", "embeddings", "card", "images")
"""Files that a run writes several times and once, by a part of their names; all have the empty."""
AS_THEY_COME = ("train.log", ".lock")
"""Files that are not written beside their place and renamed."""
ANOTHERS, EARLIER = "another cell's", "an earlier step's"
DAY = 86_400.0


@dataclass
class Round:
    """A fault, before it strikes."""

    seed: int
    kind: str
    what: str
    """The file, or what else is hit."""
    moment: str
    """The state of the cell whose next run is disturbed: `new`, `stopped` or `done`."""
    cell: Kind
    fault: Fault | None = None
    """In the next run."""
    strike: Callable[[Stage], None] = lambda _: None
    """What is done to the files before it."""
    more: tuple[str, ...] = ()
    """Further arguments of the next run and of those after it."""
    words: str = ""
    """A regular expression of what names the fault, besides the file."""
    refusable: bool = False
    """Whether the command may refuse to go on for good, as the fault stays."""
    must_say: bool = False
    """Whether it is to be said even where the cell is as if undisturbed."""

    loses_its_record: bool = False
    """Whether the record is not where the command looks for it, by the fault itself."""

    @property
    def names_a_file(self) -> bool:
        return self.kind.startswith(
            ("data", "parent:", "lock", *DAMAGES, *ERRORS, ANOTHERS, EARLIER)
        )

    def __str__(self) -> str:
        return f"{self.kind} of {self.what} ({self.cell.name}, {self.moment})"


def draw(seed: int) -> Round:
    """Draw a round; the same for the same seed."""
    rng = random.Random(seed)
    makers, weights = zip(*TABLE, strict=True)
    (make,) = rng.choices(makers, weights)
    return make(seed, rng)


def _a_cell(rng: random.Random, *names: str) -> Kind:
    return KINDS[rng.choice(names or ("supervised", "barlow", "semi", "child"))]


def _a_file(rng: random.Random, *more: str) -> tuple[str, int]:
    """Return a part of a file's name, and which of the files of that name is meant."""
    name = rng.choice([*MANY, *MANY, *ONCE, *more])
    return name, rng.choice([1, 1, 2, 3, 5] if name == "" else [1, 2] if name == "last" else [1])


def _kill(seed: int, rng: random.Random) -> Round:
    number = rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    moment, name = rng.choice([NEW, STOPPED]), signal.Signals(number).name
    if rng.random() < 0.5:
        step = rng.randint(1, 8 if moment == NEW else 2)
        return Round(seed, name, f"step {step}", moment, _a_cell(rng), SignalAtStep(step, number))
    fault = SignalAfter(rng.uniform(0, 1.2), number)
    return Round(seed, name, "some time", moment, _a_cell(rng), fault)


def _kill_in_file(seed: int, rng: random.Random) -> Round:
    (name, nth), moment = _a_file(rng), rng.choice([NEW, STOPPED])
    fault: Fault
    if rng.random() < 0.5:
        kind, fault = "kill in the middle", KillInFile(name, nth, rng.random())
    else:
        kind, fault = "kill at renaming", KillAtRename(name, nth, rng.random() < 0.5)
    return Round(seed, kind, name or "any file", moment, _a_cell(rng), fault)


def _refusal(seed: int, rng: random.Random) -> Round:
    error = rng.choice(list(ERRORS))
    call = rng.choice(["open", "write", "fsync", "rename"])
    name, nth = _a_file(rng, *AS_THEY_COME * (call in ("open", "write")))
    moment = rng.choice([NEW, NEW, STOPPED])
    if call == "open" and name == "" and rng.random() < 0.3:
        moment, nth = DONE, 1
    fault = Refusal(call, name, nth, ERRORS[error], rng.random() < 0.5)
    words = f"{os.strerror(ERRORS[error])}|disk|full|quota|read-only|writ"
    what = f"{call} {name or 'any file'}"
    return Round(seed, error, what, moment, _a_cell(rng), fault, words=words)


def _file_size(seed: int, rng: random.Random) -> Round:
    size, moment = rng.choice([4_000, 8_000, 20_000, 200_000]), rng.choice([NEW, STOPPED])
    words = "File too large|disk|limit|quota|writ"
    what = f"{size} bytes"
    return Round(seed, "RLIMIT_FSIZE", what, moment, _a_cell(rng), FileSizeLimit(size), words=words)


class Files:
    """Files of a stage that may be damaged, as paths from the work folder."""

    @staticmethod
    def of_cell(stage: Stage, cell_id: str) -> list[Path]:
        folder = stage.cells / cell_id
        left_out = (".lock", "train.log", "card.md", "images.png")
        found = [path for path in folder.iterdir() if path.is_file() and path.name not in left_out]
        return [path.relative_to(stage.work) for path in sorted(found)]

    @staticmethod
    def of_data(stage: Stage) -> list[Path]:
        roots = (stage.work / "data", stage.outputs / "cache")
        found = [path for root in roots for path in root.rglob("*") if path.is_file()]
        return [path.relative_to(stage.work) for path in sorted(found)]


DATA_WORDS = r"another cell|fingerprint|checksum|digest|damaged|changed|_X\.bin|_y\.bin|statistics"
CELL_WORDS = r"checksum|digest|damaged"


def _damage(seed: int, rng: random.Random) -> Round:
    """One file of the cell, whichever it has."""
    kind = rng.choice([*DAMAGES, "flip", "flip", ANOTHERS, EARLIER])
    moment = rng.choice([STOPPED, DONE, DONE])
    found = Round(seed, kind, "", moment, _a_cell(rng), words=CELL_WORDS)

    def strike(stage: Stage) -> None:
        path = rng.choice(Files.of_cell(stage, stage.cell_id(found.cell)))
        found.what, target = path.name, stage.work / path
        if kind in DAMAGES:
            DAMAGES[kind](target, rng)
            return
        state = "early" if kind == EARLIER else f"other-{moment}"
        own = stage.cell_id(found.cell, state=state)
        folder = stage.kept(found.cell, state) / "outputs" / "cells" / own
        if (folder / path.name).exists():
            replace(target, folder / path.name)

    found.strike = strike
    return found


def _damage_parent(seed: int, rng: random.Random) -> Round:
    kind, moment = rng.choice(list(DAMAGES)), rng.choice([NEW, STOPPED, DONE])
    found = Round(seed, f"parent: {kind}", "", moment, KINDS["child"], words=CELL_WORDS)
    found.refusable = True

    def strike(stage: Stage) -> None:
        parent = stage.parent_id(found.cell)
        path = rng.choice(Files.of_cell(stage, str(parent)))
        found.what = f"parent's {path.name}"
        found.words = f"{CELL_WORDS}|{parent}|{path.stem}"
        DAMAGES[kind](stage.work / path, rng)

    found.strike = strike
    return found


def _damage_data(seed: int, rng: random.Random) -> Round:
    kind = rng.choice([*DAMAGES, "flip", "flip", "another set's"])
    moment = rng.choice([STOPPED, DONE])
    cell = _a_cell(rng, "supervised", "barlow", "semi", "child", "digits", "digits")
    found = Round(seed, f"data: {kind}", "", moment, cell, words=DATA_WORDS, refusable=True)

    def strike(stage: Stage) -> None:
        path = rng.choice(Files.of_data(stage))
        found.what = path.name
        found.must_say = path.parent.name == FOLDER
        if kind in DAMAGES:
            DAMAGES[kind](stage.work / path, rng)
            return
        with tempfile.TemporaryDirectory() as other:
            theirs = tinted_layout(Path(other), seed=1) / path.name
            if theirs.exists() and theirs.read_bytes() != (stage.work / path).read_bytes():
                replace(stage.work / path, theirs)
            else:
                DAMAGES["flip"](stage.work / path, rng)

    found.strike = strike
    return found


def _clock(seed: int, rng: random.Random) -> Round:
    cell, moment = _a_cell(rng), rng.choice([NEW, STOPPED])
    fault = ClockBack(rng.randint(0, 2), rng.choice([1.0, 3600.0, 365 * DAY]))
    found = Round(seed, "clock back", f"after {fault.after} looks", moment, cell, fault)

    def strike(stage: Stage) -> None:
        for path in stage.work.rglob("*"):
            then = path.stat().st_mtime + DAY
            os.utime(path, (then, then))

    if rng.random() < 0.5:
        found.what, found.strike, found.fault = "files of tomorrow", strike, None
    return found


def _lock(seed: int, rng: random.Random) -> Round:
    kind, moment = rng.choice(["garbage", "empty", "folder"]), rng.choice([STOPPED, DONE])
    found = Round(seed, f"lock: {kind}", ".lock", moment, _a_cell(rng), words=r"\.lock")
    found.refusable = kind == "folder"

    def strike(stage: Stage) -> None:
        path = stage.cells / stage.cell_id(found.cell) / ".lock"
        path.unlink(missing_ok=True)
        if kind == "folder":
            path.mkdir()
        else:
            path.write_bytes(rng.randbytes(1000) if kind == "garbage" else b"")

    found.strike = strike
    return found


def _folder(seed: int, rng: random.Random) -> Round:
    kind, moment = rng.choice(["copied", "renamed", "swapped"]), rng.choice([STOPPED, DONE])
    found = Round(seed, f"folder {kind}", "own folder", moment, _a_cell(rng))

    def strike(stage: Stage) -> None:
        own = stage.cell_id(found.cell)
        folder, other = stage.cells / own, stage.cells / f"{own}-other"
        if kind == "swapped":
            state = f"other-{moment}"
            name = stage.cell_id(found.cell, state=state)
            shutil.rmtree(folder)
            shutil.copytree(stage.kept(found.cell, state) / "outputs" / "cells" / name, folder)
            found.words, found.refusable = r"another cell|settings of|belongs|is of", True
            return
        (folder.rename if kind == "renamed" else partial(shutil.copytree, folder))(other)
        found.words, found.must_say = other.name, True
        found.loses_its_record = kind == "renamed"

    found.strike = strike
    return found


def _parent_anew(seed: int, rng: random.Random) -> Round:
    moment = rng.choice([STOPPED, DONE])
    cell = KINDS["child"]
    found = Round(seed, "parent trained anew", "parent", moment, cell, refusable=True)

    def strike(stage: Stage) -> None:
        parent = str(stage.parent_id(found.cell))
        shutil.rmtree(stage.cells / parent)
        shutil.copytree(
            stage.kept(cell, "anew") / "outputs" / "cells" / parent, stage.cells / parent
        )
        found.words = f"{parent}|parent|anew|init.from"

    found.strike = strike
    return found


def _other_code(seed: int, rng: random.Random) -> Round:
    moment, more = rng.choice([STOPPED, STOPPED, DONE]), ()
    if rng.random() < 0.3:
        moment, more = STOPPED, ("threads=2",)
    words = "threads" if more else r"other code|code"
    kind = "other threads" if more else "other code"
    cell, fault = _a_cell(rng), OtherNumbers() if more else OtherCode()
    found = Round(seed, kind, "the rest", moment, cell, fault, more=more, words=words)
    found.refusable = found.must_say = True
    return found


TABLE: list[tuple[Callable[[int, random.Random], Round], int]] = [
    (_kill, 12),
    (_kill_in_file, 12),
    (_refusal, 18),
    (_file_size, 3),
    (_damage, 28),
    (_damage_parent, 6),
    (_damage_data, 14),
    (_clock, 3),
    (_lock, 3),
    (_folder, 4),
    (_parent_anew, 3),
    (_other_code, 6),
]
"""Makers of rounds, and how often each is drawn."""
