"""Encoders that another library builds by name, at any side that they take."""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from sslbench.config.parts import IMAGE_SIDE, Model
from sslbench.config.ranges import require

if TYPE_CHECKING:
    from torch import nn

_built: set[str] = set()
"""Encoders that can be built here; a sweep asks for each of its cells."""


@dataclass
class LibraryModel(Model):
    """An architecture of another library, its classifier left out and its weights drawn anew.

    Weights of your own come by `init.from=FILE`; nothing is ever downloaded.
    """

    LIBRARY: ClassVar[str]
    architecture: str = ""
    """What the library calls it; `model.name` where it is not set, so that a YAML file of your own
    may have a name of its own."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """What else the library's function takes, such as `model.arguments.embed_dim=96`."""

    def __post_init__(self) -> None:
        self.architecture = self.architecture or self.name
        for key in ("name", "architecture"):
            value = getattr(self, key)
            is_word = re.fullmatch(r"\w[\w.-]*", value, re.ASCII) is not None
            require(is_word, f"model.{key}", value, "must be letters, digits, _, . and -")

    @property
    def choice(self) -> str:
        return self.LIBRARY if self.architecture == self.name else self.name

    def require_buildable(self, side: int) -> None:
        """Refuse an architecture that the library has not, or that does not take such images.

        Raises:
            ValueError: If so.
        """
        key = f"{self} {side}"
        if key not in _built:
            import torch

            with torch.random.fork_rng(devices=[]):
                self.build(side)
            _built.add(key)

    def build(self, side: int = IMAGE_SIDE) -> "nn.Module":
        """Build the encoder; a look at one image tells how wide its embeddings are.

        Raises:
            ValueError: If the library refuses, or the output is no embedding.
        """
        import torch

        self._require_known()
        try:
            encoder = self.create(side)
            with torch.no_grad():
                shape = tuple(encoder.eval()(torch.zeros(2, 3, side, side)).shape)
        except Exception as error:  # each of a thousand architectures has rules of its own
            first = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"model.name={self.architecture}: {self.LIBRARY} does not build it for {side}x"
                f"{side} images ({type(error).__name__}: {first}); choose another one, or set "
                "model.arguments"
            ) from error
        require(
            len(shape) == 2, "model.name", self.architecture, f"its output is {shape}, no (B, D)"
        )
        encoder.embedding_dim = shape[1]
        return encoder.train()

    def create(self, side: int) -> "nn.Module":
        """Call the library for images of `side` x `side` pixels."""
        raise NotImplementedError

    def architectures(self) -> Collection[str]:
        """Return what the library has."""
        raise NotImplementedError

    def _require_known(self) -> None:
        known = self.architectures()
        if self.architecture not in known:
            near = difflib.get_close_matches(self.architecture, known, 3)
            others = f"it has {len(known):,} others, such as resnet18; a YAML file with a name "
            others += "of its own has `architecture:`, too"
            hint = f"did you mean {' or '.join(near)}?" if near else others
            raise ValueError(
                f"model.name={self.architecture}: {self.LIBRARY} has no such architecture; {hint}"
            )
