"""From settings to what they name: the only place that dispatches on their types."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sslbench.augment.views import PlainView, RandomView
from sslbench.cell.start import load_initial_encoder
from sslbench.config import settings as schema
from sslbench.config.settings import Settings
from sslbench.data import Dataset, open_dataset
from sslbench.data.device import Images
from sslbench.data.feed import Feed, Source
from sslbench.data.splits import unlabeled_pool
from sslbench.engine.device import (
    autocast,
    choose_device,
    choose_precision,
    keep_freed_memory,
    use_threads,
)
from sslbench.engine.schedule import Schedule, build_schedule
from sslbench.engine.step import CapturedStep, EagerStep
from sslbench.evaluate.score import Evaluator
from sslbench.methods.barlow_twins import BarlowTwins
from sslbench.methods.semi import Semi
from sslbench.methods.supervised import Supervised
from sslbench.models import MODELS
from sslbench.optimizers import OPTIMIZERS, without_compiler
from sslbench.randomness import derive_seed


@dataclass(frozen=True)
class Parts:
    """What a cell trains with and is evaluated by, on its device."""

    device: torch.device
    precision: str
    dataset: Dataset
    images: Images
    view_a: RandomView
    method: nn.Module
    optimizer: torch.optim.Optimizer
    feed: Feed
    schedule: Schedule
    take_step: EagerStep | CapturedStep
    evaluator: Evaluator


def build_parts(settings: Settings) -> Parts:
    """Prepare the process, open the data and build all that the settings name."""
    keep_freed_memory()
    use_threads(settings.threads)
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    in_precision = autocast(precision, device)

    dataset = open_dataset(settings.data, Path(settings.outputs))
    images = Images(dataset, device)
    view_a, view_b, plain_view = build_views(settings.augmentation, dataset, device)
    method = build_method(settings, len(dataset.class_names), device)
    optimizer = build_optimizer(settings.optimizer, method, device)
    feed = build_feed(settings, dataset, (view_a, view_b), images, device)
    schedule = build_schedule(settings.method, feed.epoch_images, settings.steps)
    take_step = EagerStep(method, optimizer, feed, in_precision, settings.optimizer.clip_grad_norm)
    if device.type == "cuda" and feed.resident and settings.compile != "off":
        take_step = CapturedStep(take_step, optimizer, device)
    return Parts(
        device=device,
        precision=precision,
        dataset=dataset,
        images=images,
        view_a=view_a,
        method=method,
        optimizer=optimizer,
        feed=feed,
        schedule=schedule,
        take_step=take_step,
        evaluator=Evaluator(plain_view, in_precision, device),
    )


def build_encoder(model: schema.Model) -> nn.Module:
    """Build an encoder with weights drawn from torch's global generator."""
    return MODELS[type(model)](model)


def build_method(settings: Settings, num_classes: int, device: torch.device) -> nn.Module:
    """Build a method with weights drawn from the run's seed, or loaded by `init.from`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(settings.seed, "weights"))
        encoder = build_encoder(settings.model)
        if settings.init_from is not None:
            load_initial_encoder(encoder, settings)
        match settings.method:
            case schema.Supervised():
                method = Supervised(encoder, num_classes)
            case schema.BarlowTwins() as config:
                method = BarlowTwins(encoder, config)
            case schema.Semi() as config:
                method = Semi(encoder, num_classes, config)
            case _:
                raise AssertionError(f"no method for {settings.method}")
    return method.to(device, memory_format=torch.channels_last)


def build_optimizer(
    config: schema.Optimizer, method: nn.Module, device: torch.device
) -> torch.optim.Optimizer:
    """Build the optimizer of all that the method trains; on a GPU a graph can hold it."""
    parameters = [parameter for parameter in method.parameters() if parameter.requires_grad]
    on_gpu = device.type == "cuda"
    rate = torch.tensor(config.lr, device=device) if on_gpu else config.lr
    kind = OPTIMIZERS[config.name] if on_gpu else without_compiler(OPTIMIZERS[config.name])
    if config.name == "sgd":
        optimizer = kind(
            parameters,
            lr=rate,
            momentum=config.momentum,
            nesterov=config.nesterov and config.momentum > 0,
            weight_decay=config.weight_decay,
            fused=True,
        )
    else:
        optimizer = kind(
            parameters,
            lr=rate,
            betas=tuple(config.betas),
            weight_decay=config.weight_decay,
            fused=True,
            capturable=on_gpu,
        )
    if isinstance(method, Semi) and method.config.ema > 0:
        optimizer.register_step_post_hook(lambda *_: method.update_average())
    return optimizer


def build_views(
    augmentation: schema.Augmentation, dataset: Dataset, device: torch.device
) -> tuple[RandomView, RandomView, PlainView]:
    """Build the two random views and the plain one, normalised by the data set's statistics."""
    statistics = [
        torch.as_tensor(np.asarray(values), dtype=torch.float32, device=device)
        for values in (dataset.mean, dataset.std)
    ]
    return (
        RandomView(augmentation.view_a, *statistics),
        RandomView(augmentation.view_b, *statistics),
        PlainView(*statistics),
    )


def pool_indices(settings: Settings, dataset: Dataset) -> np.ndarray:
    """Return the unlabelled images that the ratio admits, `(N,)` int64."""
    return unlabeled_pool(
        len(dataset.unlabeled_images), len(dataset.train_indices), settings.ratio, settings.seed
    )


def build_feed(
    settings: Settings,
    dataset: Dataset,
    views: tuple[RandomView, RandomView],
    images: Images,
    device: torch.device,
) -> Feed:
    """Build the stream of batches of a method."""
    view_a, view_b = views
    method = settings.method

    def labeled_source(view_name: str) -> Source:
        return Source(
            images.train.store,
            dataset.train_indices,
            {view_name: view_a},
            batch_size=method.batch_size,
            seed=settings.seed,
            name="labeled",
            labels=dataset.train_labels,
        )

    def unlabeled_source(names: tuple[str, str], batch_size: int) -> Source:
        return Source(
            images.unlabeled,
            pool_indices(settings, dataset),
            dict(zip(names, (view_a, view_b), strict=True)),
            batch_size=batch_size,
            seed=settings.seed,
            name="unlabeled",
        )

    match method:
        case schema.Supervised():
            sources = [labeled_source("view")]
        case schema.BarlowTwins():
            sources = [unlabeled_source(("view_a", "view_b"), method.batch_size)]
        case schema.Semi():
            sources = [
                labeled_source("labeled"),
                unlabeled_source(("weak", "strong"), unlabeled_batch_size(settings)),
            ]
        case _:
            raise AssertionError(f"no feed for {method}")
    return Feed(sources, device)


def unlabeled_batch_size(settings: Settings) -> int:
    """Return unlabelled images per step: the method's, or what `ratio.of=batch` asks for."""
    method, ratio = settings.method, settings.ratio
    assert isinstance(method, schema.Semi)
    if ratio.of == "batch" and ratio.unlabeled > 0:
        return max(1, round(method.batch_size * ratio.unlabeled / ratio.labeled))
    return method.unlabeled_batch_size
