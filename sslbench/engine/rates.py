"""Learning rates, step by step."""

import math

from sslbench.config.parts import Optimizer


def learning_rate(optimizer: Optimizer, step: int, total_steps: int) -> float:
    """Return the learning rate of step 0 .. total_steps - 1: warm-up, then its schedule."""
    warmup_steps = round(optimizer.warmup * total_steps)
    if step < warmup_steps:
        return optimizer.lr * (step + 1) / warmup_steps
    if optimizer.schedule == "constant":
        return optimizer.lr
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if optimizer.schedule == "fixmatch":
        return optimizer.lr * math.cos(7 / 16 * math.pi * progress)
    return optimizer.lr * (1 + math.cos(math.pi * progress)) / 2
