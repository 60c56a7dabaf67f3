"""Randomness as a function of (seed, purpose, step), never of what ran before.

A run that is resumed at step k therefore draws what an uninterrupted run draws at step k, and no
generator's state has to be saved.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, purpose: str, step: int = 0) -> int:
    """Hash (seed, purpose, step) to 63 bits, so that neighbouring steps share no structure."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, purpose: str, step: int = 0) -> "torch.Generator":
    """A CPU generator for one purpose and step."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, purpose, step))
