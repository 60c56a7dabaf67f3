"""Semi-supervised methods: Mean Teacher's formula, and what points without labels teach."""

import math
from functools import cache

import pytest
import torch
from helpers.cells import generator
from helpers.points import NUM_CLASSES, POOL, build, cross_entropy
from torch.testing import assert_close

from sslbench.config.compose import compose_settings
from sslbench.config.parts import Sizes
from sslbench.methods.flexmatch import FlexMatch
from sslbench.methods.freematch import FreeMatch
from sslbench.methods.mean_teacher import MeanTeacher
from sslbench.methods.semi import Semi
from sslbench.methods.softmatch import SoftMatch

C, CLASSES = NUM_CLASSES, range(NUM_CLASSES)


def student_batch(step):
    drawn = generator(step)
    images = {
        name: torch.randn(6, 3, generator=drawn) for name in ("labeled", "student", "teacher")
    }
    return images | {"labels": torch.randint(C, (6,), generator=drawn)}


def test_mean_teacher_is_its_formula_step_after_step():
    settings = MeanTeacher(unlabeled_weight=7.0, ramp_up_steps=4, teacher_decay=0.9)
    module = build(settings, embedding_dim=3)
    optimizer = torch.optim.SGD(module.param_groups(), lr=0.5)
    student = [it.detach().double().requires_grad_() for it in module.student.head.parameters()]
    teacher = [it.detach().clone() for it in student]
    for step in range(6):
        batch = student_batch(step)
        x = {name: value.double() for name, value in batch.items() if name != "labels"}
        expected = distance = 0
        for image, label in zip(x["labeled"], batch["labels"], strict=True):
            expected += cross_entropy(student[0] @ image + student[1], label) / 6
        for ours, theirs in zip(x["student"], x["teacher"], strict=True):
            q = (student[0] @ ours + student[1]).softmax(0)
            p = (teacher[0] @ theirs + teacher[1]).softmax(0)
            distance += sum((q[c] - p[c]) ** 2 for c in CLASSES) / C / 6
        expected += 7 * math.exp(-5 * (1 - min(step / 4, 1)) ** 2) * distance
        loss, metrics = module(batch)
        assert_close(loss.detach(), expected.detach().float())
        assert metrics["loss_unlabeled"].item() == pytest.approx(distance.item(), rel=1e-5)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        module.after_step()
        gradients = torch.autograd.grad(expected, student)
        student = [
            (it - 0.5 * gradient).detach().requires_grad_()
            for it, gradient in zip(student, gradients, strict=True)
        ]
        teacher = [0.9 * t + 0.1 * s.detach() for t, s in zip(teacher, student, strict=True)]
    for found, expected in zip(module.classifier(dict).parameters(), teacher, strict=True):
        assert_close(found, expected.float())


def test_the_teachers_statistics_are_of_what_it_sees_itself():
    encoder = torch.nn.BatchNorm1d(3, momentum=1.0)
    encoder.embedding_dim = 3
    module = MeanTeacher().build(encoder, Sizes(C, 6, num_unlabeled=20, num_pool=POOL))
    batch = student_batch(0)
    module(batch)
    module.after_step()
    assert_close(module.evaluated_encoder.running_mean, batch["teacher"].mean(0))
    seen = torch.cat([batch["labeled"], batch["student"]])
    assert_close(module.encoder.running_mean, seen.mean(0))


def test_mean_teacher_of_no_weight_is_supervised_and_without_ramp_up_has_all_of_it():
    batch = student_batch(0)
    for weight in (0.0, 5.0):
        settings = MeanTeacher(unlabeled_weight=weight, ramp_up_steps=0)
        loss, metrics = build(settings, embedding_dim=3)(batch)
        assert metrics["consistency_weight"] == weight
        assert_close(loss.detach(), metrics["loss_labeled"] + weight * metrics["loss_unlabeled"])


def test_the_weight_of_the_unlabelled_loss_rises_step_by_step():
    module = build(Semi(unlabeled_weight=3.0, ramp_up_steps=2), embedding_dim=3)
    batch = student_batch(0)
    batch |= {"weak": batch["teacher"], "strong": batch["student"]}
    batch |= {"unlabeled_indices": torch.arange(6)}
    for share in (0, 0.5, 1, 1):
        loss, metrics = module(batch)
        weight = 3 * math.exp(-5 * (1 - share) ** 2)
        assert_close(loss.detach(), metrics["loss_labeled"] + weight * metrics["loss_unlabeled"])
        module.after_step()


def test_fixmatch_is_as_published():
    method = compose_settings(["method=fixmatch"]).method
    assert type(method) is Semi
    assert (method.threshold, method.ema, method.weak_pass) == (0.95, 0.999, "joint")
    assert (method.batch_size, method.unlabeled_batch_size) == (64, 7 * 64)
    assert (method.unlabeled_weight, method.pseudo_labels) == (1, "hard")


@cache
def accuracy_on_clusters(kind, **settings):
    """Train on one labelled point of each of four clusters, and on many without labels."""
    drawn = generator(2)
    centers = 3 * torch.randn(C, 8, generator=drawn)
    module = build(kind(**settings), embedding_dim=8)
    optimizer = torch.optim.SGD(module.param_groups(), lr=0.1)

    def points(num):
        classes = torch.arange(num) % C
        return centers[classes] + 2 * torch.randn(num, 8, generator=drawn), classes

    labeled, labels = points(C)
    for _ in range(150):
        weak, _ = points(64)
        strong = weak + torch.randn(64, 8, generator=drawn)
        batch = {"labeled": labeled, "labels": labels, "unlabeled_indices": torch.arange(64) % POOL}
        batch |= {"weak": weak, "strong": strong, "teacher": weak, "student": strong}
        module(batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        module.after_step()
    images, classes = points(400)
    return (module.classifier(dict)(images).argmax(1) == classes).float().mean().item()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Semi, {"threshold": 0.8}),
        (FlexMatch, {}),
        (FreeMatch, {"decay": 0.9}),
        (SoftMatch, {"decay": 0.9}),
        (MeanTeacher, {"ramp_up_steps": 50, "unlabeled_weight": 10.0, "teacher_decay": 0.9}),
    ],
)
def test_points_without_labels_help(kind, settings):
    without = accuracy_on_clusters(Semi, unlabeled_weight=0.0)
    assert accuracy_on_clusters(kind, **settings) > without + 0.05 > 0.8
