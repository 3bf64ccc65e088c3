"""The doors on what other libraries really hand out, each compared with what the library itself predicts."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from oracles import MOST, errors_off
from relevance.datasets.reading import import_torchvision
from relevance.networks import doors

OUTSIDE = "is not in the lock, for its weight; make test-doors installs it"
LOCKED = "is in the group peers; make installs it"
SHAPE = (1, 4, 4)
GENERATOR = torch.Generator().manual_seed(5)
IMAGES, PROBE = (torch.rand((n, *SHAPE), generator=GENERATOR) for n in (40, 5))
LABELS = (IMAGES.mean((1, 2, 3)) > 0.5).long() + (IMAGES[:, 0, 0, 0] > 0.5).long()

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # other libraries' own
]


def library(name, reason=OUTSIDE):
    """A library, if it is installed."""
    import_torchvision()  # torchmetrics imports it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason=f"{name} {reason}")


def network(seed=0):
    """Square layers, which a wrong layout would go through without a word."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)).eval()


def trained(seed=0):
    model = network(seed)
    optimiser = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(IMAGES), LABELS).backward()
        optimiser.step()
    return model.eval()


def near(posterior, logits):
    return torch.allclose(posterior.logits(PROBE), logits.detach(), rtol=1e-4, atol=1e-4)


# Pyro ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pyro():
    import pyro

    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    yield pyro
    pyro.clear_param_store()


def bayesian(name=""):
    """The network with normal priors, as Pyro writes it, and its model."""
    import pyro
    import pyro.distributions as dist
    from pyro.nn import PyroModule, PyroSample
    from pyro.nn.module import to_pyro_module_

    module = whole = network()
    to_pyro_module_(module)
    if name:
        whole = PyroModule()
        setattr(whole, name, module)
    for layer in (module[1], module[3], module[5]):
        for part, value in list(layer.named_parameters()):
            setattr(layer, part, PyroSample(dist.Normal(0.0, 0.5).expand(value.shape).to_event(value.ndim)))

    def model(images, labels=None):
        logits = pyro.deterministic("logits", module(images))
        with pyro.plate("images", len(images)):
            pyro.sample("labels", dist.Categorical(logits=logits), obs=labels)
        return logits

    return whole, model


@pytest.mark.parametrize("name", ["", "net"])
def test_pyro_chains(pyro, name):
    from pyro.infer import MCMC, NUTS, Predictive

    _, model = bayesian(name)
    chain = MCMC(NUTS(model, max_tree_depth=3), num_samples=6, warmup_steps=4, disable_progbar=True)
    chain.run(IMAGES, LABELS)
    sites = chain.get_samples()
    logits = Predictive(model, sites, return_sites=["logits"])(PROBE)["logits"]
    posterior = doors.from_sites(
        network(), sites, prefix=f"{name}." if name else "", check=(PROBE, logits), device="cpu"
    )
    assert len(posterior) == 6
    assert near(posterior, logits.reshape(6, len(PROBE), 3))
    if name:
        with pytest.raises(ValueError, match=r"prefix='net\.' makes them fit"):
            doors.from_sites(network(), sites)
    with pytest.raises(ValueError, match="chains must be one after another"):
        doors.from_sites(network(), chain.get_samples(group_by_chain=True), prefix=f"{name}." if name else "")


@pytest.mark.parametrize("guide", ["AutoNormal", "AutoLowRankMultivariateNormal"])
def test_pyro_guides(pyro, guide):
    from pyro.infer import SVI, Predictive, Trace_ELBO, autoguide

    _, model = bayesian()
    guide = getattr(autoguide, guide)(model)
    steps = SVI(model, guide, pyro.optim.Adam({"lr": 0.02}), Trace_ELBO())
    for _ in range(3):
        steps.step(IMAGES, LABELS)
    with torch.no_grad():
        draws = Predictive(model, guide=guide, num_samples=7, parallel=False)(PROBE)
    sites = dict(draws)
    beside = [name for name in sites if name not in dict(network().named_parameters())]
    posterior = doors.from_sites(network(), sites, others=beside, check=(PROBE, sites["logits"]), device="cpu")
    assert near(posterior, sites["logits"].reshape(7, len(PROBE), 3))


