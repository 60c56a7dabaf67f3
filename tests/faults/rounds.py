"""Seeded fault rounds: strike a cell once, run its command again, and look what became of it.

`python -m tests.faults.rounds --rounds 1000 --jobs 2 --out rounds.jsonl` prints a table of kinds
and outcomes; `python -m tests.faults.rounds --seed 123` replays one round and shows what was said.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Queue

from faults.cells import Kind, Stage
from faults.command import Ending, Fault
from faults.judge import Sight, differences, look, new_lines, new_notes
from faults.kinds import DONE, Round, draw

MAX_RUNS = 3
"""How often the command is given again."""
UNDISTURBED, SAID = "as undisturbed", "said"
LOST, SILENT, TRACEBACK = "lost", "wrong without a word", "traceback"
BUG, HANG, UNNAMED = "called a bug", "hang", "not named"
NOT_PLAYED = "not played"
DEFECTS = (LOST, SILENT, TRACEBACK, BUG, HANG, UNNAMED, NOT_PLAYED)
"""`not named`: all is well in the end, but a run that failed did not say of what. `not played`: an
error of this harness, or no undisturbed cell to compare with."""
WAY_OUT = r"delet|remov|again|anew|restor|copy|resume=|retrain|pick|leave|set |free|make room"


@dataclass
class Outcome:
    """How a round ended."""

    seed: int
    round: str
    kind: str
    what: str
    moment: str
    cell: str
    outcome: str
    details: str = ""
    exit_codes: list[int | None] = field(default_factory=list)
    said_by: list[str] = field(default_factory=list)
    struck: bool = True
    seconds: float = 0.0
    said: str = ""


@dataclass(frozen=True)
class Heard:
    """What came of one command."""

    ending: Ending
    found: Sight
    said: str
    """What an undisturbed cell's command, record and report do not say."""
    elsewhere: list[str]
    """Cells that the command made beside its own."""
    different: list[str]


class Player:
    """Plays rounds on one stage; what they are compared with is made once."""

    def __init__(self, root: Path, *, here: bool = False) -> None:
        self.stage = Stage(root, here=here)
        self._expected: dict[str, tuple[Sight, str]] = {}

    def expected(self, kind: Kind) -> tuple[Sight, str]:
        """Return the sight of an undisturbed cell, and all that is said of one."""
        if kind.name not in self._expected:
            cell_id = self.stage.cell_id(kind)
            with self.stage.set_aside():
                self.stage.enter(kind, "new")
                runs = [self.stage.run(kind), self.stage.run(kind)]
                sight = look(self.stage.outputs, cell_id)
                log = self._log(kind)
            assert sight.status == "done", runs
            texts = [*(ending.said for ending in runs), log, sight.report]
            self._expected[kind.name] = sight, "\n".join(texts)
        return self._expected[kind.name]

    def hear(self, kind: Kind, *more: str, fault: Fault | None = None) -> Heard:
        """Run a cell's command on the stage as it is, and return all that is new in what is said.

        In what the command, the log, the record, the report and `load_encoder` say.
        """
        expected, usual = self.expected(kind)
        before = {path.name for path in self.stage.cells.glob("*/")}
        ending = self.stage.run(kind, *more, fault=fault)
        own = self.stage.cell_id(kind)
        elsewhere = [p.name for p in self.stage.cells.glob("*/") if p.name not in {own, *before}]
        found = look(self.stage.outputs, elsewhere[0] if elsewhere else own)
        said = [new_lines(ending.said, usual), *new_notes(found.record, expected.record)]
        said += [new_lines(found.report, expected.report), *found.crashes]
        said += [found.load] * found.load.startswith("refused")
        return Heard(ending, found, "\n".join(said), elsewhere, differences(found, expected))

    def play(self, seed: int) -> Outcome:
        began = time.monotonic()
        it = draw(seed)
        expected, usual = self.expected(it.cell)
        self.stage.enter(it.cell, it.moment)
        others = {path.name for path in self.stage.cells.glob("*/")}
        it.strike(self.stage)
        others |= {path.name for path in self.stage.cells.glob("*/")}
        runs = [self.stage.run(it.cell, *it.more, fault=it.fault)]
        while runs[-1].exit_code not in (0, None) and len(runs) <= MAX_RUNS:
            later = it.fault if it.refusable else None
            runs.append(self.stage.run(it.cell, *it.more, fault=later))
        cell_id = self.stage.cell_id(it.cell)
        found = look(self.stage.outputs, cell_id)
        others.add(cell_id)
        elsewhere = [p.name for p in self.stage.cells.glob("*/") if p.name not in others]
        outcome = _judge(it, runs, found, expected, usual + self._log(it.cell), elsewhere)
        outcome.seconds = round(time.monotonic() - began, 2)
        return outcome

    def _log(self, kind: Kind) -> str:
        path = self.stage.cells / self.stage.cell_id(kind) / "train.log"
        return path.read_text(errors="replace") if path.is_file() else ""


