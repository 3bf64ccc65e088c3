"""How far off a random result may be: a number of its own standard errors, and never a number that some machine gave.

Another CPU rounds differently, so its chains and trainings go elsewhere. What does not change is what they are draws of.
"""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn
from torch.func import jacrev

from notebooks import HEAD
from relevance import explanations
from relevance.datasets import dataset
from relevance.explanations.rules import AlphaBeta, Epsilon, Gamma, GeneralisedGamma, WSquare, ZBox, ZPlus
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.pages.press.chapters import read_chapters
from relevance.studies import records
from relevance.studies.carbone import study
from relevance.studies.experiment import Settings
from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC
from relevance.studies.zeng import source, tables
from relevance.studies.zeng.generator import networks
from relevance.studies.zeng.generator.training import train_generator
from relevance.studies.zeng.roar import BASELINES, Attribution

# Standard errors that a mean may be off: of a normal variable, once in 150,000 cases.
MOST = 4.5


def effective_size(draws: Tensor, *, chain: bool = False) -> Tensor:
    """Return how many independent draws have means as exact as those of these, [...] of [S, ...].

    It is S where they are independent, and of one chain what arviz estimates, though no more than S.
    """
    if not chain:
        return torch.full(draws.shape[1:], float(len(draws)), dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # arviz 0.x announces its successor on import
        import arviz
    values = draws.flatten(1)[None].double().numpy()
    found = arviz.ess(arviz.convert_to_dataset({"x": values}), method="mean")["x"].values
    return torch.as_tensor(found).reshape(draws.shape[1:]).clamp(max=len(draws))


def errors_off(draws: Tensor, wanted: Tensor | float, *, chain: bool = False) -> Tensor:
    """Return by how many standard errors the mean over the first dimension misses what is wanted.

    The standard error is sd / sqrt(n), with n the effective size. As the sd is that of the draws, what is off follows Student's
    distribution; it is told as what a normal variable would be off by with the same probability.
    """
    draws, size = draws.detach().double(), effective_size(draws, chain=chain)
    return as_normal((draws.mean(0) - wanted) * size.sqrt() / draws.std(0), size - 1)


def apart(one: Tensor, other: Tensor) -> Tensor:
    """Return by how many standard errors, those of both together, the means of two chains differ."""
    sizes = [effective_size(draws, chain=True) for draws in (one, other)]
    squares = [draws.double().var(0) / size for draws, size in zip((one, other), sizes, strict=True)]
    return as_normal((one.mean(0) - other.mean(0)) / sum(squares).sqrt(), torch.minimum(*sizes) - 1)


def as_normal(off: Tensor, degrees: Tensor) -> Tensor:
    """Return the normal quantiles of the probabilities that Student's distribution gives to what is off."""
    tails = stats.t.sf(off.abs().numpy(), degrees.clamp(min=1).numpy())
    return torch.as_tensor(stats.norm.isf(tails)) * off.sign()


def moments_off(draws: Tensor, mean: Tensor, covariance: Tensor, *, chain: bool = False) -> Tensor:
    """Return by how many standard errors the means and covariances of draws [S, D] are off, [D + D^2].

    The covariance is the mean of products of what is left when the true mean is taken away, so it too is a mean of draws.
    """
    left = draws - mean
    products = (left[:, :, None] * left[:, None, :]).flatten(1)
    return torch.cat([errors_off(draws, mean, chain=chain), errors_off(products, covariance.flatten(), chain=chain)])


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


def of_chains(network, chains, n_draws, offset=0.0, start="sgd"):
    """Independent draws around one set of weights, in chains; the last one stands ``offset`` apart from the others."""
    drawn = random_posterior(network, chains * n_draws, scale=0.3)
    middle = random_posterior(network, 1, seed=9).samples
    samples = {name: value + middle[name] for name, value in drawn.samples.items()}
    for value in samples.values():
        value[-n_draws:] += offset
    energies = torch.randn(chains, n_draws, generator=torch.Generator().manual_seed(5)).tolist()
    record = {
        "method": "hmc", "dataset": "tiny", "n_train": 60,
        "settings": {"warmup": 1, "start": start, "prior_scale": 0.5, "trajectory": 1.5}, "seconds": 2.0,
        "history": [[{"energy": 0.0, "n_gradients": 3}, *({"energy": one, "n_gradients": 3} for one in row)] for row in energies],
    }  # fmt: skip
    return Posterior(drawn.network, samples, record)


def made_up_answers(bayesian, adversarial):
    pairs = [(DETERMINISTIC, BAYESIAN, bayesian), (DETERMINISTIC, ADVERSARIAL, adversarial), (ADVERSARIAL, BAYESIAN, 0)]
    numbers = dict.fromkeys(("mean", "low", "high", "scaled", "scaled_low", "scaled_high"), 0.1)
    return pd.DataFrame(
        [
            {
                "run": "r",
                "called": "a run",
                "method": "HMC",
                "attack": attack,
                "first": first,
                "second": second,
                "standing": {1: "higher", 0: "undecided", -1: "lower"}.get(way, "not judged"),
                "reason": "" if way in (1, 0, -1) else way,
                **numbers,
            }
            for attack in ("FGSM", "PGD")
            for first, second, way in pairs
        ]
    )


N_PLANTED = 900


def planted_scores(
    shifts, *, unrelated=None, attacks=("FGSM", "PGD"), layers=("1", "5"), seed=0, runs=None, spread=0.0
):
    """Rows with a score of 0.5 and noise, plus a shift by model, attack and layer; no model differs from itself.

    Of several runs, each is off by an amount of its own, whose standard deviation is ``spread``.
    """
    if runs is not None:
        off = np.random.default_rng(seed).normal(0, spread, (runs, len(shifts)))
        parts = []
        for run in range(runs):
            own = {name: (lambda attack, layer, up=up, by=off[run, at]: (up(attack, layer) if callable(up) else up) + by)
                   for at, (name, up) in enumerate(shifts.items())}  # fmt: skip
            parts.append(
                planted_scores(own, unrelated=unrelated, attacks=attacks, layers=layers, seed=seed + 1).assign(run=run)
            )
        return pd.concat(parts, ignore_index=True)
    generator = np.random.default_rng(seed)
    rows = []
    base = {(attack, layer): 0.5 + 0.1 * generator.standard_normal(N_PLANTED) for attack in attacks for layer in layers}
    for model, shift in shifts.items():
        for (attack, layer), scores in base.items():
            moved = shift(attack, layer) if callable(shift) else shift
            other = (unrelated or {}).get(model, 0.2)
            values = scores + moved + 0.02 * generator.standard_normal(N_PLANTED)
            rows.append(
                pd.DataFrame(
                    {
                        "model": model,
                        "n_samples": int(model.split(", ")[1]) if ", " in model else 1,
                        "attack": attack,
                        "rule": "epsilon",
                        "layer": layer,
                        "image": range(N_PLANTED),
                        "lrp_robustness": values,
                        "unrelated_lrp_robustness": other,
                        "ceiling_lrp_robustness": 1.0,
                        "softmax_robustness": np.linspace(0, 1, N_PLANTED),
                        "gradient_is_zero": False,
                        "label": 1,
                        "clean_class": 1,
                        "attacked_class": 1,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def normal_points(n, d, seed=0):
    return torch.randn((n, d), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softened_posterior(beta=5.0, n_samples=1, **settings):
    network = architectures.fully_connected((1, 3, 3), hidden=6, n_classes=3, **settings)
    return explanations.softened(random_posterior(network, n_samples, scale=1.5), beta)


SMALL_EVALUATION = {"n_steps": 15, "n_restarts": 2, "n_queries": 60, "progress": False}


def louder(posterior: Posterior, factor: float) -> Posterior:
    """The same decisions, with logits that are larger."""
    last = list(posterior.samples)[-2:]
    return Posterior(
        posterior.network,
        {name: value * factor if name in last else value for name, value in posterior.samples.items()},
    )


OUTCOME_SETTINGS = Settings(epsilon=0.05, rule=Epsilon(0.1), top_percent=25)


def made_up_scores(first, second, name="10 samples", n_samples=10):
    rows = [
        {
            "model": model,
            "n_samples": count,
            "image": image,
            "lrp_robustness": score,
            "excess_lrp_robustness": score - 0.2,
        }
        for model, count, scores in (("deterministic", 1, first), (name, n_samples, second))
        for image, score in enumerate(scores)
    ]
    return pd.DataFrame(rows).assign(
        **{"clean_class": 0, "attacked_class": 0, "label": 0, "gradient_is_zero": False},
        **{"softmax_robustness": 0.5, "unrelated_lrp_robustness": 0.2, "ceiling_lrp_robustness": 1.0},
    )


class FakeOutcome:
    def __init__(self, failed, scores):
        self.failed = torch.tensor(failed)
        self.lrp_robustness = torch.tensor(scores, dtype=torch.float64)


class FakePosterior:
    def __init__(self, **diagnostics):
        found = {"n_samples": 100, "acceptance_rate": 0.8, "step_sizes": [0.01] * 4, "certificate": "nearly",
                 "rhat": 1.02, "ess": 140.0, "values": 200, "constant": 3}  # fmt: skip
        self.record = {"diagnostics": found | diagnostics, "settings": {"n_chains": 4, "warmup": 50}}


GENERATOR_SHAPE = (1, 8, 8)


def planted_halves():
    """Images with three bright 2x2 squares on noise: the class says in which half to look, and shows in the top row."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    images = 0.05 * torch.rand((400, *GENERATOR_SHAPE), generator=draw)
    for image in images:
        for row, column in torch.randint(1, 7, (3, 2), generator=draw).tolist():
            image[0, row : row + 2, column : column + 2] += 0.8
    images[:, 0, 0] = labels.float()[:, None]
    images = images.clamp(0, 1)
    return dataset.Dataset(
        "planted", images[:300], labels[:300], images[300:], labels[300:], ("left", "right"), "planted"
    )


def trained_generator(robust, halves, **settings):
    network = networks.encoder_decoder(GENERATOR_SHAPE, hidden=8)
    given = {"epochs": 25, "learning_rate": 1e-2, "batch_size": 30, "progress": False, **settings}
    return train_generator(network, robust, halves, **given)


def to_double(data):
    from dataclasses import replace

    return replace(data, train_images=data.train_images.double(), test_images=data.test_images.double())


def planted_joint():
    names = [source.STANDARD, "a", "b", "c", "d", "e"]
    rows = pd.DataFrame({"model": names}).set_index("model")
    for score in tables.SCORES:
        rows[score] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    rows["accuracy under attack"] = rows["accuracy under attack"].to_numpy()[::-1]
    rows["ROAR"] = [0.5, 0.9, 0.5, 0.5, 0.1, 0.4]
    for name in tables.SPREAD:
        rows[f"{name}, low"], rows[f"{name}, high"] = rows[name] - 0.05, rows[name] + 0.05
    gain = rows["ROAR"] - 0.5
    rows[tables.GAIN], rows[f"{tables.GAIN}, low"], rows[f"{tables.GAIN}, high"] = gain, gain - 0.15, gain + 0.15
    rows["nothing to follow"] = [0, 0, 0, 0, 0, 0.8]
    return rows


ROOT = Path(__file__).parents[1]


def made_up_manipulations(shifts, n=60):
    generator = np.random.default_rng(0)
    base = 0.5 + 0.1 * generator.standard_normal(n)
    parts = []
    for (model, change), shift in shifts.items():
        origin = base + shift
        parts.append(
            pd.DataFrame({
                "model": model, "method": "LRP", "image": range(n), "change": change, "correlation_origin": origin,
                "correlation_target": 0.6, "output_change": 0.01, "label_kept": True, "before": 0.1, "l2": 1.0,
            })
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


TWO_RULES = {"epsilon": Epsilon(0.1), "gamma": Gamma(0.1)}


def pooled_convolutional(activation=nn.ReLU):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), activation(), nn.MaxPool2d(2, 1), nn.Conv2d(4, 6, 2, stride=2, groups=2),
        nn.BatchNorm2d(6), activation(), nn.Dropout(0.5), nn.AvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


LINE_NOISE, LINE_PRIOR = 0.4, 0.7


def line_misfit(outputs, labels):
    return 0.5 * ((labels - outputs.squeeze(-1)) / LINE_NOISE) ** 2


def line_parameters(posterior):
    return torch.cat([posterior.samples["1.weight"].flatten(1), posterior.samples["1.bias"]], 1)


def normalised_convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 2), nn.ReLU(),
        nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


def chapter_text(title, *cells, parameters="dataset = 'digits'\nsize = 3\nshare = 0.5\nnames = ['a']"):
    blocks = [f"```{{code-cell}} ipython3\n:tags: [parameters]\n\n{parameters}\n```"] if parameters is not None else []
    blocks += [f"```{{code-cell}} ipython3\n{cell}\n```" for cell in cells]
    return HEAD + f"# {title}\n\n" + "\n\n".join(blocks) + "\n"


@cache
def chapters():
    """The book's chapters by name."""
    return {chapter.name: chapter for chapter in read_chapters(ROOT)}


def recorded_tables():
    return [(run, path.name.split(".")[0]) for run in records.runs() for path in (records.folder() / run).glob("*.xz")]


OF_STUDIES = ("layers", "rules", "saliency")

KNOWN_PIXELS = (8, 27)  # of 36 pixels; each holds one of two bits of the class


def planted_maps(posterior, images, target):
    maps = torch.zeros_like(images).flatten(1)
    maps[:, KNOWN_PIXELS] = 1.0
    return maps.reshape(images.shape)


def inverted_maps(posterior, images, target):
    return -planted_maps(posterior, images, target)


def half_known_maps(posterior, images, target):
    maps = torch.zeros_like(images).flatten(1)
    maps[:, KNOWN_PIXELS[0]] = 1.0
    return maps.reshape(images.shape)


PLANTED_ATTRIBUTIONS = {
    "perfect": Attribution(planted_maps),
    "half": Attribution(half_known_maps),
    "random": BASELINES["random"],
    "inverted": Attribution(inverted_maps, measure="signed"),
}


def straight_curves(**by_name):
    """A table of straight curves: accuracy 1 - slope x share, each seed with an offset."""
    rows = [
        {"attribution": name, "share": share, "seed": seed, "accuracy": 1 - slope * share + offset}
        for name, (slope, offsets) in by_name.items()
        for share in (0.0, 0.5)
        for seed, offset in enumerate(offsets)
    ]
    return pd.DataFrame(rows)


whole_maps = st.lists(st.integers(-3, 3), min_size=8, max_size=8)


def as_map(values):
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 2, 4)


class Residual(nn.Module):
    """A block with a branch of its own, a shortcut, and an activation on their sum."""

    def __init__(self, body, shortcut, activation):
        super().__init__()
        self.body, self.shortcut, self.activation = body, shortcut, activation

    def forward(self, x):
        return self.activation(self.body(x) + self.shortcut(x))


def dilated_convolutional():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(2, 1),
        nn.Conv2d(4, 4, 2, padding=2, dilation=2), nn.LeakyReLU(0.3), nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def residual():
    body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding="same"), nn.ReLU(), Residual(body, nn.Identity(), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 3),
    )  # fmt: skip


FOUR_TARGETS = torch.tensor([0, 1, 2, 1])


def matrix(layer, inputs):
    """The matrix [K, J] and the bias [K] of an affine layer, from its Jacobian at any point."""
    jacobian = jacrev(lambda x: layer(x[None])[0])(inputs)
    offset = layer(torch.zeros_like(inputs)[None])[0].flatten()
    return jacobian.reshape(offset.numel(), inputs.numel()), offset


def connections(layer, inputs):
    """Which input reaches which output: the matrix with all weights one."""
    import copy

    ones = copy.deepcopy(layer)
    with torch.no_grad():
        ones.weight.fill_(1.0)
        if ones.bias is not None:
            ones.bias.zero_()
    return matrix(ones, inputs)[0]


def off_zero(z):
    return torch.where(z >= 0, z + 1e-14, z - 1e-14)


def shared_by_definition(rule, layer, inputs, relevance):
    """The rule as it is published, on single contributions."""
    weight, bias = matrix(layer, inputs)
    a = inputs.flatten()
    contributions = weight * a

    def ratio(parts, total):
        return (parts * (relevance.flatten() / total)[:, None]).sum(0)

    if isinstance(rule, Epsilon):
        z = contributions.sum(1) + bias
        found = ratio(contributions, torch.where(z >= 0, z + rule.epsilon, z - rule.epsilon))
    elif isinstance(rule, Gamma):
        raised = (weight + rule.gamma * weight.clamp(min=0)) * a
        found = ratio(raised, off_zero(raised.sum(1) + bias + rule.gamma * bias.clamp(min=0)))
    elif isinstance(rule, GeneralisedGamma):
        z = contributions.sum(1) + bias
        up = (z >= 0)[:, None]
        emphasised = torch.where(up, contributions.clamp(min=0), contributions.clamp(max=0))
        of_bias = torch.where(z >= 0, bias.clamp(min=0), bias.clamp(max=0))
        total = off_zero(z + rule.gamma * (emphasised.sum(1) + of_bias))
        found = ratio(contributions + rule.gamma * emphasised, total)
    elif isinstance(rule, AlphaBeta):
        plus, minus = contributions.clamp(min=0), contributions.clamp(max=0)
        found = rule.alpha * ratio(plus, plus.sum(1) + bias.clamp(min=0) + 1e-14)
        found = found - rule.beta * ratio(minus, minus.sum(1) + bias.clamp(max=0) - 1e-14)
    elif isinstance(rule, ZPlus):
        plus = contributions.clamp(min=0)
        found = ratio(plus, plus.sum(1) + 1e-14)
    elif isinstance(rule, ZBox):
        parts = contributions - rule.low * weight.clamp(min=0) - rule.high * weight.clamp(max=0)
        found = ratio(parts, off_zero(parts.sum(1)))
    elif isinstance(rule, WSquare):
        found = ratio(weight**2, (weight**2).sum(1) + 1e-14)
    else:
        ones = connections(layer, inputs)
        found = ratio(ones, ones.sum(1) + 1e-14)
    return found.reshape(inputs.shape)


def folded(convolution, norm):
    """One convolution that does what a convolution and a batch norm do."""
    new = nn.Conv2d(convolution.in_channels, convolution.out_channels, 3, padding=1).double()
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    with torch.no_grad():
        new.weight.copy_(convolution.weight * factor[:, None, None, None])
        new.bias.copy_(norm.bias - norm.running_mean * factor)
    return new


def steps(network):
    """The layers of a plain chain, with batch norm folded."""
    layers = []
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = folded(layers[-1], layer)
        else:
            layers.append(layer)
    return layers


def backward(rule, layers, inputs, relevance_of):
    """Relevance of the inputs of a chain, one image at a time; ``relevance_of`` gives that of its output."""
    values = [inputs]
    for layer in layers:
        values.append(layer(values[-1][None])[0])
    relevance = relevance_of(values[-1])
    for layer, a, z in zip(reversed(layers), values[-2::-1], values[:0:-1], strict=True):
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            relevance = shared_by_definition(rule, layer, a, relevance)
        elif isinstance(layer, nn.Flatten):
            relevance = relevance.reshape(a.shape)
        elif isinstance(layer, nn.MaxPool2d):
            winners = jacrev(lambda x, layer=layer: layer(x[None])[0])(a).reshape(z.numel(), a.numel())
            relevance = (winners * relevance.flatten()[:, None]).sum(0).reshape(a.shape)
        elif isinstance(layer, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
            parts = jacrev(lambda x, layer=layer: layer(x[None])[0])(a).reshape(z.numel(), a.numel()) * a.flatten()
            relevance = (parts * (relevance.flatten() / off_zero(z.flatten()))[:, None]).sum(0).reshape(a.shape)
        elif isinstance(layer, Residual):
            body = steps(layer.body)
            branch, total = a, relevance
            for inner in body:
                branch = inner(branch[None])[0]
            whole = off_zero(branch + a)
            through = backward(rule, body, a, lambda value, t=total, w=whole: value * t / w)
            relevance = through + a * total / whole
    return relevance


SMALL_STUDY = study.Study(
    "digits", n_train=200, hidden=8, epochs=3, n_draws=4, n_samples=(2,), inference={"warmup": 4, "n_steps": 4}
)
SCENE_GRID = {
    "images": (0, 2), "n_samples": (1, 4), "attacks": ("FGSM", "top-k"), "sizes": (0.05, 0.2), "rules": ("epsilon", "gamma"),
    "top_percents": (10, 30),
}  # fmt: skip

PLANTED_SHIFTS = {"deterministic": 0.0, "adversarially trained": -0.2, "Bayesian, 10": 0.05, "Bayesian, 100": 0.1}