def test_pyro_draws_of_a_module_with_its_own_names(pyro):
    """``pyro.random_module`` names sites ``net$$$1.weight``."""
    import pyro.distributions as dist

    priors = {
        name: dist.Normal(torch.zeros_like(value), 1.0).to_event(value.ndim)
        for name, value in network().named_parameters()
    }
    traces = []
    for _ in range(3):
        drawn = pyro.poutine.trace(pyro.random_module("net", network(), priors)).get_trace()
        lifted = pyro.poutine.replay(pyro.random_module("net", network(), priors), drawn)()
        traces.append(
            (
                {name: site["value"].detach() for name, site in drawn.nodes.items() if site["type"] == "sample"},
                lifted(PROBE),
            )
        )
    sites = {name: torch.stack([values[name] for values, _ in traces]) for name in traces[0][0]}
    logits = torch.stack([outputs for _, outputs in traces])
    assert near(doors.from_sites(network(), sites, prefix="net$$$", check=(PROBE, logits), device="cpu"), logits)


# laplace-torch and posteriors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("subset", "hessian"), [("all", "diag"), ("all", "full"), ("last_layer", "full")])
def test_laplace_torch(subset, hessian):
    laplace = library("laplace", LOCKED)
    model = trained()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(IMAGES, LABELS), 20)
    approximation = laplace.Laplace(model, "classification", subset, hessian)
    approximation.fit(loader)
    torch.manual_seed(0)
    draws = approximation.sample(8)
    # What the library predicts with the same draws: probabilities [S, N, K].
    torch.manual_seed(0)
    wanted = approximation.predictive_samples(PROBE, pred_type="nn", n_samples=8).mean(0)
    assert torch.equal(approximation.sample(1) * 0, draws[:1] * 0)
    posterior = doors.from_vectors(
        model, draws, layer="5" if subset == "last_layer" else None, check=(PROBE, wanted), device="cpu"
    )
    assert len(posterior) == 8
    assert torch.allclose(posterior.predict(PROBE), wanted, atol=1e-5)
    assert posterior.record["check"]["largest difference"] < 1e-5
    if subset == "last_layer":
        with pytest.raises(ValueError, match=r"vectors has shape \[8, 21\]"):
            doors.from_vectors(model, draws)


def test_posteriors(monkeypatch):
    # A benchmark of this repository has the same name.
    monkeypatch.setattr(sys, "path", [place for place in sys.path if Path(place).name != "benchmarks"])
    monkeypatch.delitem(sys.modules, "posteriors", raising=False)
    library("posteriors", LOCKED)
    import torchopt
    from posteriors import sgmcmc, vi

    model = trained()
    parameters = dict(model.named_parameters())

    def log_posterior(parameters, batch):
        logits = torch.func.functional_call(model, parameters, (batch[0],))
        return -nn.functional.cross_entropy(logits, batch[1]), logits

    transform = vi.diag.build(log_posterior, torchopt.adam(lr=1e-3), temperature=1 / len(IMAGES))
    state = transform.init(parameters)
    for _ in range(3):
        state, _ = transform.update(state, (IMAGES, LABELS))
    sites = vi.diag.sample(state, torch.Size([6]))
    logits = torch.func.vmap(lambda one: torch.func.functional_call(model, one, (PROBE,)))(sites)
    assert near(doors.from_sites(model, sites, check=(PROBE, logits), device="cpu"), logits)
    # Chains hand out a tree for each step, which is a state dict.
    chain = sgmcmc.sgld.build(log_posterior, lr=1e-4, temperature=1 / len(IMAGES))
    state, states = chain.init(parameters), []
    for _ in range(4):
        state, _ = chain.update(state, (IMAGES, LABELS), inplace=False)
        states.append({name: value.detach().clone() for name, value in state.params.items()})
    logits = torch.stack([torch.func.functional_call(model, one, (PROBE,)) for one in states])
    assert near(doors.from_states(model, states, check=(PROBE, logits), device="cpu"), logits)


# Libraries of layers ------------------------------------------------------------------------------------------------------------


@pytest.mark.stochastic
def test_bayesian_torch():
    library("bayesian_torch")
    from bayesian_torch.models.dnn_to_bnn import dnn_to_bnn

    def convolutional():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)).eval()

    source = convolutional()
    dnn_to_bnn(source, {"prior_mu": 0.0, "prior_sigma": 1.0, "posterior_mu_init": 0.0, "posterior_rho_init": -2.0,
                        "type": "Reparameterization", "moped_enable": False})  # fmt: skip
    source.eval()
    with torch.no_grad():
        theirs = torch.stack([source(PROBE) for _ in range(1500)])
    posterior = doors.from_states(convolutional(), doors.mean_field_states(source, 1500), device="cpu")
    both = torch.cat([posterior.logits(PROBE), -theirs]).double()
    # Two independent samples of one distribution: the standard error of the difference is that of all draws together.
    assert (2 * both.mean(0) / (both.std(0) * (4 / 3000) ** 0.5)).abs().max() < MOST
    # Without spread there is nothing to draw, and the predictions are the same.
    with torch.no_grad():
        for name, value in source.named_parameters():
            if "rho" in name:
                value.fill_(-40.0)
        logits = source(PROBE)[None]
    doors.from_states(convolutional(), doors.mean_field_states(source, 1), check=(PROBE, logits), device="cpu")


