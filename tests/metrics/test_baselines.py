from __future__ import annotations

import math

import pytest
import torch

from relevance import metrics
from relevance.metrics import baselines


def test_black_on_black_deletes_nothing_and_the_mean_does(planted):
    posterior, weights = planted
    images = torch.zeros((1, 1, 4, 4), dtype=torch.float64)
    maps, target = weights.reshape(1, 1, 4, 4), torch.tensor([0])
    unmoved = metrics.deletion(posterior, images, target, maps, baseline="black")
    assert (unmoved == unmoved[:, :1]).all()
    moved = metrics.deletion(posterior, images, target, maps, baseline=torch.full((1, 4, 4), 0.5))
    assert (moved[:, 1:] > moved[:, :1]).all()


def blurred(pixels, width):
    """The mean of the pixels around each, weighed by a bell of standard deviation ``width`` out to 4 of them, in loops."""
    reach = int(4 * width + 0.5)
    bell = {step: math.exp(-(step**2) / (2 * width**2)) for step in range(-reach, reach + 1)}

    def along(line):
        # Beyond its ends, the line is seen in a mirror.
        seen = [*line, *line[::-1]]
        return [
            sum(weight * seen[(place + step) % len(seen)] for step, weight in bell.items()) / sum(bell.values())
            for place in range(len(line))
        ]

    rows = [along(row) for row in pixels]
    return list(zip(*(along(column) for column in zip(*rows, strict=True)), strict=True))


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 3, 6), (1, 8, 5)], ids=str)
def test_the_blur_is_a_mean_under_a_bell_a_quarter_of_the_image_wide(shape):
    images = torch.rand((3, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = baselines.reference("blur", images)
    wanted = [[blurred(channel.tolist(), shape[-1] / 4) for channel in image] for image in images]
    assert torch.allclose(found, torch.tensor(wanted, dtype=torch.float64), atol=1e-12)
    # A mirror loses no light.
    assert torch.allclose(found.mean((-1, -2)), images.mean((-1, -2)), atol=1e-12)


def test_a_blur_leaves_what_is_of_one_colour_and_stays_among_the_images():
    images = torch.tensor([0.0, 0.3, 1.0]).reshape(3, 1, 1, 1).expand(3, 2, 5, 5)
    found = baselines.reference("blur", images)
    assert found.dtype == images.dtype
    assert torch.allclose(found, images, atol=1e-6)
    assert found.min() >= 0
    assert found.max() <= 1


def test_black_is_zero_and_a_baseline_may_be_one_image_or_one_for_each(some_images):
    assert torch.equal(baselines.reference("black", some_images), torch.zeros_like(some_images))
    one = baselines.reference(some_images[2], some_images)
    assert torch.equal(one, some_images[2].expand(6, 1, 4, 4))
    assert torch.equal(baselines.reference(some_images.flip(0), some_images), some_images.flip(0))
    assert baselines.reference(some_images[2].float(), some_images).dtype == torch.float64


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("white", "baseline is 'white'; it may be one of: black, blur."),
        (torch.zeros(4, 4), r"baseline has shape \[4, 4\]; it must have that of an image, \[1, 4, 4\], or of all."),
        (torch.zeros(2, 1, 4, 4), r"baseline has shape \[2, 1, 4, 4\]"),
        (torch.full((1, 4, 4), 1.5), "baseline has values from 1.5 to 1.5"),
    ],
    ids=["name", "no channels", "another number", "too bright"],
)
def test_a_wrong_baseline_gets_a_sentence(some_images, baseline, message):
    with pytest.raises(ValueError, match=message):
        baselines.reference(baseline, some_images)
