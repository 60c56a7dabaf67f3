"""A cell's identity: every setting that changes what is computed changes it, and no other does."""

from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache

import pytest
import torch
from helpers.cells import compose, composer, make_cell
from joblib import hash as hash_of

from sslbench.augment.operations import Flip, Grayscale
from sslbench.build import build
from sslbench.cell.identity import cell_id
from sslbench.config.compose import compose_settings
from sslbench.config.settings import Augmentation
from sslbench.engine.rates import learning_rate
from sslbench.models.convnet import ConvNet

OTHER_VALUES = {
    **{"method.pseudo_labels": "soft", "method.select": ["best", "last"], "model.stem": "cifar"},
    **{"bn_statistics": "batch", "method.train_figures": "best", "method.probe_view": "view_a"},
    **{"interpolation": "bicubic"},
    **{"method.weak_pass": "joint", "method.projector": "[4]", "method.ema": 0.5},
    **{"method.labeled_view": "view_b"},
    **{"method.predictor": "[4]"},
    **{"method.snapshot_steps": "[1]", "method.knn_k": 1, "method.epochs": 0.5, "steps": 9},
    **{"model.widths": "[4,4,4,8]", "model.strides": "[2,2,2,1]", "model.blocks": 3},
    **{"optimizer.betas": "[0.5,0.5]", "optimizer.clip_grad_norm": 0.01, "precision": "bf16"},
    **{"optimizer.schedule": "cosine", "compile": "off", "resume": "force", "device": "cpu"},
    **{"kernel": 3, "data.val_from": "train"},
    **{"cells_per_device": 3, "gpu_sharing": "none"},
    **{"ratio.of": "batch", "ratio.unlabeled": 3, "data.num_labeled": 40},
}
"""Where half of a float and two more than an integer would not do."""
ELSEWHERE = ("name", "kind", "root", "url", "download", "fold", "fingerprint", "side")
ELSEWHERE += ("unlabeled_from", "test_fraction", "outputs", "cell", "init")
"""Where things are, and what has tests of its own."""
ELSEWHERE += ("threads",)  # a cell goes on only with as many as it was begun with
OF_BATCHES = "method=semi ratio.of=batch ratio=1:5"
WRN = "model=wrn45_2 model.stem_width=4 model.widths=[4,4,4,4] model.strides=[2,2,2,2]"
WRN += " model.blocks_per_stage=1"
THIN = "model.channels=4 method.batch_size=4 precision=fp32 ratio=1:5 steps=5"
SEMI = "method=semi method.unlabeled_batch_size=4"
BYOL = "method.projector=[8] method.predictor=[8]"
VICREG = ("method.invariance", "method.variance", "method.covariance")
FEW = f"{THIN} method.unlabeled_batch_size=4"
SOFTMATCH = ("method.decay", "method.width", "method.uniform_alignment")
MEAN_TEACHER = ("method.unlabeled_weight", "method.ramp_up_steps", "method.teacher_decay")


def settings_in(node, prefix=""):
    """Yield each setting's key and value, of parts too."""
    for field in fields(node):
        value = getattr(node, field.name)
        if is_dataclass(value):
            yield from settings_in(value, f"{prefix}{field.name}.")
        elif field.name not in ELSEWHERE:
            yield f"{prefix}{field.name}", value


def another(key, value):
    """Return another value of a setting, as it is typed."""
    if key in OTHER_VALUES:
        other = OTHER_VALUES[key]
        return next(it for it in other if it != value) if isinstance(other, list) else other
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 2
    if isinstance(value, float):
        return value / 2 or 0.5
    assert isinstance(value, list), f"{key}: name another value in OTHER_VALUES"
    return [value[0], *(each / 2 + value[0] / 2 for each in value[1:])]


def computed_by(settings):
    """Return a hash of a few steps, of how they end and of what would be evaluated when."""
    training = build(settings)
    dataset, schedule = training.dataset, training.schedule
    found = [dataset.splits.train.indices, dataset.splits.val.indices, dataset.splits.test.indices]
    found += [[schedule.evaluates_after(step) for step in range(200)], schedule.total_steps]
    found += [[learning_rate(settings.optimizer, step, 10) for step in range(10)]]
    found += [settings.method.select, settings.method.train_figures, settings.method.mirrored]
    found += [settings.bn_statistics]
    found += [[source.indices for source in training.feed.sources]]
    training.method.train()
    for step in range(2):
        torch.manual_seed(step)
        found.append(training.take_step(step))
    found.append(training.method.state_dict())
    points = torch.randn(80, 4, generator=torch.Generator().manual_seed(0))
    train, val = ((part, (part > 0).sum(1)) for part in points.split(40))
    found.append(training.method.evaluations(train, {"val": val}))

    def embed_train(view="plain"):
        found.append(view)
        return train

    classifier = training.method.classifier(embed_train)
    return hash_of(as_arrays([*found, classifier.state_dict()]))


