"""What a process says of itself."""

import subprocess
import sys

import numpy as np

CODE = "import torch; from sslbench.engine.device import peak_memory_bytes; "
CODE += "print(peak_memory_bytes(torch.device('cpu')))"


def peak_of_a_process():
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    return int(run.stdout)


def test_peak_memory_is_not_that_of_the_process_that_started_this_one():
    alone = peak_of_a_process()
    held = np.ones(3 * alone // 4, np.uint16)  # 1.5 times what that process had
    assert peak_of_a_process() < 1.2 * alone
    del held
