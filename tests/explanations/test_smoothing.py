from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from oracles import MOST, errors_off, random_posterior
from relevance import explanations
from relevance.explanations import smoothing
from relevance.explanations.rules import Epsilon
from relevance.explanations.smoothing import SoftLeakyReLU, softened
from relevance.networks import architectures
from relevance.networks.posterior import Posterior

pytestmark = pytest.mark.stochastic


def test_a_softened_network_is_near_the_network_and_has_second_derivatives(dense_posterior, some_images, some_labels):
    soft = softened(dense_posterior, 1e4)
    assert torch.allclose(soft.logits(some_images), dense_posterior.logits(some_images), atol=1e-3)
    assert sum(isinstance(module, SoftLeakyReLU) for module in soft.network.modules()) == 2
    assert not any(isinstance(module, SoftLeakyReLU) for module in dense_posterior.network.modules())
    x = torch.linspace(-2, 2, 9)
    assert torch.allclose(SoftLeakyReLU(3.0, 0.1)(x), 0.1 * x + 0.9 * functional.softplus(x, 3.0))

    # The gradient of a network with kinks is constant between them; of a soft one it is not.
    leaf = some_images.clone().requires_grad_()
    for posterior, bends in ((dense_posterior, False), (softened(dense_posterior, 3.0), True)):
        (slope,) = torch.autograd.grad(
            explanations.gradient(posterior, leaf, some_labels).sum(), leaf, allow_unused=True
        )
        assert (slope is not None and bool(slope.any())) == bends


def test_a_shared_activation_is_softened_everywhere_and_the_result_is_not_saved_as_what_it_was(tmp_path):
    relu = nn.ReLU()
    shared = softened(Posterior.of(nn.Sequential(nn.Linear(2, 2), relu, nn.Linear(2, 2), relu)), 3.0)
    assert sum(isinstance(module, SoftLeakyReLU) for module in shared.network) == 2

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.relu = nn.Linear(2, 2), nn.ReLU()

        def forward(self, x):
            return self.relu(self.layer(x))

    assert isinstance(softened(Posterior.of(Named()), 3.0).network.relu, SoftLeakyReLU)
    own = softened(Posterior.of(architectures.fully_connected((1, 4, 4), 3)), 3.0)
    own.save(tmp_path / "soft.safetensors")
    with pytest.raises(ValueError, match="architecture is 'softened fully_connected'"):
        Posterior.load(tmp_path / "soft.safetensors")


