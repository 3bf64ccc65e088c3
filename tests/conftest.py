from __future__ import annotations

import os

import pytest
import torch

from browsing import Complaints, browsing
from oracles import KNOWN_PIXELS, OUTCOME_SETTINGS, SMALL_EVALUATION, planted_halves, random_posterior
from relevance import attacks, inference
from relevance.datasets import reading
from relevance.datasets.dataset import Dataset
from relevance.explanations.rules import Epsilon
from relevance.networks import architectures
from relevance.studies import experiment, tables

# Processes of pytest-xdist share the cores: each computes on one thread if nothing else is said, and so does what it starts.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MKL_NUM_THREADS", "1")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # torch has read the variable already


@pytest.fixture(autouse=True)
def _seeded():
    """What a test draws without a seed of its own must not depend on the tests that ran before it in its process."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv("RELEVANCE_DEVICE", "cpu")
    monkeypatch.setenv("RELEVANCE_PROGRESS", "0")


@pytest.fixture
def own_store(tmp_path, monkeypatch):
    """A store that nobody else has."""
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))


@pytest.fixture
def dense_posterior():
    """Five samples of a small dense network on images of 1x4x4 pixels and 3 classes, in float64."""
    return random_posterior(architectures.fully_connected((1, 4, 4), hidden=7, n_classes=3), n_samples=5)


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


@pytest.fixture(scope="module")
def trained_ensemble():
    data = reading.load("digits")
    network = architectures.fully_connected(data.image_shape, hidden=32)
    posterior = inference.deep_ensemble(network, data, n_samples=4, epochs=15, progress=False)
    other = inference.sgd(network, data, epochs=15, seed=9, progress=False)
    return posterior, other, *data.balanced_test(60, seed=0)


@pytest.fixture(scope="module")
def evaluation_table(trained_ensemble):
    posterior, other, images, labels = trained_ensemble
    return attacks.evaluate(posterior, images, labels, 0.15, surrogate=other, **SMALL_EVALUATION)


@pytest.fixture
def outcomes(dense_posterior, some_images, some_labels):
    models = {"deterministic": dense_posterior[0], "5 samples": dense_posterior}
    return experiment.outcomes(models, some_images, some_labels, OUTCOME_SETTINGS)


@pytest.fixture
def outcome_rows(outcomes):
    return tables.robustness_table(outcomes)


@pytest.fixture
def galleries(dense_posterior, some_images, some_labels):
    given = {"rule": Epsilon(0.1), "top_percent": 25, "n_steps": 3, "seed": 1}
    return {
        "one": experiment.gallery(dense_posterior[0], some_images, some_labels, 0.2, **given),
        "five": experiment.gallery(dense_posterior, some_images, some_labels, 0.2, **given),
    }


@pytest.fixture(scope="module")
def halves():
    return planted_halves()


@pytest.fixture(scope="module")
def planted_bits():
    """Images of 6x6 pixels: noise, but for two pixels that are black or white as the class's two bits say."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((4000, 36), generator=generator)
    labels = torch.arange(4000) % 4
    images[:, KNOWN_PIXELS[0]], images[:, KNOWN_PIXELS[1]] = (labels % 2).float(), (labels // 2).float()
    images = images.reshape(-1, 1, 6, 6)
    return Dataset("planted", images[:2000], labels[:2000], images[2000:], labels[2000:], tuple("abcd"), "made up")


@pytest.fixture
def target(dense_posterior, some_images):
    return dense_posterior.predict(some_images).argmax(1)
