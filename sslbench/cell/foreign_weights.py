"""An encoder's weights out of a file, whatever program wrote it and whatever names it gave them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from sslbench.config.parts import Model

COUNTER = "num_batches_tracked"
"""BatchNorm's, which old files lack and nothing here needs."""
NUM_LISTED = 4
Weights = dict[str, Tensor]


def fit_weights(contents: Any, encoder: nn.Module, model: "Model") -> tuple[Weights, list[str]]:
    """Return the weights in a file that are an encoder's, by the encoder's own names.

    They may lie under others, `module.`, `state_dict.backbone.` and so on: of all prefixes it is
    the one under which most of them lie, the first of several.

    Args:
        contents: Tensors by name, in nested dicts.
        model: Whose encoder it is; it may adapt them, such as position embeddings to another side.

    Returns:
        All that the encoder has; and the names of what else lies under that prefix, or of other
        encoders in the file.

    Raises:
        ValueError: If weights of the encoder are not there, or of another shape.
    """
    found, expected = dict(_tensors(contents)), encoder.state_dict()
    votes = Counter(_prefixes(found, expected))
    if not votes:
        raise ValueError("none of its weights is there")
    (prefix, most), *others = votes.most_common()
    mine = {
        name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)
    }
    mine = model.adapt(mine, encoder)
    counters = {name: value for name, value in expected.items() if name.endswith(COUNTER)}
    fitting = counters | {name: value for name, value in mine.items() if name in expected}
    _require_all(fitting, expected)
    left = [f"{prefix}{name}" for name in mine if name not in expected]
    return fitting, left + [f"{other}*" for other, number in others if number == most]


def told(names: list[str]) -> str:
    """List names, the first of many."""
    more = f" and {len(names) - NUM_LISTED} more" if len(names) > NUM_LISTED else ""
    return ", ".join(names[:NUM_LISTED]) + more


def _tensors(contents: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(contents, Tensor):
        yield prefix.removesuffix("."), contents
    elif isinstance(contents, Mapping):
        for key, value in contents.items():
            yield from _tensors(value, f"{prefix}{key}.")


def _prefixes(found: Weights, expected: Weights) -> Iterator[str]:
    """Yield a prefix for each weight that would be one of the encoder's without it."""
    for name, value in found.items():
        words = name.split(".")
        for start in range(len(words)):
            own = ".".join(words[start:])
            if own in expected and expected[own].shape == value.shape:
                yield name.removesuffix(own)


def _require_all(fitting: Weights, expected: Weights) -> None:
    missing = [name for name in expected if name not in fitting]
    misshapen = [
        f"{name} is {tuple(value.shape)} and not {tuple(expected[name].shape)}"
        for name, value in fitting.items()
        if value.shape != expected[name].shape
    ]
    faults = [f"no {told(missing)}"] * bool(missing) + [told(misshapen)] * bool(misshapen)
    if faults:
        raise ValueError("; ".join(faults))