def _judge(
    it: Round,
    runs: list[Ending],
    found: Sight,
    expected: Sight,
    usual: str,
    elsewhere: list[str],
) -> Outcome:
    said = "\n".join(ending.said for ending in runs)
    names = it.what.removeprefix("parent's ").split()[-1:]
    if it.what in ("any file", "some time", "the rest", "own folder", "parent"):
        names = []
    stems = [re.escape(Path(name).stem) for name in names if len(Path(name).stem) > 2]
    words = "|".join(filter(None, [*stems, it.words])) or "(?!)"
    speakers = {
        "command": new_lines(said, usual),
        "record": "\n".join(new_notes(found.record, expected.record)),
        "report": new_lines(found.report, expected.report),
        "load_encoder": found.load if found.load.startswith("refused") else "",
    }
    said_by = [who for who, text in speakers.items() if re.search(words, text, re.I)]
    different = differences(found, expected)
    done = found.status == "done"
    outcome, details = _classify(it, runs, found, different, said_by, done, elsewhere, speakers)
    return Outcome(
        *(it.seed, str(it), it.kind, it.what, it.moment, it.cell.name, outcome, details),
        exit_codes=[ending.exit_code for ending in runs],
        said_by=said_by,
        struck=runs[0].struck or it.fault is None,
        said="\n".join(f"[{who}] {text}" for who, text in speakers.items() if text),
    )


def _classify(
    it: Round,
    runs: list[Ending],
    found: Sight,
    different: list[str],
    said_by: list[str],
    done: bool,
    elsewhere: list[str],
    speakers: dict[str, str],
) -> tuple[str, str]:
    codes, text = [ending.exit_code for ending in runs], "\n".join(run.said for run in runs)
    summary = ", ".join(different)
    if None in codes:
        return HANG, ""
    if re.search(r"(is|be) a bug|bug in sslbench", text):
        return BUG, summary
    if "Traceback (most recent call last)" in text or found.crashes:
        return TRACEBACK, "; ".join([*found.crashes, summary])
    if not different and codes[-1] == 0:
        failed = [run for run in runs if (run.exit_code or 0) > 0 and run.exit_code < 128]
        if failed and not said_by:
            return UNNAMED, f"exit code {failed[0].exit_code}"
        return UNDISTURBED, ""
    if elsewhere and codes[-1] == 0:
        return SAID, f"another cell: {', '.join(elsewhere)}"
    if not done and it.moment == DONE and "record.json" not in it.what:
        return LOST, f"the record is gone: {summary}"
    if not said_by:
        return SILENT, summary
    if not done and not it.refusable and not re.search(WAY_OUT, speakers["command"], re.I):
        return LOST, f"never finished: {summary}"
    if not done and codes[-1] == 0:
        return SILENT, f"exit code 0 without a result: {summary}"
    return SAID, summary


def play_all(seeds: Iterable[int], jobs: int, root: Path) -> Iterable[Outcome]:
    """Play rounds beside each other, each job on a stage of its own."""
    players: Queue[Player] = Queue()
    for job in range(jobs):
        players.put(Player(root / f"job{job}"))

    def play(seed: int) -> Outcome:
        player = players.get()
        try:
            return player.play(seed)
        except Exception:
            it, why = draw(seed), traceback.format_exc()
            known = (str(it), it.kind, it.what, it.moment, it.cell.name)
            return Outcome(seed, *known, NOT_PLAYED, why)
        finally:
            players.put(player)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(play, seeds)


def table(outcomes: list[Outcome]) -> str:
    """Return the numbers of outcomes by kind."""
    columns = [UNDISTURBED, SAID, *DEFECTS]
    counts = Counter((it.kind, it.outcome) for it in outcomes)
    kinds = sorted({it.kind for it in outcomes})
    width = max(map(len, kinds)) + 2
    lines = ["".ljust(width) + "  ".join(columns)]
    for kind in kinds:
        cells = [str(counts[kind, column] or "·").rjust(len(column)) for column in columns]
        lines.append(kind.ljust(width) + "  ".join(cells))
    totals = Counter(it.outcome for it in outcomes)
    sums = [str(totals[column]).rjust(len(column)) for column in columns]
    return "\n".join([*lines, "all".ljust(width) + "  ".join(sums)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.rounds", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first round's, or the only one's")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="one JSON object per round, as they end")
    parser.add_argument("--keep", type=Path, help="where the work folders are kept")
    options = parser.parse_args()
    root = options.keep or Path(tempfile.mkdtemp(prefix="sslbench-faults-"))
    outcomes, began = [], time.monotonic()
    try:
        seeds = range(options.seed, options.seed + options.rounds)
        for outcome in play_all(seeds, options.jobs, root):
            outcomes.append(outcome)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(asdict(outcome)) + "\n")
            if outcome.outcome in DEFECTS:
                print(f"{outcome.seed}: {outcome.round}: {outcome.outcome}: {outcome.details}")
    finally:
        if options.keep is None:
            shutil.rmtree(root, ignore_errors=True)
    if options.rounds == 1:
        print(json.dumps(asdict(outcomes[0]), indent=2, ensure_ascii=False))
        print(outcomes[0].said)
    print(table(outcomes))
    print(f"{len(outcomes)} rounds, {time.monotonic() - began:.0f} s")
    sys.exit(any(outcome.outcome in DEFECTS for outcome in outcomes))


if __name__ == "__main__":
    main()
