"""W&B, imported once for the cells of a sweep; where that fails, each of them says so."""

from contextlib import suppress

with suppress(Exception, SystemExit):
    import wandb  # noqa: F401
