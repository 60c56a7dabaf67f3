"""Compare supervised, self-supervised and semi-supervised learning by reproducible sweeps."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sslbench.load import load_encoder

__all__ = ["load_encoder"]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for: `--help` must answer at once."""
    if name == "load_encoder":
        from sslbench.load import load_encoder

        return load_encoder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
