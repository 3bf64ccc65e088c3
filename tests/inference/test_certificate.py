"""The word of a certificate is right where it is known whether chains have mixed."""

from __future__ import annotations

import math

import pytest
import torch

from oracles import of_chains, random_posterior
from relevance import inference
from relevance.inference import certificate
from relevance.inference.chain import Settings, State, run_chain

pytestmark = pytest.mark.stochastic


@pytest.fixture
def images(tiny_data):
    from oracles import to_double

    return to_double(tiny_data)


@pytest.mark.parametrize(
    ("chains", "n_draws", "word"),
    [(4, 500, "certified"), (4, 60, "nearly"), (4, 20, "not converged"), (2, 5, "not converged")],
)
def test_independent_draws_get_the_word_of_their_number(small_network, images, chains, n_draws, word):
    found = inference.certify(of_chains(small_network, chains, n_draws), images, n_images=10)
    # Independent draws of several hundred values: whether the worst R-hat of 60 draws a chain is below 1.05 is chance too,
    # and the seed's draws are below.
    assert found.word == word
    assert (found.n_draws, found.n_gradients) == (chains * n_draws, chains * (n_draws + 1) * 3)
    assert set(found.mixing) == {"margin", "predictive entropy", "squared norm", "energy"}
    assert found.mixing["margin"].values == 10
    if n_draws > 100:
        # The standard error of a mean of S independent draws is 1 / sqrt(S) of their deviation.
        assert found.mixing["margin"].error == pytest.approx((chains * n_draws) ** -0.5, rel=0.25)
    assert list(found.table.columns) == certificate.COLUMNS
    told = found.told
    assert told["certificate"] == word
    assert told["values"] == sum(row.values for row in found.mixing.values())
    assert told["constant"] == 0
    if n_draws < certificate.FEWEST_DRAWS:
        assert (told["rhat"], told["ess"], told["ess_tail"]) == (None, None, None)
    else:
        assert told["rhat"] == found.table["R-hat"].max()
        assert told["ess"] == found.table["ESS"].min()


def test_a_chain_in_another_place_is_seen(small_network, images):
    found = inference.certify(of_chains(small_network, 4, 400, offset=0.5), images, n_images=10)
    assert found.word == "not converged"
    assert found.mixing["squared norm"].rhat > 1.1


def test_values_that_never_change_are_counted_and_a_chain_that_stands_still_is_no_draw(small_network, images):
    posterior = of_chains(small_network, 4, 400)
    half = {"some": lambda given: torch.cat([given.logits(images.test_images[:1])[:, 0], torch.ones(len(given), 2)], 1)}
    found = inference.certify(posterior, images, n_images=5, draws=half)
    assert (found.mixing["some"].values, found.mixing["some"].constant) == (5, 2)
    assert found.word == "certified"
    for value in posterior.samples.values():
        value[:] = value[::400].repeat_interleave(400, 0)
    still = inference.certify(posterior, images, n_images=5)
    assert still.word == "not converged"
    assert still.mixing["margin"].rhat > 100


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_not_converged(small_network, images, value):
    def broken(given):
        logits = given.logits(images.test_images[:1])[:, 0].clone()
        logits[3, 1] = value
        return logits

    posterior = of_chains(small_network, 4, 500)
    for of in (broken, lambda given: torch.full((len(given), 2), value)):
        found = inference.certify(posterior, images, n_images=5, draws={"broken": of})
        assert found.word == "not converged"
        assert found.mixing["broken"] == (found.mixing["broken"].values, 0, math.inf, 0.0, 0.0, math.inf)
        assert (found.told["rhat"], found.told["ess"]) == (None, None)


def test_equal_values_are_constant_whatever_their_rounding(small_network, images):
    posterior = of_chains(small_network, 4, 500)
    thirds = {"third": lambda given: torch.full((len(given), 2), 1 / 3, dtype=torch.float64)}
    found = inference.certify(posterior, images, n_images=5, draws=thirds)
    assert (found.mixing["third"].constant, found.word) == (2, "certified")


def test_scores_and_maps_of_whole_chains_stand_beside(small_network, images):
    posterior = of_chains(small_network, 3, 50, start="both")
    maps = torch.rand((5, 1, 4, 4), generator=torch.Generator().manual_seed(0)).double()
    chains = {
        "score": lambda given: torch.full((5,), float(len(given))),
        "map": lambda given: maps + given.samples["1.weight"].mean(),
    }
    found = inference.certify(posterior, images, n_images=5, chains=chains)
    assert found.scores == {"score": [50.0, 50.0, 50.0]}
    assert found.maps["map"] == pytest.approx(1)
    assert found.starts == ["sgd", "prior", "sgd"]
    apart = {"map": lambda given: torch.roll(maps, int(given.samples["1.weight"][0, 0, 0] * 1e6) % 16, dims=3)}
    assert inference.certify(posterior, images, n_images=5, chains=apart).maps["map"] < 0.9


def test_neal_s_funnel_is_not_called_mixed(small_network, images):
    """Its neck is narrower than any step that fits its mouth: chains of one step size do not find it (Neal 2003, Sec. 8)."""

    def funnel(position):
        v, x = position[0], position[1:]
        terms = torch.cat([v[None] ** 2 / 18, x**2 * torch.exp(-v) / 2 + v / 2])
        slope = v / 9 - (x**2).sum() * torch.exp(-v) / 2 + len(x) / 2
        return State(position, terms, torch.cat([slope[None], x * torch.exp(-v)]))

    settings = Settings(warmup=100, prior_scale=3.0, step_size=0.5)
    chains = [
        run_chain(
            funnel, lambda: torch.ones(10, dtype=torch.float64), settings, 150, torch.Generator().manual_seed(seed)
        )
        for seed in range(4)
    ]
    values = torch.stack([chain.positions[:, :1] for chain in chains]).numpy()
    assert certificate._word({"neck": certificate._mixing(values)}, 150) == "not converged"


def test_what_is_not_of_chains_gets_a_sentence(small_network, images):
    ensemble = random_posterior(small_network, 5)
    with pytest.raises(
        ValueError, match="posterior was made by 'hand'; it must be of chains, as inference.hmc gives it"
    ):
        inference.certify(ensemble, images)
    posterior = of_chains(small_network, 2, 10)
    with pytest.raises(ValueError, match="posterior has 5 samples, of 20 that its chains drew; it must have them all"):
        inference.certify(posterior[:5], images)
    with pytest.raises(ValueError, match="posterior is of 1 chain"):
        inference.certify(of_chains(small_network, 1, 10), images)
    with pytest.raises(ValueError, match="n_images is 999; it must be a whole number of at least 1 and at most 30"):
        inference.certify(posterior, images, n_images=999)
    with pytest.raises(
        ValueError, match="draws has the name 'margin', of what is looked at anyway; its names must not"
    ):
        inference.certify(posterior, images, n_images=5, draws={"margin": len})
    with pytest.raises(ValueError, match="posterior is a Classifier; it must be a Posterior of chains"):
        inference.certify(small_network, images)
