from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from oracles import ROOT
from relevance import attacks
from relevance.attacks import objectives
from relevance.networks.posterior import Posterior

pytestmark = pytest.mark.stochastic


def test_objectives_are_what_they_say(twenty, some_images, some_labels):
    logits = twenty.logits(some_images)
    p = logits.softmax(-1).mean(0)
    at = torch.arange(6), some_labels
    assert torch.allclose(objectives.cross_entropy(logits, some_labels), -p[at].log())
    others = p.scatter(1, some_labels[:, None], 0).amax(1)
    assert torch.allclose(objectives.margin(logits, some_labels), (others / p[at]).log())
    wrong = twenty.predict(some_images).argmax(1) != some_labels
    assert torch.equal(objectives.margin(logits, some_labels) > 0, wrong)
    assert torch.allclose(objectives.mean_logit(logits, some_labels), -logits.mean(0).log_softmax(-1)[at])
    each = torch.stack([objectives.cross_entropy(one[None], some_labels) for one in logits])
    assert torch.allclose(objectives.mean_loss(logits, some_labels), each.mean(0))
    one = objectives.margin(logits[:1], some_labels)
    wrong_logits = logits[0].scatter(1, some_labels[:, None], -torch.inf).amax(1)
    assert torch.allclose(one, wrong_logits - logits[0][at])


def test_the_book_s_margin_is_that_of_the_true_class():
    """Three pages say what a margin is; an attack on it raises its negative."""
    for page in ("appendix/glossary", "background/adversarial-attacks", "background/certificates"):
        text = " ".join((ROOT / f"book/{page}.md").read_text().split())
        told = re.findall(
            r"of the (?:true class|label) less (?:the largest other one|that of the strongest wrong one)", text
        )
        assert len(told) == 1, page
    sure = torch.tensor([[[3.0, 1.0, 0.0]]])
    assert objectives.margin(sure, torch.tensor([0])).item() == pytest.approx(-2)


def test_the_mean_loss_is_followed_along_the_mean_of_the_samples_gradients(twenty, some_images, some_labels):
    """The formula that the paper prints."""
    gradients = [attacks.loss_gradient(twenty[index : index + 1], some_images, some_labels) for index in range(20)]
    found = attacks.loss_gradient(twenty, some_images, some_labels, objective="mean_loss")
    assert torch.allclose(found, torch.stack(gradients).mean(0), atol=1e-6)


def test_an_objective_may_be_a_function(twenty, some_images, some_labels):
    named, given = (
        attacks.pgd(twenty, some_images, some_labels, 0.2, objective=objective)
        for objective in ("mean_logit", objectives.mean_logit)
    )
    assert torch.equal(named, given)


def test_the_margin_goes_on_where_cross_entropy_stops():
    """A network that is sure: in float32 its loss has no gradient, the difference of its logits has one."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    weight = torch.tensor([[1.0, 1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]]) * 30
    posterior = Posterior(network, {"1.weight": weight[None]})
    images, labels = torch.full((1, 1, 2, 2), 0.6), torch.tensor([0])
    assert (attacks.loss_gradient(posterior, images, labels) == 0).all()
    assert torch.equal(attacks.fgsm(posterior, images, labels, 0.2), images)
    moved = attacks.fgsm(posterior, images, labels, 0.2, objective="margin")
    assert torch.allclose(moved, torch.full_like(moved, 0.4))
