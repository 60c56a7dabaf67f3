"""Two sweeps on two machines over one folder, without flock and with clocks two minutes apart."""

import os
import signal
from pathlib import Path

import pytest
from helpers.commands import TINY, environment, records, start, wait_for

from sslbench.cell.record import DONE

NODE = Path(__file__).parent / "helpers" / "node"
GRID = ("-m", *TINY, "steps=60", "seed=0,1,2")


@pytest.mark.slow
def test_no_cell_is_trained_twice_and_a_dead_machines_is_taken_over(tmp_path):
    def begin(name, ahead):
        here = environment(tmp_path, NODE) | {"TEST_NODE": name, "TEST_CLOCK": str(ahead)}
        return start(tmp_path, *GRID, env=here)

    doomed = begin("first", 120)
    wait_for(tmp_path, "outputs/cells/*/last.pt")
    other = begin("second", 0)
    wait_for(tmp_path, "outputs/cells/*/last.pt", 2)
    os.killpg(doomed.pid, signal.SIGKILL)
    doomed.communicate()
    output, _ = other.communicate(timeout=900)
    assert other.returncode == 0, output
    assert [record.status for record in records(tmp_path).values()] == [DONE] * 3
    logs = [path.read_text() for path in tmp_path.glob("outputs/cells/*/train.log")]
    assert [log.count("step 60/60: val_accuracy") for log in logs] == [1] * 3
    assert sum("resumed after step" in log for log in logs) <= 1