class Calls(nn.Module):
    """Calls its activations as functions, once in place where the changed value is read again, and leaves a layer out."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.left_out = nn.Linear(16, 5), nn.Linear(5, 3), nn.Linear(2, 2)

    def forward(self, x):
        inner = self.first(x.view(x.size(0), -1))
        rectified = functional.relu(inner, inplace=True)
        return functional.leaky_relu(self.second(rectified + inner), negative_slope=0.2)


class Plain(Calls):
    """The same, of modules."""

    def __init__(self):
        super().__init__()
        self.relu, self.leaky_relu = nn.ReLU(), nn.LeakyReLU(0.2)

    def forward(self, x):
        return self.leaky_relu(self.second(2 * self.relu(self.first(x.flatten(1)))))


def test_activations_that_are_called_are_softened_as_modules_are(some_images, some_labels):
    calls = Posterior.of(Calls().double())
    plain = Posterior(Plain().double(), calls.samples)
    assert torch.equal(calls.logits(some_images), plain.logits(some_images))
    for beta in (2.0, 30.0):
        found, wanted = (softened(posterior, beta) for posterior in (calls, plain))
        assert torch.allclose(found.logits(some_images), wanted.logits(some_images), atol=1e-12)
        maps = [explanations.gradient(posterior, some_images, some_labels) for posterior in (found, wanted)]
        assert torch.allclose(*maps, atol=1e-12)
        # A softplus is above the ReLU that it stands for, everywhere.
        assert not torch.allclose(found.logits(some_images), calls.logits(some_images), rtol=0, atol=1e-9)
    # Relevance goes back through calls, too, by what the first layer gave before it was changed.
    bare = Posterior(Calls().double(), {name: value * ("bias" not in name) for name, value in calls.samples.items()})
    relevance = explanations.lrp(bare, some_images, some_labels, rule=Epsilon(1e-12))
    assert relevance.abs().max() > 1e-3
    last = bare.logits(some_images)[0].gather(1, some_labels[:, None]).squeeze(1)
    assert torch.allclose(relevance.flatten(1).sum(1), last, atol=1e-9)  # it is conserved
    # Of a leaky ReLU's output both are f, so this too is gradient times input.
    assert torch.allclose(relevance, explanations.gradient_x_input(bare, some_images, some_labels), atol=1e-9)


def test_what_cannot_be_softened_is_said():
    class Depends(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 3)

        def forward(self, x):
            return self.layer(x.flatten(1)) if x.sum() > 0 else self.layer(-x.flatten(1))

    with pytest.raises(ValueError, match="Depends cannot be traced by torch.fx .*must not depend on values"):
        softened(Posterior.of(Depends()), 10)
    with pytest.raises(
        ValueError, match="the network has a PReLU, which cannot be softened; its activations may be ReLU"
    ):
        softened(Posterior.of(nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.PReLU())), 10)
    with pytest.raises(ValueError, match="beta is 0; it must be a finite number above 0"):
        softened(Posterior.of(nn.Sequential(nn.Linear(4, 2))), 0)


def test_smooth_grad_is_the_mean_gradient_at_noisy_copies(some_images, some_labels):
    posterior = random_posterior(architectures.fully_connected((1, 4, 4), 7, 3, "softplus"), 2)
    noise = 0.3 * torch.randn((5, 1, 4, 4), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    wanted = []
    for some in noise:
        leaf = (some_images + some).requires_grad_()
        logits = posterior.logits(leaf).mean(0).gather(1, some_labels[:, None]).sum()
        wanted.append(torch.autograd.grad(logits, leaf)[0])
    given = (posterior, some_images, some_labels)
    found = explanations.smooth_grad(*given, noise=0.3, n_noise=5, seed=4)
    assert torch.allclose(found, torch.stack(wanted).mean(0), atol=1e-12)
    assert torch.allclose(explanations.smooth_grad(*given, noise=0), explanations.gradient(*given), atol=1e-12)
    assert not torch.allclose(explanations.smooth_grad(*given, noise=0.3, n_noise=5, seed=5), found)


def test_softplus_is_the_map_of_the_softened_network(dense_posterior, some_images, target):
    found = explanations.softplus(explanations.gradient, 3.0)(dense_posterior, some_images, target)
    wanted = explanations.gradient(explanations.softened(dense_posterior, 3.0), some_images, target)
    assert torch.allclose(found, wanted)
    sharp = explanations.softplus(explanations.gradient, 1e6)(dense_posterior, some_images, target)
    assert torch.allclose(sharp, explanations.gradient(dense_posterior, some_images, target), atol=1e-6)


def test_a_softened_method_softens_each_posterior_that_it_meets(dense_posterior, some_images, target):
    method = explanations.softplus(explanations.gradient_x_input, 3.0)
    one, other = dense_posterior[:1], dense_posterior[1:3]
    for posterior in (one, other, one):
        wanted = explanations.gradient_x_input(explanations.softened(posterior, 3.0), some_images, target)
        assert torch.equal(method(posterior, some_images, target), wanted)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: explanations.softplus(explanations.gradient, 0), "beta is 0; it must be a finite number above 0"),
        (lambda: explanations.noise_grad(explanations.gradient, -0.1), "noise is -0.1; it must be a finite number"),
        (lambda: explanations.noise_grad(explanations.gradient, 0.1, 0), "n_noise is 0; it must be a whole number"),
    ],
)
def test_settings_of_a_smoothed_method_that_it_cannot_have_get_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_smooth_grad_is_the_mean_over_copies_in_the_box(dense_posterior, some_images, target):
    plain = explanations.gradient(dense_posterior, some_images, target)
    none = smoothing.smooth_grad_of(explanations.gradient, 0.0, 3)(dense_posterior, some_images, target)
    assert torch.allclose(none, plain)
    seen = []

    def watched(posterior, images, target):
        seen.append(images)
        return images

    found = smoothing.smooth_grad_of(watched, 0.5, 4, seed=2)(dense_posterior, some_images, target)
    assert torch.allclose(found, torch.stack(seen).mean(0))
    assert all(images.min() >= 0 and images.max() <= 1 for images in seen)
    assert not torch.allclose(seen[0], seen[1])
    # LRP takes only images in the box: the copies are.
    assert (
        smoothing.smooth_grad_of(explanations.lrp, 0.5, 2)(dense_posterior, some_images, target).shape
        == some_images.shape
    )


def test_smooth_grad_of_any_method_gives_each_sample_s_map(dense_posterior, some_images, target):
    given, noise = (dense_posterior, some_images, target), {"noise": 0.5, "n_noise": 3, "seed": 2}
    for explain in (explanations.lrp, explanations.gradient, explanations.gradient_x_input):
        each = explanations.smooth_grad(*given, explain=explain, per_sample=True, **noise)
        assert each.shape == (len(dense_posterior), *some_images.shape)
        assert torch.allclose(each.mean(0), smoothing.smooth_grad_of(explain, 0.5, 3, seed=2)(*given))


def test_smooth_grad_of_the_gradient_is_not_cut(dense_posterior, some_images, target):
    given = (dense_posterior, some_images, target)
    wanted = explanations.smooth_grad(*given, noise=2.0, n_noise=5, seed=3)
    assert torch.equal(smoothing.smooth_grad_of(explanations.gradient, 2.0, 5, seed=3)(*given), wanted)

    times = smoothing.smooth_grad_of(explanations.gradient_x_input, 2.0, 5, seed=3)(*given)
    assert torch.allclose(times, wanted * some_images)

    def cut(*given):
        return explanations.gradient(*given)

    # Wide noise that is cut is another noise, with another mean map.
    assert not torch.allclose(smoothing.smooth_grad_of(cut, 2.0, 5, seed=3)(*given), wanted)


@pytest.mark.stochastic
def test_noise_on_weights_is_a_posterior(dense_posterior, some_images, target):
    one = dense_posterior[:1]
    assert len(smoothing.shaken(dense_posterior, 0.1, 4)) == 20
    found = explanations.noise_grad(explanations.gradient, 0.2, 6, seed=1)(one, some_images, target)
    each = [explanations.gradient(single, some_images, target) for single in smoothing.shaken(one, 0.2, 6, seed=1)]
    assert torch.allclose(found, torch.stack(each).mean(0))
    none = explanations.noise_grad(explanations.gradient, 0.0, 3)(one, some_images, target)
    assert torch.allclose(none, explanations.gradient(one, some_images, target))
    values = (smoothing.shaken(one, 0.2, 4000, seed=3).samples["1.weight"] / one.samples["1.weight"]).flatten()
    assert errors_off(values, 1.0).abs() < MOST
    assert errors_off((values - 1) ** 2, 0.2**2).abs() < MOST
