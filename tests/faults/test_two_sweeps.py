"""Two sweeps over the same cells, with any launchers, one any time after the other."""

import random
import time

import pytest
from helpers.commands import JOBLIB, TINY, records, start

ROUNDS = 50
GRID = ("-m", *TINY, "steps=20", "seed=range(0,6)")
LATEST = 15.0
"""Seconds: about as long as the first sweep takes alone."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_each_cell_is_trained_once_and_its_record_stays(seed, tmp_path):
    draw = random.Random(seed)
    sweeps = [start(tmp_path, *GRID, *draw.choice([(), JOBLIB]))]
    time.sleep(draw.uniform(0, LATEST))
    sweeps.append(start(tmp_path, *GRID, *draw.choice([(), JOBLIB])))
    first = {}
    while any(sweep.poll() is None for sweep in sweeps):
        done = {path: path.read_bytes() for path in tmp_path.glob("outputs/cells/*/record.json")}
        first = done | first
        time.sleep(0.05)
    outputs = [sweep.communicate()[0] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], outputs
    assert not any("Traceback" in output for output in outputs), outputs
    logs = [path.read_text() for path in tmp_path.glob("outputs/cells/*/train.log")]
    assert [log.count("step 20/20: val_accuracy") for log in logs] == [1] * 6
    assert not any("resumed" in log for log in logs)
    assert len(first) == 6
    assert {path: path.read_bytes() for path in first} == first
    times = [record.runtime for record in records(tmp_path).values()]
    assert all(each["total_seconds"] >= each["train_seconds"] for each in times)
