"""The paper's six operations, which it names without numbers (reading: Zbontar et al. 2021).

Where torch is needed it is imported late: these are among the settings of every `--help`.
"""

from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING

from sslbench.config.parts import Operation, Params
from sslbench.config.ranges import fraction, interval, one_of, require

if TYPE_CHECKING:
    from torch import Generator, Tensor


def _ops() -> ModuleType:
    from sslbench.augment import ops

    return ops


@dataclass
class Crop(Operation):
    """A random box of the image, enlarged to the image's size (torchvision's RandomResizedCrop)."""

    scale: list[float] = field(default_factory=lambda: [0.08, 1.0])
    """Share of the image's area that is kept."""
    ratio: list[float] = field(default_factory=lambda: [0.75, 4 / 3])
    """Width : height of the box, drawn log-uniformly."""
    interpolation: str = "bilinear"
    """Between pixels. Reading: `bilinear`, torchvision's default; the other reading, `bicubic`, is
    that of Zbontar et al.'s code."""

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("augmentation: interpolation", self.interpolation, ("bilinear", "bicubic"))
        interval("augmentation: scale", self.scale, 1e-4, 1.0)
        interval("augmentation: ratio", self.ratio, 0.01, 100.0)

    def sample(self, generator: "Generator", n: int, side: int) -> Params:
        return {"boxes": _ops().draw_boxes(generator, n, side, self.scale, self.ratio)}

    def apply(self, images: "Tensor", params: Params) -> "Tensor":
        bicubic = self.interpolation == "bicubic"
        return _ops().resized_crop(images, params["boxes"], bicubic=bicubic)


@dataclass
class Flip(Operation):
    """The mirrored image."""

    p: float = 0.5

    def apply(self, images: "Tensor", params: Params) -> "Tensor":
        return images.flip(3)


@dataclass
class Jitter(Operation):
    """Colour jitter: brightness, contrast, saturation and hue, in a random order."""

    p: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    """In turns of the colour circle."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("brightness", "contrast", "saturation"):
            fraction(f"augmentation: {name}", getattr(self, name))
        require(0 <= self.hue <= 0.5, "augmentation: hue", self.hue, "must lie in [0, 0.5]")

    def sample(self, generator: "Generator", n: int, side: int) -> Params:
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        factors, ranks = _ops().draw_jitter(generator, n, strengths)
        return {"factors": factors, "ranks": ranks}

    def apply(self, images: "Tensor", params: Params) -> "Tensor":
        return _ops().color_jitter(images, params["factors"], params["ranks"])


@dataclass
class Grayscale(Operation):
    """The image without its colour."""

    p: float = 0.2

    def apply(self, images: "Tensor", params: Params) -> "Tensor":
        return _ops().grayscale(images)


@dataclass
class Blur(Operation):
    """A Gaussian blur with reflected edges."""

    p: float = 0.5
    kernel: int | None = None
    """Side of the Gaussian kernel in pixels; none: a tenth of the image's, made odd (9 of 96)."""
    sigma: list[float] = field(default_factory=lambda: [0.1, 2.0])
    """Standard deviation of the Gaussian in pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        odd = self.kernel is None or (self.kernel % 2 == 1 and self.kernel >= 1)
        require(odd, "augmentation: kernel", self.kernel, "must be odd, and at least 1")
        interval("augmentation: sigma", self.sigma, 1e-3, 100.0)

    def kernel_of(self, side: int) -> int:
        """Return the kernel's side for images of a side."""
        return side // 10 | 1 if self.kernel is None else self.kernel

    def require_side(self, side: int) -> None:
        kernel = self.kernel_of(side)
        rule = f"must be below twice data.side={side}"
        require(kernel < 2 * side, "augmentation: kernel", kernel, rule)

    def sample(self, generator: "Generator", n: int, side: int) -> Params:
        return {"sigmas": _ops().uniform(generator, *self.sigma, n)}

    def apply(self, images: "Tensor", params: Params) -> "Tensor":
        kernel = self.kernel_of(images.shape[-1])
        return _ops().gaussian_blur(images, params["sigmas"], kernel)


@dataclass
class Solarize(Operation):
    """The image with its bright values inverted."""

    p: float = 0.2
    threshold: int = 128
    """Pixel values from here on (0 to 255) are inverted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.threshold <= 256, "augmentation: threshold", self.threshold, "0 to 256")

    def apply(self, images: "Tensor", params: Params) -> "Tensor":
        return _ops().solarize(images, self.threshold)


FIVE: dict[str, type[Operation]] = {
    "crop": Crop,
    "flip": Flip,
    "jitter": Jitter,
    "grayscale": Grayscale,
    "blur": Blur,
}
"""The operations that the paper lists for supervised learning, in its order."""
SIX = FIVE | {"solarize": Solarize}
"""Those for Barlow Twins and the semi-supervised method."""
