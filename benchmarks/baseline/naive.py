"""The naive design: torchvision on PIL images in a DataLoader, float32, eager, contiguous.

This is how most training scripts are written, kept correct. Images, encoders, batch sizes,
augmentation, losses and optimizer are what sslbench's settings ask for; the encoders are sslbench's
own.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from sslbench.augment.operations import Blur, Crop, Flip, Grayscale, Jitter, Solarize
from sslbench.build import pool_indices
from sslbench.config.parts import IMAGE_SIDE, LABELED, Operation, Stream
from sslbench.config.settings import Settings
from sslbench.data import Dataset
from sslbench.methods.probed_encoder import build_projector

MIN_BATCHES_PER_EPOCH = 40
"""As many as 5,000 images have at 125: a smaller set is shuffled several times for one epoch."""

Transform = Callable[[Image.Image], Tensor]
Loss = Callable[..., tuple[Tensor, dict[str, Tensor]]]
"""From a model and a batch's tensors to the loss with its graph, and detached metrics."""


TRANSFORMS: dict[type[Operation], Callable[..., Transform]] = {
    Crop: lambda it: transforms.RandomResizedCrop(IMAGE_SIDE, tuple(it.scale), tuple(it.ratio)),
    Flip: lambda it: transforms.RandomHorizontalFlip(1.0),
    Jitter: lambda it: transforms.ColorJitter(it.brightness, it.contrast, it.saturation, it.hue),
    Grayscale: lambda it: transforms.Grayscale(3),
    Blur: lambda it: transforms.GaussianBlur(it.kernel_of(IMAGE_SIDE), tuple(it.sigma)),
    Solarize: lambda it: transforms.RandomSolarize(it.threshold, 1.0),
}
"""torchvision's counterpart of an operation, always applied."""


def build_transform(
    view: dict[str, Operation], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Transform:
    """Turn a view's operations into a pipeline from a PIL image to float32 `(3, 96, 96)`."""
    operations = [transforms.RandomApply([TRANSFORMS[type(it)](it)], it.p) for it in view.values()]
    return transforms.Compose([*operations, transforms.ToTensor(), transforms.Normalize(mean, std)])


def to_pil(image: np.ndarray) -> Image.Image:
    """uint8 `(3, H, W)` to an RGB image."""
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


class LabeledImages(TorchDataset):
    """A view and the label of each image that `indices` name."""

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, indices: np.ndarray, transform: Transform
    ) -> None:
        self.images = images
        self.labels = labels
        self.indices = indices
        self.transform = transform

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        index = self.indices[position]
        return self.transform(to_pil(self.images[index])), int(self.labels[index])


class PairedViews(TorchDataset):
    """Two views of each image that `indices` name."""

    def __init__(
        self,
        images: np.ndarray,
        indices: np.ndarray,
        transform_a: Transform,
        transform_b: Transform,
    ) -> None:
        self.images = images
        self.indices = indices
        self.transform_a = transform_a
        self.transform_b = transform_b

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor]:
        image = to_pil(self.images[self.indices[position]])
        return self.transform_a(image), self.transform_b(image)


