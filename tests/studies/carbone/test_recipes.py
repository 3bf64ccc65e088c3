from __future__ import annotations

import pytest
import torch

from oracles import of_chains, random_posterior
from relevance import inference
from relevance.attacks import zero_gradients
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies.carbone import recipes

SMALL = {"epochs": 2, "chain": {"warmup": 1, "n_samples": 2}, "pool": {"n_sets": 3, "n_each": 2, "warmup": 1},
         "variation": {"epochs": 1, "learning_rate": 0.01, "n_samples": 4}, "n_members": 2}  # fmt: skip


@pytest.fixture
def network():
    return architectures.fully_connected((1, 4, 4), hidden=6, n_classes=3)


@pytest.mark.stochastic
def test_every_recipe_is_the_library_s_training_with_its_settings(network, tiny_data, own_store):
    names = [
        recipes.SGD, recipes.ENSEMBLE, recipes.MIXED, *recipes.SHORT, recipes.LETTER, recipes.ONCE, recipes.PER_BATCH,
    ]  # fmt: skip
    smaller = architectures.fully_connected((1, 4, 4), hidden=3, n_classes=3)
    mixing = smaller, tiny_data, {"n_samples": 4, "warmup": 2, "n_chains": 2, "prior_scale": 0.5}
    found = recipes.posteriors(network, tiny_data, names, mixing=mixing, **SMALL)
    assert list(found) == names
    wanted = inference.hmc(
        network, tiny_data, n_samples=2, warmup=1, start="uniform", n_steps=10, n_chains=1, mass="unit", exact=False,
        rescale=False, grow=False, prior_scale=1.0, progress=False,
    )  # fmt: skip
    for name, value in wanted.samples.items():
        assert torch.equal(found[recipes.FROM_BOX].samples[name], value)
    starts = {name: found[name].record["settings"]["start"] for name in recipes.STARTS}
    assert starts == recipes.STARTS
    assert found[recipes.MIXED].samples["1.weight"].shape == (4, 3, 16)
    once, each = (found[name].record["settings"] for name in (recipes.ONCE, recipes.PER_BATCH))
    assert each == {**once, "kl_per": "batch"}
    assert (once["start"], once["prior_scale"]) == ("normal", 1.0)
    sizes = {name: len(one) for name, one in found.items()}
    assert [sizes[name] for name in (recipes.SGD, recipes.ENSEMBLE, recipes.MIXED, *recipes.STARTS)] == [
        1,
        2,
        4,
        2,
        2,
        2,
    ]
    assert [sizes[name] for name in (recipes.POOLED, recipes.LETTER, recipes.ONCE, recipes.PER_BATCH)] == [6, 10, 4, 4]
    with pytest.raises(ValueError, match="recipe is 'bread'; it may be one of"):
        recipes.posteriors(network, tiny_data, ["bread"], mixing=mixing, **SMALL)


@pytest.mark.stochastic
def test_row_10_pools_chains_on_parts_that_no_other_has(network, tiny_data, own_store, monkeypatch):
    seen = []

    def sampler(network, data, **settings):
        seen.append((data.train_images, settings))
        return random_posterior(network, settings["n_samples"], seed=settings["seed"])

    monkeypatch.setattr(recipes, "kept", lambda function, *given, **settings: sampler(*given, **settings))
    found = recipes.pooled(network, tiny_data, n_sets=4, n_each=7, seed=2, warmup=5)
    assert len(found) == 28
    assert [len(images) for images, _ in seen] == [23, 23, 22, 22]
    together = torch.cat([images for images, _ in seen]).flatten(1)
    assert torch.equal(together.sort(0).values, tiny_data.train_images.flatten(1).sort(0).values)
    assert [settings["seed"] for _, settings in seen] == [2, 3, 4, 5]
    wanted = {"warmup": 5, "n_chains": 1, "start": "uniform", "prior_scale": 1.0}
    assert all(settings.items() >= wanted.items() for _, settings in seen)
    assert torch.equal(found.samples["1.weight"][7:14], random_posterior(network, 7, seed=3).samples["1.weight"])
    assert [len(part) for part in recipes.sets_of(found)] == [7, 7, 7, 7]
    with pytest.raises(ValueError, match="n_sets is 91; it must be a whole number of at least 1 and at most 90"):
        recipes.pooled(network, tiny_data, n_sets=91)


def parts_with(network, within, between, n_parts=3, n_draws=6):
    """Chains whose logits of the first class have a given spread within and between them: one bias varies."""
    base = random_posterior(network, 1, seed=4).samples
    found = []
    for part in range(n_parts):
        samples = {name: value.expand(n_draws, *value.shape[1:]).clone() for name, value in base.items()}
        samples["5.bias"][:, 0] += between * (part - 1) + within * torch.linspace(-1, 1, n_draws, dtype=torch.float64)
        found.append(Posterior(network, samples))
    return found


def test_variance_is_between_chains_as_far_as_they_stand_apart(network, some_images):
    labels = torch.zeros(6, dtype=torch.int64)
    assert recipes.between(parts_with(network, 0.0, 1.0), some_images, labels) == pytest.approx(1)
    assert recipes.between(parts_with(network, 1.0, 0.0), some_images, labels) == pytest.approx(0, abs=1e-12)
    # The variance of three means, 2/3, beside that of six even steps from -1 to 1, 7/15.
    assert recipes.between(parts_with(network, 1.0, 1.0), some_images, labels) == pytest.approx(
        (2 / 3) / (2 / 3 + 7 / 15)
    )


def test_draws_are_counted_one_by_one(network, some_images, some_labels):
    chains = of_chains(network, 2, 4)
    sure = random_posterior(network, 2, scale=300.0)
    rows = recipes.of_each({"chains": chains, "sure": sure}, some_images, some_labels).set_index("recipe")
    ones = [one.accuracy(some_images, some_labels) for one in chains]
    assert rows.loc["chains", "one draw"] == pytest.approx(sum(ones) / 8)
    assert rows.loc["chains", "accuracy"] == chains.accuracy(some_images, some_labels)
    assert 0 < rows.loc["chains", "between chains"] < 1
    assert rows["draws"].tolist() == [8, 2]
    blind = torch.stack([zero_gradients(one, some_images, some_labels) for one in sure])
    assert rows.loc["sure", "saturated"] == pytest.approx(blind.double().mean().item())
    assert rows.loc["sure", "saturated"] > 0
    assert rows.isna().loc["sure", "between chains"]
    assert rows.isna().loc["sure", "accepted"]


def test_accepted_proposals_are_those_after_the_warm_up(network):
    chains = of_chains(network, 2, 2)
    history = [
        [{"accepted": 0.0}, {"accepted": 1.0}, {"accepted": 1.0}],
        [{"accepted": 1.0}, {"accepted": 0.0}, {"accepted": 1.0}],
    ]
    chains.record.update(method="hmc", history=history)
    assert recipes.accepted(chains) == pytest.approx(3 / 4)
