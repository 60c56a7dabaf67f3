"""`bn_statistics`: what BatchNorm normalises by while a method is evaluated."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sslbench.config.settings import REESTIMATED, RUNNING
from sslbench.engine.training import Training
from sslbench.randomness import generator

NUM_IMAGES = 2000
"""Labelled train images of which statistics are re-estimated; all, where there are fewer."""
BATCH_IMAGES = 250
"""At most, in a batch whose statistics count: the same on a CPU and on a GPU."""
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@contextmanager
def evaluation_statistics(training: Training) -> Iterator[None]:
    """Have a method's encoders normalise as `bn_statistics` says; on leaving all is as it was.

    Buffers keep their addresses, which a captured step holds.
    """
    if training.settings.bn_statistics == RUNNING:
        yield
        return
    norms = [norm for encoder in _encoders(training) for norm in find_norms(encoder)]
    buffers = [(norm, *named) for norm in norms for named in norm.named_buffers()]
    values = [buffer.clone() for *_, buffer in buffers]
    try:
        if training.settings.bn_statistics == REESTIMATED:
            reestimate_statistics(training)
        else:
            for encoder in _encoders(training):
                use_batch_statistics(encoder)
        yield
    finally:
        with torch.no_grad():
            for (norm, name, buffer), value in zip(buffers, values, strict=True):
                setattr(norm, name, buffer.copy_(value))


@torch.no_grad()
def reestimate_statistics(training: Training) -> None:
    """Set the statistics of a method's encoders to those of train images without augmentation.

    They are the plain averages over batches, of each batch's mean and variance: a function of the
    weights alone, which comes out the same each time.
    """
    split = training.images.train
    indices = torch.from_numpy(split.indices)
    for encoder in _encoders(training):
        encoder.eval()  # dropout is off
        norms = [norm for norm in find_norms(encoder) if norm.track_running_stats]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
            norm.momentum = None  # to torch: a plain average
        for rows in mixed_batches(len(split), NUM_IMAGES) if norms else ():
            images = split.store.take(indices[rows].to(training.device))
            with training.autocast():
                encoder(training.plain_view.apply(images))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def use_batch_statistics(module: nn.Module) -> None:
    """Drop running statistics: in eval mode, too, BatchNorm takes those of each batch then."""
    for norm in find_norms(module):
        norm.running_mean = norm.running_var = norm.num_batches_tracked = None


def mixed_batches(num_images: int, most: int | None = None) -> tuple[Tensor, ...]:
    """Return int64 positions below `num_images`, at most `most`, in batches of about one size.

    A split's images may be sorted by class, and no batch is to be of one class: their order is
    random, and the same each time.
    """
    order = torch.randperm(num_images, generator=generator(0, "bn_statistics"))[:most]
    return order.tensor_split(math.ceil(len(order) / BATCH_IMAGES))


def find_norms(module: nn.Module) -> list[nn.Module]:
    """Return a module's BatchNorm layers."""
    return [each for each in module.modules() if isinstance(each, NORMS)]


def _encoders(training: Training) -> list[nn.Module]:
    """Return the encoder that is evaluated, and the one that learns, if it is another."""
    method = training.method
    return list({id(each): each for each in (method.evaluated_encoder, method.encoder)}.values())
