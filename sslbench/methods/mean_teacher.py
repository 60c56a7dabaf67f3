"""Mean Teacher (Tarvainen and Valpola 2017): predictions agree with those of averaged weights."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from sslbench.config.durations import slow_average
from sslbench.config.parts import Sizes
from sslbench.config.ranges import below_one
from sslbench.interfaces import Batch, EmbedTrain, MethodModule, Step, ViewAccuracy
from sslbench.methods.average import frozen_copy, move_average
from sslbench.methods.classifier import Classifier
from sslbench.methods.losses import accuracy, cross_entropy
from sslbench.methods.pseudo_labels import balance
from sslbench.methods.ramp_up import RampUp
from sslbench.methods.semi_supervised import SemiSupervised


@dataclass
class MeanTeacher(SemiSupervised):
    """Consistency of student and teacher on unlabelled images; theirs is on labelled ones too.

    The loss of labelled images is a mean over them; in theirs it is divided by all images of the
    batch, which at these sizes gives the consistency four times the weight that it has here.
    """

    UNLABELED_VIEWS: ClassVar[dict[str, str]] = {"student": "view_a", "teacher": "view_a"}
    name: str = "mean_teacher"
    batch_size: int = 32
    """Theirs: 31 of 128 images are labelled."""
    unlabeled_batch_size: int = 96
    unlabeled_weight: float = 100.0
    """Of the consistency, at the end of its ramp-up."""
    ramp_up_steps: int = 4000
    """As in every such method. Theirs: 40,000 of 150,000 steps."""
    teacher_decay: float = 0.999
    """Of the teacher, an average of the student's weights, which is evaluated. Theirs: 0.99 while
    the weight rises, then 0.999."""

    def __post_init__(self) -> None:
        super().__post_init__()
        below_one("method.teacher_decay", self.teacher_decay)

    def too_slow(self, num_steps: int) -> list[str]:
        teacher = slow_average("method.teacher_decay", self.teacher_decay, num_steps)
        return super().too_slow(num_steps) + teacher

    def contradictions(self) -> list[str]:
        lines = super().contradictions()
        if self.ema > 0:
            lines.append(
                f"method.ema={self.ema:g}: averages the teacher, which is an average already, and "
                "lags behind it; with method.ema=0 the teacher is evaluated"
            )
        return lines

    def build(self, encoder: nn.Module, sizes: Sizes) -> MethodModule:
        return MeanTeacherModule(encoder, sizes.num_classes, self)


class MeanTeacherModule(MethodModule):
    """Cross-entropy plus the squared distance of the student's probabilities from the teacher's.

    `student` and `teacher` of a batch are two views of the same unlabelled images. The teacher sees
    them as the student does, so that the statistics of its BatchNorm are its own.
    """

    def __init__(self, encoder: nn.Module, num_classes: int, settings: MeanTeacher) -> None:
        super().__init__()
        self.student = Classifier(encoder, num_classes, settings.label_smoothing)
        self.teacher = frozen_copy(self.student)
        self.decay, self.weight = settings.teacher_decay, settings.unlabeled_weight
        self.ramp_up = RampUp(settings.ramp_up_steps)

    @property
    def encoder(self) -> nn.Module:
        """The student's."""
        return self.student.encoder

    def forward(self, batch: Batch) -> Step:
        images, labels = [batch["labeled"], batch["student"]], batch["labels"]
        sizes = [len(each) for each in images]
        logits_labeled, logits_student = self.student.logits(torch.cat(images)).split(sizes)
        with torch.no_grad():
            taught = self.teacher.logits(batch["teacher"]).float().softmax(1)
        loss_labeled = cross_entropy(logits_labeled, labels, self.student.label_smoothing)
        consistency = F.mse_loss(logits_student.float().softmax(1), taught)
        weight = self.weight * self.ramp_up()
        metrics = {
            "accuracy": accuracy(logits_labeled.detach(), labels),
            "loss_labeled": loss_labeled.detach(),
            "loss_unlabeled": consistency.detach(),
            "consistency_weight": weight,
            **balance(taught),
        }
        return Step(loss_labeled + weight * consistency, metrics)

    def after_step(self) -> None:
        self.ramp_up.advance()
        move_average(self.teacher, self.student, self.decay)

    @property
    def evaluated_encoder(self) -> nn.Module:
        return self.teacher.encoder

    def classifier(self, embed_train: EmbedTrain) -> nn.Module:
        return self.teacher.head

    def validation_metrics(self, view_accuracy: ViewAccuracy) -> dict[str, float]:
        return {"pseudo_label_accuracy": view_accuracy(self.teacher.logits, "view_a")}
