"""Posteriors against those that are known: linear regression in closed form, Pyro's HMC, and what each method promises."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from oracles import normalised_convolutional
from relevance import explanations, inference
from relevance.inference import training
from relevance.networks import architectures

pytestmark = pytest.mark.stochastic


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("adversarial", {"epochs": 30, "learning_rate": 0.01, "epsilon": 0.05, "n_steps": 3}),
        ("adversarial", {"epochs": 30, "learning_rate": 0.01, "epsilon": 0.3, "norm": "l2", "n_steps": 1}),
        ("variational", {"epochs": 30, "learning_rate": 0.01, "n_samples": 5, "prior_scale": 0.5}),
        ("variational", {"epochs": 60, "learning_rate": 0.02, "n_samples": 5, "start": "prior", "prior_scale": 0.5}),
        ("deep_ensemble", {"epochs": 30, "learning_rate": 0.01, "n_samples": 3}),
        ("mc_dropout", {"epochs": 60, "learning_rate": 0.01, "n_samples": 6}),
        ("swag", {"epochs": 30, "learning_rate": 0.01, "n_samples": 5, "swag_epochs": 6, "rank": 4}),
        ("laplace", {"epochs": 30, "learning_rate": 0.01, "n_samples": 5, "prior_scale": 0.3}),
        ("hmc", {"n_samples": 5, "warmup": 10, "prior_scale": 0.5}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_method_gives_a_posterior_that_predicts_repeats_and_has_right_gradients(
    small_network, tiny_data, method, settings
):
    train = getattr(inference, method)
    before = [value.clone() for value in small_network.parameters()]
    state = torch.get_rng_state()
    posterior = train(small_network, tiny_data, **settings, seed=1, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(*pair) for pair in zip(before, small_network.parameters(), strict=True))
    assert len(posterior) == settings.get("n_samples", 1)
    assert posterior.accuracy(tiny_data.test_images, tiny_data.test_labels) > 0.9
    assert posterior.record["method"] == method
    assert posterior.record["settings"] | settings == posterior.record["settings"]
    again = train(small_network, tiny_data, **settings, seed=1, progress=False)
    assert all(torch.equal(value, again.samples[name]) for name, value in posterior.samples.items())
    assert not torch.equal(posterior.samples["5.weight"],
                           train(small_network, tiny_data, **settings, seed=2, progress=False).samples["5.weight"])  # fmt: skip
    if len(posterior) > 1:
        assert posterior.samples["5.weight"].std(0).max() > 0
    check_input_gradient(posterior, tiny_data.test_images[:4], tiny_data.test_labels[:4])


def check_input_gradient(posterior, images, labels):
    """By finite differences, in double precision, of the mean logit."""
    double = type(posterior)(
        copy.deepcopy(posterior.network).double(), {k: v.double() for k, v in posterior.samples.items()}
    )
    images = images.double().clamp(0.01, 0.99)
    found = explanations.gradient(double, images, labels)
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    up, down = (
        double.logits(images + sign * 1e-6 * direction).mean(0).gather(1, labels[:, None]).squeeze(1)
        for sign in (1, -1)
    )
    assert torch.allclose((found * direction).flatten(1).sum(1), (up - down) / 2e-6, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "method", ["adversarial", "variational", "deep_ensemble", "mc_dropout", "swag", "laplace", "hmc"]
)
def test_every_method_takes_convolutions_and_batch_norm(tiny_data, method):
    some = {"n_samples": 3} if method != "adversarial" else {"n_steps": 2, "epsilon": 0.05}
    long = {"warmup": 2} if method == "hmc" else {"epochs": 40, "learning_rate": 0.01}
    long |= {"rank": 5} if method == "swag" else {}
    train = getattr(inference, method)
    posterior = train(normalised_convolutional(), tiny_data, **some, **long, progress=False)
    images, labels = tiny_data.test_images[:4], tiny_data.test_labels[:4]
    if method != "hmc":  # which here starts from a network of few steps
        assert posterior.accuracy(tiny_data.test_images, tiny_data.test_labels) > 0.6
    check_input_gradient(posterior, images, labels)
    maps = explanations.lrp(posterior, images, labels, per_sample=True)
    alone = torch.cat([explanations.lrp(one, images, labels)[None] for one in posterior])
    assert torch.allclose(maps, alone, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("adversarial", {"epsilon": -1}, "epsilon is -1"),
        ("adversarial", {"norm": "l1"}, "norm is 'l1'; it may be one of: l2, linf"),
        ("adversarial", {"n_steps": 0}, "n_steps is 0"),
        ("adversarial", {"random_start": 1}, "random_start is 1; it must be True or False"),
        ("variational", {"prior_scale": 0}, "prior_scale is 0; it must be a finite number above 0"),
        ("variational", {"start": "zero"}, "start is 'zero'; it may be one of: normal, prior, sgd"),
        ("variational", {"epochs": 2, "kl_epochs": 3}, "kl_epochs is 3; .* at most 2"),
        ("deep_ensemble", {"n_samples": 0}, "n_samples is 0"),
        ("mc_dropout", {"rate": 1}, "rate is 1; it must be a finite number above 0 and at most 0.95"),
        ("swag", {"rank": 11}, "rank is 11; it must be a whole number of at least 2 and at most 10"),
        ("swag", {"rank": 1}, "rank is 1; it must be a whole number of at least 2"),
        ("laplace", {"prior_scale": -1}, "prior_scale is -1"),
        ("sgd", {"learning_rate": 1e30, "epochs": 3}, r"the loss is (nan|inf) in epoch \d, with epochs=3, learning_rate=1e\+30"),
    ],
)  # fmt: skip
def test_bad_settings_get_a_sentence(small_network, tiny_data, method, settings, message):
    with pytest.raises(ValueError, match=message):
        getattr(inference, method)(small_network, tiny_data, progress=False, **settings)


@pytest.mark.parametrize(
    ("method", "settings", "after"),
    [
        ("deep_ensemble", {"n_samples": 3}, 2),
        ("swag", {}, 1),
        ("distillation", {}, 10_000),
        ("hmc", {"n_samples": 6, "n_chains": 3}, 2),
        ("hmc", {"n_samples": 6, "n_chains": 4, "start": "both"}, 2),
    ],
)
def test_seeds_that_are_counted_on_from_one_all_fit_or_get_a_sentence(
    small_network, tiny_data, method, settings, after, monkeypatch
):
    monkeypatch.setattr(training, "initialised", lambda *given: pytest.fail("the training has begun"))
    last = 2**63 - 1 - after
    with pytest.raises(ValueError, match=f"seed is {last + 1}; it must be .* at most {last}"):
        getattr(inference, method)(small_network, tiny_data, seed=last + 1, progress=False, **settings)
    with pytest.raises(pytest.fail.Exception, match="the training has begun"):
        getattr(inference, method)(small_network, tiny_data, seed=last, progress=False, **settings)


def test_the_initial_parameters_are_those_of_the_seed(small_network, tiny_data):
    first, again, other = (training.initialised(small_network, tiny_data, seed=seed)[1].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, small_network[1].weight)


def test_a_network_that_does_not_fit_gets_a_sentence(tiny_data):
    with pytest.raises(ValueError, match=r"does not take images of shape \[1, 4, 4\]"):
        inference.sgd(architectures.fully_connected((1, 5, 5), 4, 3), tiny_data, progress=False)
    with pytest.raises(ValueError, match=r"it must give \[2, 3\]"):
        inference.sgd(architectures.fully_connected((1, 4, 4), 4, 2), tiny_data, progress=False)


def test_training_with_dropout_is_reproducible_and_keeps_torch_s_state(tiny_data):
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3)
    )
    state = torch.get_rng_state()
    first, again = (inference.sgd(network, tiny_data, epochs=2, progress=False).samples["1.weight"] for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_unknown_setting_lists_the_known_ones(small_network, tiny_data):
    with pytest.raises(ValueError, match="'epoch' is not a setting here; it may be one of: epochs, learning_rate"):
        inference.sgd(small_network, tiny_data, epoch=3)
    with pytest.raises(ValueError, match="adapt is 'no'; it must be True or False"):
        inference.hmc(small_network, tiny_data, adapt="no")


BAD_DATA = {
    "NaN": (
        {"train_images": torch.full((90, 1, 4, 4), math.nan)},
        "data.train_images has values that are NaN or infinite",
    ),
    "bytes": ({"train_images": torch.full((90, 1, 4, 4), 255.0)}, r"data.train_images .* they must lie in \[0, 1\]"),
    "no images": ({"train_images": torch.zeros(0, 1, 4, 4)}, "data.train_images has 0 images; it must have at least 1"),
    "beyond": ({"train_labels": torch.full((90,), 3)}, "data.train_labels has classes from 3 to 3; .* between 0 and 2"),
    "negative": ({"train_labels": torch.full((90,), -1)}, "data.train_labels has classes from -1 to -1"),
    "32 bits": ({"train_labels": torch.zeros(90, dtype=torch.int32)}, "data.train_labels are torch.int32"),
}


@pytest.mark.parametrize("bad", BAD_DATA)
def test_data_that_nothing_is_learnt_from_gets_a_sentence(tiny_data, bad):
    changes, said = BAD_DATA[bad]
    for train in (inference.sgd, inference.laplace, inference.mc_dropout, inference.variational, inference.hmc):
        with pytest.raises(ValueError, match=said):
            train(architectures.fully_connected((1, 4, 4), hidden=2, n_classes=3), replace(tiny_data, **changes))


@pytest.mark.parametrize("network", [None, "a", nn.Linear, nn.Flatten()], ids=str)
def test_a_network_that_is_none_gets_a_sentence(tiny_data, network):
    for train in (inference.sgd, inference.laplace, inference.mc_dropout, inference.variational, inference.hmc):
        with pytest.raises(ValueError, match="network (is .*; it must be a torch.nn.Module|has no parameters)"):
            train(network, tiny_data)


class Giving(nn.Module):
    """Gives what a function makes of logits, in training or not."""

    def __init__(self, function):
        super().__init__()
        self.layer, self.function = nn.Linear(16, 3), function

    def forward(self, images):
        return self.function(self.layer(images.flatten(1)), self.training)


def raising(logits, training):
    raise KeyError


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (
            Giving(lambda logits, training: (logits, logits)),
            r"network gives a tuple for 2 images; it must give \[2, 3\]",
        ),
        (
            Giving(lambda logits, training: logits[:1]),
            r"network gives a tensor of shape \[1, 3\] for 2 images; it must",
        ),
        (
            Giving(lambda logits, training: (logits, logits) if training else logits),
            r"network in training gives a tuple for 2 images; it must give logits \[2, K\], as otherwise",
        ),
        (
            Giving(raising),
            r"network does not take images of shape \[1, 4, 4\] as data has them \(KeyError: \); it must be",
        ),
        (
            Giving(lambda logits, training: raising(logits, training) if training else logits),
            r"network cannot be trained \(KeyError: \); in training it must give logits, as otherwise",
        ),
        (
            architectures.fully_connected((1, 4, 4), 4, 3).double(),
            r"network has parameters of torch.float64, data images of torch.float32; both must be .* network.to\(torch.float32",
        ),
    ],
    ids=["tuple", "too few", "tuple in training", "raises", "raises in training", "double"],
)
def test_what_a_network_does_wrong_gets_a_sentence(tiny_data, network, said):
    for train in (inference.sgd, inference.variational):
        with pytest.raises(ValueError, match=said):
            train(network, tiny_data, epochs=1, progress=False)


def test_a_last_batch_of_one_image_is_refused_where_batch_norm_cannot_learn_from_it(tiny_data):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    for train in (inference.sgd, inference.variational, inference.swag):
        with pytest.raises(
            ValueError, match="batch_size is 89, which leaves 1 of 90 images for the last batch, on which"
        ):
            train(network, tiny_data, epochs=1, batch_size=89, progress=False)
    # A feature map of several pixels has a variance in one image too.
    assert len(inference.sgd(normalised_convolutional(), tiny_data, epochs=1, batch_size=89, progress=False)) == 1
