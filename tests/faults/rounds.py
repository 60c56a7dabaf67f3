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
from faults.judge import Sight, differences, look, new_lines, new_notes, without_tracebacks
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
WAY_OUT = r"\b(delet\w+|remov\w+|again|anew|restor\w+|retrain|pick|leave|make room)\b|resume="
"""What a message says that leads on from a cell that cannot be finished as it is."""


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
                sight = look(self.stage.outputs, cell_id, self.stage.parent_id(kind))
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
        shown = elsewhere[0] if elsewhere else own
        found = look(self.stage.outputs, shown, self.stage.parent_id(kind))
        spoken = "\n".join([ending.said, self._log(kind)])
        said = [new_lines(spoken, usual), *new_notes(found.record, expected.record)]
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
        found = look(self.stage.outputs, cell_id, self.stage.parent_id(it.cell))
        others.add(cell_id)
        elsewhere = [p.name for p in self.stage.cells.glob("*/") if p.name not in others]
        outcome = _judge(it, runs, found, expected, usual + self._log(it.cell), elsewhere)
        outcome.seconds = round(time.monotonic() - began, 2)
        return outcome

    def _log(self, kind: Kind) -> str:
        path = self.stage.cells / self.stage.cell_id(kind) / "train.log"
        return path.read_text(errors="replace") if path.is_file() else ""


@dataclass(frozen=True)
class Evidence:
    """What a round is judged by."""

    round: Round
    runs: list[Ending]
    found: Sight
    different: list[str]
    """Files that are not as they would be without the fault."""
    said_by: list[str]
    """Who named the fault."""
    told: str
    """What the commands said, without the frames of tracebacks."""
    elsewhere: list[str]
    """Other cells that the commands made."""

    @property
    def is_done(self) -> bool:
        return self.found.status == "done"


def _judge(
    it: Round,
    runs: list[Ending],
    found: Sight,
    expected: Sight,
    usual: str,
    elsewhere: list[str],
) -> Outcome:
    told = without_tracebacks("\n".join(ending.said for ending in runs))
    speakers = {
        "command": new_lines(told, usual),
        "record": "\n".join(new_notes(found.record, expected.record)),
        "report": new_lines(found.report, expected.report),
        "load_encoder": found.load if found.load.startswith("refused") else "",
    }
    words = _words(it)
    said_by = [who for who, text in speakers.items() if re.search(words, text, re.I)]
    different = differences(found, expected)
    evidence = Evidence(it, runs, found, different, said_by, told, elsewhere)
    outcome, details = classify(evidence)
    if outcome in (UNDISTURBED, SAID, UNNAMED):
        outcome, details = _noise(evidence) or (outcome, details)
    return Outcome(
        *(it.seed, str(it), it.kind, it.what, it.moment, it.cell.name, outcome, details),
        exit_codes=[ending.exit_code for ending in runs],
        said_by=said_by,
        struck=runs[0].struck or it.fault is None,
        said="\n".join(f"[{who}] {text}" for who, text in speakers.items() if text),
    )


def _words(it: Round) -> str:
    """Return a regular expression of what names the fault: its file's name, and its own words."""
    name = re.search(r"[\w-]+\.\w+|\w+$", it.what) if it.names_a_file else None
    stem = re.escape(Path(name[0]).stem) if name else ""
    return "|".join(filter(None, [stem, it.words])) or "(?!)"


def classify(it: Evidence) -> tuple[str, str]:
    """Return a round's outcome, and its details."""
    codes, summary = [ending.exit_code for ending in it.runs], ", ".join(it.different)
    silent = not it.said_by
    if None in codes:
        return HANG, ""
    if it.elsewhere and codes[-1] == 0:
        return SAID, f"another cell: {', '.join(it.elsewhere)}"
    if not it.different and codes[-1] == 0:
        if it.round.must_say and silent:
            return SILENT, "as if nothing had happened"
        failed = [code for code in codes if code is not None and 0 < code < 128]
        if failed and silent:
            return UNNAMED, f"exit code {failed[0]}"
        return (SAID if it.round.must_say else UNDISTURBED), ""
    if not it.is_done:
        kept = "record.json" not in it.round.what and not it.round.loses_its_record
        if it.round.moment == DONE and kept:
            return LOST, f"the record is gone: {summary}"
        if codes[-1] == 0:
            return SILENT, f"exit code 0 without a result: {summary}"
        if not it.round.refusable and not re.search(WAY_OUT, it.told):
            return LOST, f"never finished: {summary}"
    return (SILENT if silent else SAID), summary


def _noise(it: Evidence) -> tuple[str, str] | None:
    """Return what is wrong with how things were said."""
    said = "\n".join(ending.said for ending in it.runs)
    if it.found.crashes:
        return TRACEBACK, "; ".join(it.found.crashes)
    if re.search(r"(is|be) a bug|bug in sslbench", said):
        return BUG, ", ".join(it.different)
    if "Traceback (most recent call last)" in said:
        return TRACEBACK, ", ".join(it.different)
    return None


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
    speakers = Counter(who for it in outcomes if it.outcome == SAID for who in it.said_by)
    print(f"said by: {dict(speakers)}; not met: {sum(not it.struck for it in outcomes)}")
    print(f"{len(outcomes)} rounds, {time.monotonic() - began:.0f} s")
    sys.exit(any(outcome.outcome in DEFECTS for outcome in outcomes))


if __name__ == "__main__":
    main()
