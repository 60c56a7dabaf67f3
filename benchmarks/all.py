"""Run all benchmarks in turn and write their tables to benchmarks/results/.

    python -m benchmarks.all --only end_to_end,peer

Each is a command of its own (python -m benchmarks.NAME --help) with a Markdown and a JSON file; the
machine is described in machine.md. One that fails does not stop the others; the exit code tells.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.command import names
from benchmarks.measure import ROOT, machine

BENCHMARKS = (
    "startup",
    "end_to_end",
    "whole_cell",
    "sharing",
    "bits",
    "peer",
    "growth",
    "precision",
    "capture",
    "integrity",
    "packing",
    "probe",
    "bn_statistics",
    "scale",
    "verdicts",
)
RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.all",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", type=names(BENCHMARKS), default=BENCHMARKS, metavar="A,B")
    parser.add_argument(
        "--quick", action="store_true", help="do they run? Written to a temporary folder"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="(default: benchmarks/results)")
    arguments = parser.parse_args()
    folder = arguments.out
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="sslbench-quick-")) if arguments.quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    describe_machine(folder)
    failed = [name for name in arguments.only if not run(name, folder, quick=arguments.quick)]
    print(f"written to {folder}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def describe_machine(folder: Path) -> None:
    lines = [f"- {name}: {value}" for name, value in machine().items()]
    lines.append(f"- date: {time.strftime('%Y-%m-%d')}")
    (folder / "machine.md").write_text("\n".join(lines) + "\n")


def run(name: str, folder: Path, *, quick: bool) -> bool:
    """Run one benchmark and keep what it prints; returns whether it succeeded."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(folder / f"{name}.json")]
    command += ["--quick"] * quick
    began = time.perf_counter()
    print(f"{name} …", end=" ", flush=True)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(f"{time.perf_counter() - began:.0f} s")
    if done.returncode != 0:
        print(done.stderr[-3000:], file=sys.stderr)
        return False
    (folder / f"{name}.md").write_text(done.stdout)
    return True


if __name__ == "__main__":
    main()