def as_arrays(value):
    """Turn tensors in nested values into arrays, of which equal ones are hashed alike."""
    if isinstance(value, dict):
        return {key: as_arrays(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_arrays(each) for each in value]
    return value.numpy() if isinstance(value, torch.Tensor) else value


def encoded_by(settings):
    """Return a hash of an encoder's weights, of what it computes, and of what it keeps of that."""
    torch.manual_seed(0)
    encoder = settings.model.build()
    images = torch.rand(2, 3, 96, 96)
    return hash_of(as_arrays([encoder(images).detach(), encoder.state_dict()]))


def viewed_by(operation):
    """Return a hash of what an operation makes of some images."""
    images = torch.rand(32, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    drawn = operation.sample(torch.Generator().manual_seed(0), 32, 96)
    applied = torch.linspace(0.01, 0.99, 32) < operation.p
    return hash_of(as_arrays([operation.apply(images, drawn)[applied]]))


@pytest.mark.parametrize(
    ("typed", "groups", "compute"),
    [
        (f"{THIN} method=barlow", ("method",), computed_by),
        # The settings of their own.
        (f"{THIN} method=simclr", ("method.temperature", "method.projector"), computed_by),
        (f"{THIN} method=byol {BYOL}", ("method.target_decay", "method.predictor"), computed_by),
        (f"{THIN} method=vicreg method.projector=[8,8]", VICREG, computed_by),
        (f"{THIN} method=mixed_barlow", ("method.mix_weight", "method.lambd"), computed_by),
        (f"{THIN} {SEMI} {WRN}".replace("model.channels=4 ", ""), ("method",), computed_by),
        (f"{FEW} method=flexmatch method.threshold=0.11", ("method.threshold",), computed_by),
        (f"{FEW} method=freematch", ("method.decay", "method.fairness_weight"), computed_by),
        (f"{FEW} method=softmatch", SOFTMATCH, computed_by),
        (f"{FEW} method=mean_teacher", MEAN_TEACHER, computed_by),
        (f"{THIN} {SEMI}", ("optimizer", "ratio", "data", "settings"), computed_by),
        (f"{THIN} {SEMI} optimizer=sgd", ("optimizer",), computed_by),
        *((f"model={model}", ("model",), encoded_by) for model in ("convnet", "resnet18")),
        (WRN, ("model",), encoded_by),
    ],
)
def test_a_setting_changes_the_id_if_and_only_if_it_changes_what_is_computed(
    typed, groups, compute, outputs
):
    shared = (*typed.split(), f"outputs={outputs}")
    settings = compose(*shared)
    usual, known = compute(settings), cell_id(settings)
    assert compute(settings) == usual
    wrong = []
    for key, value in settings_in(settings):
        group = key.partition(".")[0] if "." in key else "settings"
        if not {group, key}.isdisjoint(groups):
            other = compose(*shared, f"{key}={another(key, value)}".replace(" ", ""))
            if (compute(other) == usual) != (cell_id(other) == known):
                wrong.append(key)
    assert not wrong


@pytest.mark.parametrize("method", ["barlow", "semi"])
def test_a_setting_of_an_operation_changes_the_id_as_it_changes_views(method):
    settings = compose(f"method={method}")
    known = cell_id(settings)
    views = {"view_a": settings.augmentation.view_a, "view_b": settings.augmentation.view_b}
    places = [(view, name) for view, operations in views.items() for name in operations]
    for view, name in places:
        usual = viewed_by(views[view][name])
        for key, value in settings_in(views[view][name]):
            changed = replace(views[view][name], **{key: another(key, value)})
            augmentation = Augmentation(method, **views | {view: views[view] | {name: changed}})
            other = replace(settings, augmentation=augmentation)
            assert (viewed_by(changed) == usual) == (cell_id(other) == known), (view, name, key)


def test_a_ratio_of_batches_is_no_part_of_a_method_whose_batches_have_none():
    found = {
        cell_id(compose("method=barlow", f"ratio={ratio}", "ratio.of=batch"))
        for ratio in ("1:1", "1:5")
    }
    assert found == {cell_id(compose("method=barlow", "ratio=all"))}


@pytest.mark.parametrize(
    ("alike", "other"),
    [
        (("", "data.num_labeled=100%", "data.num_labeled=60"), "data.num_labeled=50"),
        (("data.num_labeled=50%", "data.num_labeled=30", "data.num_labeled=50.0%"), ""),
        (("", "data.unlabeled_from=train"), "seed=1"),
        (("data.val_from=train", "data.val_from=train data.num_labeled=50"), ""),
        (("method=barlow", *(f"method=barlow method.knn_k={k}" for k in (60, 200, 999))), ""),
        (("method=barlow method.knn_k=9",), "method=barlow method.knn_k=10"),
        (("", "data.test_fraction=0.1", "data.val_from=test"), "data.val_fraction=0.3"),
        ((OF_BATCHES, f"{OF_BATCHES} method.unlabeled_batch_size=8"), "method=semi ratio=1:5"),
        (("method.freeze=true", "method.freeze=true method.layer_decay=0.5"), ""),
    ],
)
def test_settings_that_take_the_same_images_are_one_cell(alike, other, outputs):
    ids = {make_cell(outputs, *words.split()).id for words in alike}
    assert len(ids) == 1
    assert make_cell(outputs, *other.split()).id not in ids


class TestIdentity:
    @staticmethod
    @cache
    def id(*overrides):
        return cell_id(composer(["data=digits", *overrides])[0])

    @pytest.mark.parametrize(
        "override",
        """
            seed=1 model=resnet18 model.channels=64 method.epochs=3 optimizer.lr=0.1 steps=7
            precision=fp32 data.num_labeled=40 data.split_seed=2
            augmentation.view_a.flip.p=0.1 method.threshold=0.5 ratio=1:5 optimizer=adamw
            init.from='x.pt#0123456789abcdef'
        """.split(),
    )
    def test_what_changes_numbers_changes_the_id(self, override):
        assert self.id("method=semi", override) != self.id("method=semi")

    @pytest.mark.parametrize(
        "override",
        """
            device=cpu threads=1 tracking=off tracking.group=table1 outputs=elsewhere
            compile=off log_every=3 data.root=elsewhere cells_per_device=4 gpu_sharing=none
            method.snapshot_steps=[3] method.adam_lr=0.7,optimizer.lr=0.002
        """.split(),
    )
    def test_how_a_cell_is_run_does_not(self, override):
        assert self.id("method=semi", *override.split(",")) == self.id("method=semi")

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("seed=1 method=semi", "method=semi seed=1"),
            ("ratio=1:5", "ratio=1:20"),  # of no use to supervised learning
            ("augmentation.view_b.flip.p=0.1", ""),
            ("steps=7 method.epochs=3", "steps=7"),
            ("init.from='a.pt#0123456789abcdef'", "init.from='b/c.pt#0123456789abcdef'"),
        ],
    )
    def test_what_changes_nothing_does_not(self, one, other):
        assert self.id(*one.split()) == self.id(*other.split())

    def test_an_augmentations_name_does_not(self):
        settings = compose()
        renamed = replace(settings.augmentation, name="mine")
        assert cell_id(replace(settings, augmentation=renamed)) == cell_id(settings)

    def test_order_and_names_of_operations_do_and_those_never_applied_do_not(self):
        settings = compose()

        def id_with(view):
            return cell_id(replace(settings, augmentation=Augmentation("mine", view)))

        flip, gray = Flip(), Grayscale()
        usual = id_with({"flip": flip, "gray": gray})
        assert id_with({"gray": gray, "flip": flip}) != usual
        assert id_with({"mirror": flip, "gray": gray}) != usual
        assert id_with({"flip": flip, "never": Flip(p=0.0), "gray": gray}) == usual

    def test_the_import_path_of_a_part_from_outside_does(self):
        settings = compose()

        def id_of(module):
            kind = dataclass(type("ConvNet", (ConvNet,), {"__module__": module}))
            return cell_id(replace(settings, model=kind(name="convnet")))

        assert len({id_of("mine.nets"), id_of("yours.nets"), cell_id(settings)}) == 3
        assert id_of("sslbench.anywhere") == cell_id(settings)  # where files may move

    def test_the_id_of_the_papers_cell_stays_what_it_is(self):
        settings = compose_settings(["data=stl10", "method=semi", "model=wrn45_2"])
        assert cell_id(settings) == "semi-wrn45_2-1to20-stl10-s0-b7f6b970"
