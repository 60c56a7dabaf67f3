"""What Hydra and OmegaConf refuse, in few words."""

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

REFUSALS = (HydraException, OmegaConfBaseException, YAMLError, ValueError)
"""What Hydra raises where a user's settings are wrong."""


def reason(error: Exception) -> str:
    """Return an error's message without what Hydra adds about its own workings."""
    if isinstance(error, YAMLError):
        return " ".join(str(error).split())
    if isinstance(error, ValueError):
        return str(error)
    text = f"{error}\n{error.__cause__ or ''}"
    for start in ("Config search path", "    full_key:", "To append to your config"):
        text = text.partition(start)[0]
    return "\n".join(line for line in text.splitlines() if line.strip()) or repr(error)
