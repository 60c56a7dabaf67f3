"""Encoders of timm, by name: `model=timm model.name=vit_tiny_patch16_224`."""

from collections.abc import Collection
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from sslbench.config.ranges import below_one
from sslbench.machine.extras import require_extra
from sslbench.models.library import LibraryModel

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class Timm(LibraryModel):
    """Any of timm's (Wightman 2019); transformers get position embeddings for the images' side."""

    LIBRARY: ClassVar[str] = "timm"
    name: str = "timm"
    dropout: float = 0.0
    """Probability of dropout before the classifier, and where else the architecture has it."""
    drop_path: float = 0.0
    """Probability that an image skips a block, in the last one; it grows linearly up to there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("model.dropout", self.dropout)
        below_one("model.drop_path", self.drop_path)

    def as_timm(self, encoder: "nn.Module") -> "nn.Module":
        return encoder

    def adapt(self, weights: "dict[str, Tensor]", encoder: "nn.Module") -> "dict[str, Tensor]":
        """Rename and resize published weights as timm does, such as position embeddings."""
        its_filter = getattr(import_module(type(encoder).__module__), "checkpoint_filter_fn", None)
        return weights if its_filter is None else its_filter(weights, encoder)

    def architectures(self) -> Collection[str]:
        require_extra(f"model={self.choice}", "timm", "timm")
        import timm

        return timm.list_models()

    def create(self, side: int) -> "nn.Module":
        import timm

        published = timm.get_pretrained_cfg(self.architecture, allow_unregistered=True)
        rates = {"drop_rate": self.dropout, "drop_path_rate": self.drop_path}
        return timm.create_model(
            self.architecture,
            num_classes=0,
            img_size=side if published.fixed_input_size else None,
            **{name: rate for name, rate in rates.items() if rate > 0},
            **self.arguments,
        )
