"""Train cells: `python -m sslbench.train model=wrn45_2 method=semi ratio=1:20`."""

import sys

try:
    from sslbench.config.compose import hydra_main
    from sslbench.sweep.job import job

    main = hydra_main(job)
except KeyboardInterrupt:  # imports take a second
    sys.exit(130)

if __name__ == "__main__":
    main()
