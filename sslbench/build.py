"""From settings to what they name, on its device."""

import logging
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sslbench.augment.views import PlainView, RandomView
from sslbench.cell.foreign_weights import told
from sslbench.cell.start import load_initial_encoder
from sslbench.config.parts import LABELED, UNLABELED, Sizes
from sslbench.config.settings import Settings
from sslbench.data import Dataset, open_dataset
from sslbench.data.device import Images
from sslbench.data.feed import Feed, Source
from sslbench.data.splits import pool_size, unlabeled_pool
from sslbench.engine.device import (
    autocast,
    choose_device,
    choose_precision,
    keep_freed_memory,
    use_threads,
)
from sslbench.engine.means import Tally
from sslbench.engine.rates import learning_rate
from sslbench.engine.room import require_room
from sslbench.engine.schedule import build_schedule
from sslbench.engine.step import CapturedStep, EagerStep
from sslbench.engine.training import Training
from sslbench.interfaces import MethodModule
from sslbench.methods.average import Averaged
from sslbench.optimizers.decay import spare_norms_and_biases
from sslbench.randomness import derive_seed

log = logging.getLogger(__name__)


def prepare_process(settings: Settings) -> torch.device:
    """Set the allocator and the threads of this process, and return the device to train on."""
    keep_freed_memory()
    use_threads(settings.threads)
    return choose_device(settings.device)


def build(settings: Settings) -> Training:
    """Prepare the process, open the data and build all that the settings name."""
    device = prepare_process(settings)
    require_room(settings)
    precision = choose_precision(settings.precision, device)
    in_precision = autocast(precision, device)
    dataset = open_dataset(settings.data, Path(settings.outputs))
    images = Images(dataset, device)
    views, plain_view = build_views(settings, dataset, device)
    method = build_method(settings, sizes_of(settings, dataset), device)
    groups = method.param_groups()
    if not settings.optimizer.decay_norms_and_biases:
        groups = spare_norms_and_biases(groups)
    # Of its own: on a GPU a rate is a tensor, which groups that share it could not differ in.
    groups = [{"lr": settings.optimizer.rate(device), **it} for it in groups]
    optimizer = settings.optimizer.build(groups, device)
    feed = build_feed(settings, dataset, views, images, device)
    schedule = build_schedule(settings.method, feed.sources[0].num_images, settings.steps)
    rate = partial(learning_rate, settings.optimizer, total_steps=schedule.total_steps)
    tally, clip_grad_norm = Tally(device), settings.optimizer.clip_grad_norm
    take_step = EagerStep(method, optimizer, feed, in_precision, clip_grad_norm, rate, tally)
    if device.type == "cuda" and feed.resident:
        take_step = CapturedStep(take_step, device)
    return Training(
        settings=settings,
        device=device,
        precision=precision,
        autocast=in_precision,
        dataset=dataset,
        images=images,
        views=views,
        plain_view=plain_view,
        method=method,
        optimizer=optimizer,
        feed=feed,
        schedule=schedule,
        tally=tally,
        rate=rate,
        take_step=take_step,
    )


def sizes_of(settings: Settings, dataset: Dataset) -> Sizes:
    """Return what a method may know of the data that it is built for."""
    files, counts, num_pool = dataset.files, dataset.counts, 0
    if settings.uses_pool:
        num_pool = pool_size(counts["unlabeled"], counts["labeled"], settings.ratio)
    num_labeled, num_unlabeled = (
        len(files.images.get(of, ())) for of in ("train", dataset.splits.unlabeled.file)
    )
    return Sizes(len(files.class_names), num_labeled, num_unlabeled, num_pool)


def build_method(settings: Settings, sizes: Sizes, device: torch.device) -> MethodModule:
    """Build a method with weights drawn from the run's seed, or loaded by `init.from`."""
    with torch.random.fork_rng(devices=[]):
        method = settings.method.build(build_encoder(settings), sizes)
    if settings.method.ema > 0:
        method = Averaged(method, settings.method.ema)
    return method.to(device, memory_format=torch.channels_last)


def build_encoder(settings: Settings) -> nn.Module:
    """Build the encoder on the CPU, its weights drawn from the run's seed or loaded by `init.from`.

    It seeds torch's global generator.
    """
    torch.manual_seed(derive_seed(settings.seed, "weights"))
    encoder = settings.model.build(settings.data.side)
    if not hasattr(encoder, "embedding_dim"):
        raise ValueError(f"model={settings.model.name}: what it builds has no embedding_dim")
    if settings.init_from is not None and (left := load_initial_encoder(encoder, settings)):
        log.warning("init.from=%s: taken without %s", settings.init_from, told(left))
    return encoder


def build_views(
    settings: Settings, dataset: Dataset, device: torch.device
) -> tuple[dict[str, RandomView], PlainView]:
    """Build the random views and the plain one, normalised by the data set's statistics."""
    statistics = [
        torch.as_tensor(np.asarray(values), dtype=torch.float32, device=device)
        for values in (dataset.mean, dataset.std)
    ]
    views = {
        name: RandomView(getattr(settings.augmentation, name), *statistics)
        for name in ("view_a", "view_b")
    }
    return views, PlainView(*statistics)


def pool_indices(settings: Settings, dataset: Dataset) -> np.ndarray:
    """Return the unlabelled images that the ratio admits, `(N,)` int64."""
    available, num_labeled = dataset.splits.unlabeled.indices, dataset.counts["labeled"]
    return available[unlabeled_pool(len(available), num_labeled, settings.ratio, settings.seed)]


def build_feed(
    settings: Settings,
    dataset: Dataset,
    views: dict[str, RandomView],
    images: Images,
    device: torch.device,
) -> Feed:
    """Build the batches of the streams that the method asks for."""
    sources, splits = [], dataset.splits
    for stream in settings.method.streams(settings.ratio):
        assert stream.of in (LABELED, UNLABELED), f"a stream of {stream.of!r}"
        is_labeled = stream.of == LABELED
        sources.append(
            Source(
                images.stores[(splits.train if is_labeled else splits.unlabeled).file],
                splits.train.indices if is_labeled else pool_indices(settings, dataset),
                {name: views[view] for name, view in stream.views.items()},
                batch_size=stream.batch_size,
                seed=settings.seed,
                name=stream.of,
                labels=dataset.files.labels["train"] if is_labeled else None,
            )
        )
    return Feed(sources, device)