def test_torch_uncertainty_ensembles():
    library("torch_uncertainty")
    from torch_uncertainty.methods import CheckpointCollector, deep_ensembles

    models = [network(seed) for seed in range(3)]
    ensemble = deep_ensembles(models, probabilistic=False).eval()
    logits = ensemble(PROBE).reshape(3, len(PROBE), 3)  # members one after another
    assert near(doors.from_states(network(), ensemble.core_models, check=(PROBE, logits), device="cpu"), logits)
    model = network()
    collector = CheckpointCollector(model, cycle_start=0, cycle_length=1, use_final_model=False)
    for epoch in range(3):
        with torch.no_grad():
            model[1].weight += 0.1
        collector.update_wrapper(epoch)
    collector.eval()
    logits = collector.eval_forward(PROBE).reshape(-1, len(PROBE), 3)
    assert near(doors.from_states(network(), collector.saved_models, check=(PROBE, logits), device="cpu"), logits)


@pytest.mark.stochastic
def test_torch_uncertainty_bayesian_layers():
    library("torch_uncertainty")
    from torch_uncertainty.layers.bayesian import BayesLinear

    torch.manual_seed(0)
    source = nn.Sequential(nn.Flatten(), BayesLinear(16, 6, sigma_init=-1.0), nn.Tanh(), BayesLinear(6, 3)).eval()
    with torch.no_grad():
        theirs = torch.stack([source(PROBE) for _ in range(1500)])
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Tanh(), nn.Linear(6, 3))
    ours = doors.from_states(plain, doors.mean_field_states(source, 1500), device="cpu").logits(PROBE)
    off = (ours.mean(0) - theirs.mean(0)) / ((ours.var(0) + theirs.var(0)) / 1500).sqrt()
    assert off.abs().max() < MOST
    assert errors_off(ours, theirs.mean(0)).shape == (5, 3)


# JAX ----------------------------------------------------------------------------------------------------------------------------


def test_numpyro():
    numpyro = library("numpyro")
    import jax
    import numpyro.distributions as dist

    sizes = {"1": (16, 6), "3": (6, 6), "5": (6, 3)}

    def forward(weights, images):
        x = images
        for layer in sizes:
            x = x @ weights[f"{layer}.weight"] + weights[f"{layer}.bias"]
            x = jax.numpy.tanh(x) if layer != "5" else x
        return x

    def model(images, labels):
        weights = {}
        for layer, (rows, columns) in sizes.items():
            weights[f"{layer}.weight"] = numpyro.sample(
                f"net.{layer}.weight", dist.Normal(0, 0.5).expand([rows, columns]).to_event(2)
            )
            weights[f"{layer}.bias"] = numpyro.sample(
                f"net.{layer}.bias", dist.Normal(0, 0.5).expand([columns]).to_event(1)
            )
        numpyro.sample("labels", dist.Categorical(logits=forward(weights, images)), obs=labels)

    chain = numpyro.infer.MCMC(
        numpyro.infer.NUTS(model, max_tree_depth=2), num_warmup=4, num_samples=6, progress_bar=False
    )
    chain.run(jax.random.PRNGKey(0), IMAGES.flatten(1).numpy(), LABELS.numpy())
    sites = chain.get_samples()
    weights = {name.removeprefix("net."): value for name, value in sites.items()}
    logits = jax.vmap(forward, (0, None))(weights, PROBE.flatten(1).numpy())
    posterior = doors.from_sites(network(), sites, prefix="net.", layout="jax", check=(PROBE, logits), device="cpu")
    assert near(posterior, torch.from_numpy(np.array(logits)))
    by_hand = {name: np.asarray(value).swapaxes(1, 2) if np.shape(value)[1:] in {(16, 6), (6, 3)} else np.asarray(value)
               for name, value in weights.items()}  # fmt: skip
    with pytest.raises(ValueError, match=r"3\.weight transposed would"):
        doors.from_sites(network(), by_hand, check=(PROBE, logits))
