"""Encoders of torchvision, by name: `model=torchvision model.name=convnext_tiny`."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sslbench.models.library import LibraryModel

if TYPE_CHECKING:
    from torch import nn

NUM_CLASSES = 1000
"""Of torchvision's classifiers."""


@dataclass
class Torchvision(LibraryModel):
    """Any of torchvision's for images, without the last layer of its classifier."""

    LIBRARY: ClassVar[str] = "torchvision"
    name: str = "torchvision"

    def architectures(self) -> Collection[str]:
        from torchvision import models

        return models.list_models(module=models)

    def create(self, side: int) -> "nn.Module":
        from torchvision import models

        arguments = _arguments_for(self.architecture, side) | self.arguments
        model = models.get_model(self.architecture, weights=None, **arguments)
        _drop_last_layer(model)
        return model


def _arguments_for(architecture: str, side: int) -> dict[str, Any]:
    """Return what an architecture must be told to take such images and give one output."""
    if architecture.startswith("vit_"):
        return {"image_size": side}
    if architecture.startswith("maxvit"):
        return {"input_size": (side, side)}
    if architecture in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": True}
    return {}


def _drop_last_layer(model: "nn.Module") -> None:
    from torch import nn

    layers = {
        name: layer
        for name, layer in model.named_modules()
        if NUM_CLASSES in (getattr(layer, "out_features", 0), getattr(layer, "out_channels", 0))
    }
    *_, last = layers  # an earlier one may be as wide
    parent, _, name = last.rpartition(".")
    setattr(model.get_submodule(parent), name, nn.Identity())
