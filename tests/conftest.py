from __future__ import annotations

import os

# Processes of pytest-xdist share the cores: each computes on one thread, and so does what it starts.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import pytest
import torch
from torch import nn

from browsing import Complaints, browsing
from relevance import networks
from relevance.datasets import Dataset
from relevance.posterior import Posterior


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv("RELEVANCE_DEVICE", "cpu")
    monkeypatch.setenv("RELEVANCE_PROGRESS", "0")


def random_posterior(network: nn.Module, n_samples: int, seed: int = 0, scale: float = 1.0) -> Posterior:
    """Samples drawn around the network's own initial parameters, in float64."""
    generator = torch.Generator().manual_seed(seed)
    samples = {
        name: torch.randn((n_samples, *value.shape), generator=generator, dtype=torch.float64)
        * scale
        / value.shape[-1] ** 0.5
        for name, value in network.named_parameters()
    }
    return Posterior(network.double(), samples)


@pytest.fixture
def dense_posterior():
    """Five samples of a small dense network on images of 1x4x4 pixels and 3 classes, in float64."""
    return random_posterior(networks.fully_connected((1, 4, 4), hidden=7, n_classes=3), n_samples=5)


@pytest.fixture
def some_images():
    return torch.rand((6, 1, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def some_labels():
    return torch.tensor([0, 1, 2, 2, 1, 0])


@pytest.fixture
def tiny_data():
    """Three classes of noisy images, 90 to train and 30 to test, that a small network can learn."""
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(120) % 3
    means = torch.eye(3).repeat_interleave(5, dim=1)[:, :16]
    means = torch.cat([means, torch.zeros(3, 1)], dim=1)
    images = (0.2 + 0.6 * means[labels] + 0.1 * torch.randn((120, 16), generator=generator)).clamp(0, 1)
    images = images.reshape(120, 1, 4, 4)
    return Dataset("tiny", images[:90], labels[:90], images[90:], labels[90:], ("a", "b", "c"), "tiny: made up")


@pytest.fixture(scope="module")
def browser():
    """Chromium, for the tests of one module; they are skipped where it is not installed."""
    with browsing() as running:
        yield running


@pytest.fixture
def complaints():
    """What the page of this test did that no page may do; the test fails if there is anything."""
    found = Complaints()
    yield found
    assert found == []


@pytest.fixture
def page(browser, complaints):
    """A new page 1400 pixels wide, light, that may ask no other host."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, color_scheme="light")
    yield complaints.watch(context.new_page())
    context.close()
