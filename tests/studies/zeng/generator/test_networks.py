from __future__ import annotations

import pytest
import torch

from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies.zeng.generator import networks
from relevance.studies.zeng.generator.training import Generated

pytestmark = pytest.mark.stochastic


def test_features_are_what_the_output_layer_reads(classifier, halves):
    images = halves.test_images[:4]
    weight, bias = classifier.samples["5.weight"][0], classifier.samples["5.bias"][0]
    found = networks.features(classifier, images)
    torch.testing.assert_close(found @ weight.T + bias, classifier.logits(images)[0])
    many = Posterior(
        classifier.network, {name: torch.cat([value, value]) for name, value in classifier.samples.items()}
    )
    torch.testing.assert_close(networks.features(many, images), found)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 5, 9)])
def test_maps_have_the_images_size_and_channels_share_them(shape):
    images = torch.rand((2, *shape), generator=torch.Generator().manual_seed(0))
    classifier = Posterior.of(architectures.fully_connected(shape, hidden=6, n_classes=3))
    target = torch.tensor([0, 2])
    for built, reads in ((networks.encoder_decoder(shape, 4), False), (networks.decoder(classifier, shape, 4), True)):
        maps = Generated(Posterior.of(built), reads)(classifier, images, target)
        assert maps.shape == images.shape
        assert torch.equal(maps[:, 0], maps[:, -1])
        assert ((maps.sum(1) > 0) & (maps.sum(1) < 1)).all()


def test_a_decoder_reads_the_last_convolution_where_there_is_one():
    classifier = Posterior.of(architectures.convolutional((1, 28, 28), hidden=5, n_classes=3))
    images = torch.rand((2, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    assert networks.features(classifier, images).shape[:2] == (2, 5)
    explain = Generated(Posterior.of(networks.decoder(classifier, (1, 28, 28), 4)), True)
    assert explain(classifier, images, torch.tensor([0, 1])).shape == images.shape
