"""A reader's own file, checkpoints and folder, as they are and as they are not; and the examples in their place."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from relevance.networks.posterior import Posterior
from relevance.studies.own import examples

NET = """
import torch
from torch import nn
from beside import WIDTH

class Net(nn.Module):
    def __init__(self, width=WIDTH):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.last = nn.Linear(4 * 36, width)
    def forward(self, x):
        return self.last(torch.relu(self.conv(x)).flatten(1))

made = Net()
NUMBER = 3
def wants(width): return Net(width)
def nothing(): return None
"""
SHAPE = (3, 8, 8)


@pytest.fixture
def mine(tmp_path):
    """A folder as a reader has it: a file, two checkpoints, three pictures of several sizes."""
    (tmp_path / "my_network.py").write_text(NET)
    (tmp_path / "beside.py").write_text("WIDTH = 5\n")
    net = examples.network(f"{tmp_path}/my_network.py:Net")
    for index in range(2):
        torch.manual_seed(index)
        torch.save(
            {name: torch.randn_like(value) for name, value in net.state_dict().items()}, tmp_path / f"net{index}.pth"
        )
    (tmp_path / "images" / "cats").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (8, 8, 3)), ("b.jpg", (20, 12, 3)), ("cats/c.png", (9, 9))):
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(tmp_path / "images" / name)
    return tmp_path


def test_what_a_reader_brings_is_taken(mine):
    for name in ("Net", "made"):
        assert type(examples.network(f"{mine}/my_network.py:{name}")).__name__ == "Net"
    net = examples.network(f"{mine}/my_network.py:Net")
    posterior = examples.posterior(net, f"{mine}/net*.pth", SHAPE, [0.5] * 3, [0.2] * 3)
    images = examples.images(f"{mine}/images", SHAPE)
    assert (len(posterior), tuple(images.shape)) == (2, (3, *SHAPE))
    net.load_state_dict(torch.load(mine / "net1.pth", weights_only=True))
    assert torch.allclose(
        posterior[1].logits(images.to(posterior.device))[0].cpu(), net((images.cpu() - 0.5) / 0.2), atol=1e-4
    )
    assert len(examples.posterior(net, f"{mine}/net0.pth", SHAPE)) == 1
    assert len(examples.images(f"{mine}/images", SHAPE, n_images=2)) == 2


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ("other", "network is 'other'; it may be dense, convolutional, or file.py:Name"),
        ("{}/my_network.py", "network is .*; it may be dense"),
        ("{}/missing.py:Net", "whose file is not there; it must be"),
        ("{}/my_network.py:Missing", "network Missing is None; it must be a torch.nn.Module, or make one"),
        ("{}/my_network.py:NUMBER", "network NUMBER is 3; it must be"),
        ("{}/my_network.py:nothing", "network nothing is None; it must be"),
        ("{}/my_network.py:wants", "cannot be called without arguments"),
        ("{}/broken.py:Net", "which fails .*ZeroDivisionError"),
        (3, "network is 3; it must be a text"),
    ],
)
def test_networks_that_are_none_are_refused(given, match, mine):
    (mine / "broken.py").write_text("1 / 0")
    with pytest.raises(ValueError, match=match) as error:
        examples.network(given.format(mine) if isinstance(given, str) else given)
    assert len(str(error.value)) <= 400


def test_files_and_folders_that_are_not_there_are_refused(mine):
    net = examples.network(f"{mine}/my_network.py:Net")
    (mine / "empty").mkdir()
    for given, match in (
        ("nowhere/*.pth", "posterior is 'nowhere/.*which is no file"),
        ("five checkpoints", "an example for the networks dense and convolutional; it must be a path"),
        (3, "posterior is 3"),
    ):
        with pytest.raises(ValueError, match=match):
            examples.posterior(net, given, SHAPE)
    for given, match in (("nowhere", "folder is 'nowhere', which is no folder"), (3, "folder is 3"),
                         (f"{mine}/images/cats", "holds 1 image"),
                         (f"{mine}/empty", "holds no image")):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            examples.images(given, SHAPE)


@pytest.mark.parametrize("folder", examples.EXAMPLES["folder"])
def test_folders_of_examples(folder):
    images = examples.images(folder, n_images=5, seed=2)
    assert images.shape == (5, *examples.SHAPE)
    assert torch.equal(images, examples.images(folder, n_images=5, seed=2))
    assert not torch.equal(images, examples.images(folder, n_images=5, seed=3))


def test_examples_come_in_by_their_doors(monkeypatch):
    monkeypatch.setattr(examples, "EPOCHS", 1)
    monkeypatch.setattr(examples, "N_TRAIN", 20)
    monkeypatch.setattr(examples, "HIDDEN", 4)
    sizes = {examples.CHECKPOINT: 1, examples.ENSEMBLE: examples.N_MEMBERS, examples.LAPLACE: 20}
    for network, posterior in itertools.product(examples.EXAMPLES["network"], examples.EXAMPLES["posterior"]):
        found = examples.posterior(examples.network(network), posterior)
        assert isinstance(found, Posterior)
        assert len(found) == sizes[posterior]
        assert found.record["drawn by"] == posterior
        varying = {name for name, value in found.samples.items() if len(value) > 1 and value.float().std(0).max() > 0}
        assert (
            varying
            == {
                examples.CHECKPOINT: set(),
                examples.ENSEMBLE: set(found.samples),
                examples.LAPLACE: set(list(found.samples)[-2:]),
            }[posterior]
        )


def test_the_network_for_chains_is_small():
    network = examples.pooled()
    assert network(torch.zeros(2, *examples.SHAPE)).shape == (2, 10)
    assert isinstance(network, nn.Sequential)
