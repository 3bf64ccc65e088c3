"""Defensive distillation: a network taught by another's soft labels at a high temperature (Papernot et al. 2016)."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.inference import training
from relevance.inference.training import Settings as TrainingSettings
from relevance.inference.training import Terms, fit
from relevance.networks.posterior import Posterior

# From the student's seed to the teacher's: no student of an ensemble starts as another one's teacher did.
APART = 10_000


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """How teacher and student are trained.

    Attributes:
        temperature: T of the soft labels, softmax(z / T) of the teacher's logits z; above 0.
        teacher_temperature: of the softmax with which the teacher is trained; ``temperature`` if None.
        student_temperature: of the softmax with which the student is trained; ``temperature`` if None.
    """

    temperature: float = checks.real(100.0, above=0)
    teacher_temperature: float | None = checks.real(None, above=0)
    student_temperature: float | None = checks.real(None, above=0)


def distillation(network: nn.Module, data: Dataset, *, progress: bool = True, **settings: Any) -> Posterior:
    """Train a teacher, then a student of the same architecture on its soft labels; return the student.

    By default this is Papernot et al. 2016 (arXiv:1511.04508, Sec. IV): teacher and student are both trained with the
    softmax at ``temperature``, and the student is used at temperature 1. To give soft labels at T its logits have to be T
    times as large as usual, so that at 1 its softmax saturates: the gradient of its cross-entropy shrinks, to exactly zero
    where the other classes' probabilities underflow. The margin between its logits does not shrink.

    Zeng et al. (supplement, Sec. A1) describe less: a teacher trained "by standard training manner", whose logits are
    divided by T for the labels, and do not say at which temperature the student is trained. With
    ``teacher_temperature=1, student_temperature=1`` that is taken at its word; the student's logits are then T times
    *smaller*, its probabilities nearly even, and its gradients small for that reason.

    Arguments are those of :func:`relevance.inference.sgd`, settings the fields of :class:`Settings`.

    Returns:
        A posterior of one sample, the student at temperature 1; ``record["history"]`` has its soft cross-entropy and its
        accuracy of every epoch, ``record["teacher"]`` the teacher's.
    """
    chosen = checks.settings(Settings, settings)
    checks.seed("seed", chosen.seed, after=APART)
    started = time.perf_counter()
    of_teacher = replace(chosen, seed=chosen.seed + APART)
    hard = _hard(chosen.teacher_temperature or chosen.temperature)
    teacher, taught = fit(network, data, of_teacher, "teacher", terms=hard, show=progress)
    # Without augmentation an image's soft label never changes, and a forward pass costs less than keeping track of it.
    teacher = teacher.eval().requires_grad_(False)
    soft = _soft(teacher, chosen.temperature, chosen.student_temperature or chosen.temperature)
    student, history = fit(network, data, chosen, "student", terms=soft, show=progress)
    record = training.record("distillation", data, asdict(chosen), started, history=history, teacher=taught)
    return Posterior.of(student, record)


def _hard(temperature: float) -> Terms:
    def terms(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = model(images)
        loss = functional.cross_entropy(logits / temperature, labels)
        return logits, loss, torch.zeros_like(loss)

    return terms


def _soft(teacher: nn.Module, temperature: float, own: float) -> Terms:
    def terms(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            wanted = (teacher(images) / temperature).softmax(-1)
        logits = model(images)
        loss = functional.cross_entropy(logits / own, wanted)
        return logits, loss, torch.zeros_like(loss)

    return terms
