"""Train cells: `python -m sslbench.train model=wrn45_2 method=semi ratio=1:20`."""

import signal
import sys

from sslbench.exit_codes import CellStopped
from sslbench.machine.processes import handle, handled, leave

if __name__ == "__main__":
    handle(leave)  # imports take a second
try:
    from sslbench.config.compose import hydra_main
    from sslbench.sweep.job import job

    train = hydra_main(job)
except KeyboardInterrupt:
    sys.exit(130)


def main() -> None:
    """Run the command; a signal that asks to stop ends it at once unless there is what to save."""
    with handled(leave):
        train()


if __name__ == "__main__":
    try:
        main()
    except CellStopped as stopped:
        if stopped.code > 128:
            handle(signal.SIG_IGN)  # Python would end by a second one while it cleans up
        raise