def supervised_loss(
    model: nn.Module, images: Tensor, labels: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of `(B, 3, 96, 96)` images against `(B,)` labels."""
    logits = model(images)
    return F.cross_entropy(logits, labels), {"accuracy": accuracy(logits, labels)}


def barlow_twins_loss(
    model: nn.Module, view_a: Tensor, view_b: Tensor, *, lambd: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Zbontar et al. 2021, eq. 1, by the whole `(D, D)` cross-correlation matrix."""
    z_a, z_b = model(view_a), model(view_b)
    # In training mode and without weights of its own, BatchNorm standardises over the batch.
    correlation = F.batch_norm(z_a, None, None, training=True).T @ F.batch_norm(
        z_b, None, None, training=True
    )
    correlation = correlation / len(z_a)
    on_diagonal = torch.eye(len(correlation), dtype=torch.bool, device=correlation.device)
    invariance = (1 - correlation[on_diagonal]).pow(2).sum()
    redundancy = correlation[~on_diagonal].pow(2).sum()
    return invariance + lambd * redundancy, {}


def fixmatch_loss(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    weak: Tensor,
    strong: Tensor,
    *,
    threshold: float,
    unlabeled_weight: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Sohn et al. 2020, eq. 3 and 4, in one concatenated pass, as its public versions have it."""
    logits = model(torch.cat([images, weak, strong]))
    logits_labeled, logits_weak, logits_strong = logits.split([len(images), len(weak), len(strong)])
    confidence, pseudo_labels = logits_weak.detach().softmax(dim=1).max(dim=1)
    kept = (confidence >= threshold).float()
    loss_labeled = F.cross_entropy(logits_labeled, labels)
    loss_unlabeled = F.cross_entropy(logits_strong, pseudo_labels, reduction="none")
    loss = loss_labeled + unlabeled_weight * (loss_unlabeled * kept).mean()
    return loss, {"accuracy": accuracy(logits_labeled, labels), "kept": kept.mean()}


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of `(B,)` labels that are the argmax of `(B, C)` logits."""
    return (logits.detach().argmax(dim=1) == labels).float().mean()


class NaiveTrainer:
    """One cell's training, a step at a time.

    Args:
        workers: Processes of each DataLoader; the semi-supervised method has two loaders, as in
            FixMatch's public versions. 0: none.

    Raises:
        ValueError: If the settings ask for what this design leaves out.
    """

    def __init__(
        self, settings: Settings, dataset: Dataset, *, workers: int, device: torch.device
    ) -> None:
        _refuse_what_is_left_out(settings)
        torch.manual_seed(settings.seed)
        self.device = device
        self.workers = workers
        self.loaders = [
            self._build_loader(self._build_images(stream, settings, dataset), stream.batch_size)
            for stream in settings.method.streams(settings.ratio)
        ]
        self.images_per_step = sum(loader.batch_size for loader in self.loaders)
        self.model, self.loss = _build_model_and_loss(settings, len(dataset.files.class_names))
        self.model.to(device).train()
        self.optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=settings.optimizer.lr,
            betas=tuple(settings.optimizer.betas),
            weight_decay=settings.optimizer.weight_decay,
        )
        self._batches = [_endless(loader) for loader in self.loaders]

    def next_batch(self) -> list[Tensor]:
        """Return what `loss` takes after the model: the tensors of one batch of each loader."""
        tensors = [tensor for batches in self._batches for tensor in next(batches)]
        return [tensor.to(self.device, non_blocking=True) for tensor in tensors]

    def step(self) -> dict[str, float]:
        """Take a step and return its metrics, `loss` among them."""
        loss, metrics = self.loss(self.model, *self.next_batch())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item()} | {name: value.item() for name, value in metrics.items()}

    def _build_images(
        self, stream: Stream, settings: Settings, dataset: Dataset
    ) -> LabeledImages | PairedViews:
        transforms_of_views = [
            build_transform(getattr(settings.augmentation, view), dataset.mean, dataset.std)
            for view in stream.views.values()
        ]
        files = dataset.files
        if stream.of == LABELED:
            labeled = files.images["train"], files.labels["train"], dataset.splits.train.indices
            return LabeledImages(*labeled, *transforms_of_views)
        pool = pool_indices(settings, dataset)
        return PairedViews(files.images[dataset.splits.unlabeled.file], pool, *transforms_of_views)

    def _build_loader(self, images: TorchDataset, batch_size: int) -> DataLoader:
        num_samples = max(len(images), MIN_BATCHES_PER_EPOCH * batch_size)
        return DataLoader(
            images,
            batch_size,
            sampler=RandomSampler(images, num_samples=num_samples),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=self.device.type == "cuda",
            drop_last=True,
        )


def _endless(loader: DataLoader) -> Iterator[list[Tensor]]:
    while True:
        yield from loader


def _build_model_and_loss(settings: Settings, num_classes: int) -> tuple[nn.Module, Loss]:
    encoder, method = settings.model.build(), settings.method
    if method.name == "barlow":
        last = build_projector(encoder.embedding_dim, method.projector)
        return nn.Sequential(encoder, last), partial(barlow_twins_loss, lambd=method.lambd)
    model = nn.Sequential(encoder, nn.Linear(encoder.embedding_dim, num_classes))
    if method.name == "supervised":
        return model, supervised_loss
    weights = {"threshold": method.threshold, "unlabeled_weight": method.unlabeled_weight}
    return model, partial(fixmatch_loss, **weights)


def _refuse_what_is_left_out(settings: Settings) -> None:
    method, optimizer = settings.method, settings.optimizer
    if optimizer.name != "adam" or optimizer.clip_grad_norm > 0:
        raise ValueError(
            f"optimizer={optimizer.name} optimizer.clip_grad_norm={optimizer.clip_grad_norm}: the "
            "naive design has plain Adam alone; leave both at their defaults"
        )
    if method.name not in ("supervised", "barlow", "semi"):
        raise ValueError(f"method={method.name}: the naive design has supervised, barlow and semi")
    pseudo_labels = getattr(method, "pseudo_labels", "hard")
    if method.ema > 0 or pseudo_labels != "hard":
        raise ValueError(
            f"method.ema={method.ema} method.pseudo_labels={pseudo_labels}: the naive design has "
            "hard labels and no average; leave both at their defaults"
        )
