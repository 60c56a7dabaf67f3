"""Kept harnesses: what may go wrong around a cell, and whether it ever does so without a word.

`python -m tests.faults.rounds --rounds 1000 --jobs 2` makes seeded fault rounds,
`python -m tests.faults.configurations --number 10000 --jobs 2` tries command lines.
"""

import sys
from pathlib import Path

# So that `helpers` and `faults` are found when a module here is run from the checkout's root.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
