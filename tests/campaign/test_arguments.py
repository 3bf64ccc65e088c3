"""Every public function with arguments that it cannot take: a sentence that names the argument, or the result of none."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from campaign.sentences import assert_sentence
from oracles import random_posterior
from relevance import attacks, datasets, explanations, inference, metrics, networks, studies
from relevance.attacks.manipulation import shares
from relevance.datasets.dataset import Dataset
from relevance.explanations import Epsilon, gradient
from relevance.inference import evidence
from relevance.metrics import alignment
from relevance.networks import architectures, doors, pretrained
from relevance.networks.posterior import Posterior
from relevance.studies import records

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

NAN, INFINITE = math.nan, math.inf
SHAPE = (1, 4, 4)
NETWORK = architectures.fully_connected(SHAPE, hidden=4, n_classes=3).double()
POSTERIOR = random_posterior(NETWORK, n_samples=2)
IMAGES = torch.rand((3, *SHAPE), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
CLASSES = torch.tensor([0, 1, 2])
MAPS = torch.rand((3, *SHAPE), generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 0.5
PROBABILITIES = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.1, 0.1, 0.8]])
CHAINED = replace(
    random_posterior(NETWORK, n_samples=4),
    record={"method": "hmc", "settings": {"warmup": 0, "start": "sgd"}, "seconds": 1.0,
            "history": [[{"energy": 0.0, "n_gradients": 1}] * 2] * 2},
)  # fmt: skip
DATA = Dataset("tiny", IMAGES.repeat(4, 1, 1, 1), CLASSES.repeat(4), IMAGES, CLASSES, ("a", "b", "c"), "made up")
FEWER_ROOTS = explanations.root_points(POSTERIOR, IMAGES[:2], CLASSES[:2], n_steps=1)
VALUES = torch.rand(5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
PATTERNS = explanations.fit_patterns(POSTERIOR, IMAGES)
ROOTS = explanations.root_points(POSTERIOR, IMAGES, CLASSES, n_steps=1)


def but(values: Any, value: Any) -> Any:
    """Return values of which one is another."""
    changed = values.clone()
    changed.view(-1)[1] = value
    return changed


def data_but(**changes: Any) -> Dataset:
    return Dataset(**{**vars(DATA), **changes})


def tensors(valid: Any) -> dict[str, Any]:
    """Return what is in place of any tensor: no tensor, or one of a kind that nothing can be computed with."""
    return {
        "nothing": None,
        "a number": 1,
        "a text": "images",
        "a list": valid.tolist(),
        "an array": valid.numpy(),
        "sparse": valid.to_sparse(),
        "without values": valid.to("meta"),
        "complex": valid.to(torch.complex64),
        "truths": valid > 0,
    }


def finite(valid: Any) -> dict[str, Any]:
    return {"NaN": but(valid, NAN), "infinite": but(valid, INFINITE)}


def less(kinds: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return what is wrong, but for what is right here."""
    return {name: value for name, value in kinds.items() if name not in names}


NUMBERS: dict[str, Any] = {
    "a text": "a",
    "nothing": None,
    "a truth": True,
    "NaN": NAN,
    "infinite": INFINITE,
    "a list": [1],
}
COUNTS: dict[str, Any] = {**NUMBERS, "zero": 0, "negative": -1, "a half": 0.5, "ten to the 400": -(10**400)}
POSITIVE: dict[str, Any] = {**NUMBERS, "zero": 0, "negative": -1.0, "ten to the 400": 10**400}
FROM_ZERO = less(POSITIVE, "zero")
SEEDS = {**less(COUNTS, "zero"), "two to the 70": 2**70}
PERCENTS = {**POSITIVE, "above 100": 100.5}
SHARE = {**POSITIVE, "above 1": 1.5}
CHOICES: dict[str, Any] = {"unknown": "unknown", "empty": "", "nothing": None, "a number": 3, "a list": ["linf"]}
TRUTHS: dict[str, Any] = {"a number": 1, "a text": "no", "nothing": None}
FUNCTIONS: dict[str, Any] = {"a text": "gradient", "a number": 1, "a list": [gradient]}
SHAPES: dict[str, Any] = {
    "nothing": None, "a number": 4, "a text": "a", "two sides": (4, 4), "a zero": (1, 0, 4), "a half": (1, 4.5, 4),
    "negative": (1, -4, 4),
}  # fmt: skip
LAYERS: dict[str, Any] = {"unknown": "unknown", "no affine one": 2, "beyond": 99, "a half": 1.5}
DEVICES: dict[str, Any] = {"unknown": "gpu", "a half": 1.5, "another": "mps", "a list": ["cpu"]}
MODELS: dict[str, Any] = {
    "nothing": None,
    "a text": "posterior",
    "a network": NETWORK,
    "its samples": POSTERIOR.samples,
}
BATCHES: dict[str, Any] = {
    **tensors(IMAGES),
    **finite(IMAGES),
    "whole numbers": CLASSES.reshape(3, 1, 1, 1),
    "one image": IMAGES[0],
    "of another size": IMAGES[..., 1:],
    "above 1": IMAGES + 1,
    "below 0": IMAGES - 1,
    "of another precision": IMAGES.float(),
}
SHAPELESS = less(BATCHES, "NaN", "infinite", "above 1", "below 0")
LABELS: dict[str, Any] = {
    **tensors(CLASSES),
    "not whole": CLASSES.double(),
    "too few": CLASSES[:2],
    "a column": CLASSES[:, None],
    "beyond": CLASSES + 1,
    "negative": CLASSES - 1,
}
OF_IMAGES = {
    **tensors(MAPS),
    **finite(MAPS),
    "of another size": MAPS[..., 1:],
    "too few": MAPS[:2],
    "a single one": MAPS[0],
}
PREDICTIONS: dict[str, Any] = {
    **tensors(PROBABILITIES),
    **finite(PROBABILITIES),
    "logits": torch.tensor([[2.0, -1.0, 0.0]] * 3),
    "shares of 2": PROBABILITIES * 2,
    "of no sum": PROBABILITIES / 2,
    "of one class": PROBABILITIES[:, 0],
}
SCORES: dict[str, Any] = {
    "nothing": None, "a text": "a", "a number": 1, "texts": np.array(["a", "b"]), "a table": MAPS[0, 0], "one": torch.ones(1),
    **finite(torch.rand(5, dtype=torch.float64)), "ragged": [[1.0], [1.0, 2.0]],
}  # fmt: skip
BETAS: dict[str, Any] = {"a number": 3.0, "one": (3.0,), "zero": (0.0, 1.0), "texts": ("a", "b"), "a text": "ab"}
ROOMS: dict[str, Any] = {
    "nothing": None, "a number": 1, "two parts": [VALUES] * 2, "a text": "abc", "NaN": [but(VALUES, NAN)] * 3,
    "too few": [VALUES[:1]] * 3, "nothings": [None] * 3,
}  # fmt: skip
OF_RUNS = torch.rand((3, 5), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
RUNS: dict[str, Any] = {
    "nothing": None, "a text": "a", "a number": 1, "texts": np.array([["a"], ["b"]]), "of one run": OF_RUNS[:1],
    "of no runs": VALUES, "of one image": OF_RUNS[:, :1], "ragged": [[1.0], [1.0, 2.0]], **finite(OF_RUNS),
}  # fmt: skip
BIAS = POSTERIOR.samples["5.bias"]
BIASES = {**tensors(BIAS), **finite(BIAS), "too many": BIAS[[0, 1, 1]], "of another size": BIAS[:, 1:]}
CHANNELS: dict[str, Any] = {"a number": 0.5, "too many": [0.5, 0.5], "texts": ["a"], "a text": "a", "NaN": [NAN]}
RULES: dict[str, Any] = {"nothing": None, "a text": "epsilon", "a class": Epsilon, "a number": 0.1}
NETWORKS: dict[str, Any] = {
    "nothing": None,
    "a text": "network",
    "a class": nn.Linear,
    "a posterior": POSTERIOR,
    "without parameters": nn.Sequential(nn.Flatten()),
    "of other images": architectures.fully_connected((1, 3, 3), hidden=4, n_classes=3).double(),
    "of too few classes": architectures.fully_connected(SHAPE, hidden=4, n_classes=2).double(),
}
DATASETS: dict[str, Any] = {
    "nothing": None,
    "a name": "digits",
    "images": IMAGES,
    "NaN": data_but(train_images=but(DATA.train_images, NAN)),
    "infinite": data_but(train_images=but(DATA.train_images, INFINITE)),
    "pixels of bytes": data_but(train_images=DATA.train_images * 255),
    "no images": data_but(train_images=IMAGES[:0], train_labels=CLASSES[:0]),
    "labels beyond": data_but(train_labels=DATA.train_labels + 1),
    "labels negative": data_but(train_labels=DATA.train_labels - 1),
    "labels not whole": data_but(train_labels=DATA.train_labels.double()),
    "labels of 32 bits": data_but(train_labels=DATA.train_labels.int()),
    "too few labels": data_but(train_labels=CLASSES),
    "labels in a list": data_but(train_labels=DATA.train_labels.tolist()),
    "images in an array": data_but(train_images=DATA.train_images.numpy()),
}
# What is wrong for an argument of this name, unless a call says so itself.
BAD: dict[str, dict[str, Any]] = {
    "posterior": MODELS,
    "images": BATCHES,
    "target": LABELS,
    "labels": LABELS,
    "maps": OF_IMAGES,
    "before": OF_IMAGES,
    "after": OF_IMAGES,
    "target_maps": OF_IMAGES,
    "aims": OF_IMAGES,
    "first": SCORES,
    "second": SCORES,
    "rule": RULES,
    "network": NETWORKS,
    "data": DATASETS,
    "image_shape": SHAPES,
    "device": DEVICES,
    "explain": {**FUNCTIONS, "gives a number": lambda *_: 1.0, "gives one number": lambda *_: torch.ones(())},
    "objective": {
        **CHOICES,
        "gives one number": lambda logits, labels: logits.mean(),
        "gives a number": lambda logits, labels: 1.0,
        "does not depend on the images": lambda logits, labels: torch.ones(len(labels)),
    },
    **dict.fromkeys(("n_steps", "n_noise", "n_restarts", "n_perturbations", "n_orders", "n_queries", "n_squares", "n_bins",
                     "n_radii", "n_bisections", "n_samples", "n_points", "n_quadrature", "hidden", "n_classes", "epochs",
                     "batch_size", "n_chains", "rank", "per_epoch", "swag_epochs", "start_epochs", "n_directions",
                     "most_steps", "jobs", "n_images"), COUNTS),
    **dict.fromkeys(("epsilon", "noise", "output_weight", "strength", "jitter"), FROM_ZERO),
    **dict.fromkeys(("tolerance", "step", "beta", "learning_rate", "prior_scale", "temperature",
                     "swag_learning_rate", "start_scale", "step_size", "trajectory"), POSITIVE),
    **dict.fromkeys(("norm", "measure", "perturbation", "keep", "reading", "along", "start", "activation", "kind",
                     "mass", "kl_per"), CHOICES),
    **dict.fromkeys(("per_sample", "random_start", "keep_label", "contributions", "scaled", "relative", "adapt",
                     "normalised", "exact", "grow", "own_class"), TRUTHS),
    **dict.fromkeys(("top_percent",), PERCENTS),
    **dict.fromkeys(("first_share", "kept", "rate", "target_acceptance"), SHARE),
    "seed": SEEDS,
    "layer": LAYERS,
}  # fmt: skip


class Call(NamedTuple):
    """A function with arguments that it takes; each is replaced by what is wrong for its name, or what is said here."""

    function: Any
    given: dict[str, Any]
    bad: dict[str, dict[str, Any]]


def call(function: Any, bad: dict[str, dict[str, Any]] | None = None, /, **given: Any) -> Call:
    return Call(function, given, bad or {})


MODEL: dict[str, Any] = {"posterior": POSTERIOR, "images": IMAGES, "target": CLASSES}
ATTACKED: dict[str, Any] = {"posterior": POSTERIOR, "images": IMAGES, "labels": CLASSES, "epsilon": 0.1}
EXPLAINED: dict[str, Any] = {**MODEL, "epsilon": 0.1, "n_steps": 1, "seed": 0, "norm": "linf", "keep_label": True}
WALK: dict[str, Any] = {"norm": "l2", "n_steps": 1, "n_restarts": 1, "step_size": 0.1, "random_start": True, "seed": 0}
PAIR: dict[str, Any] = {"before": MAPS, "after": -MAPS}
TRAINED: dict[str, Any] = {
    "network": NETWORK,
    "data": DATA,
    "epochs": 1,
    "batch_size": 6,
    "learning_rate": 0.01,
    "seed": 0,
}
WALK_BAD = {"step_size": less(POSITIVE, "nothing"), "keep": less(CHOICES, "nothing")}
EXPLAIN_BAD = {**WALK_BAD, "rule": less(RULES, "nothing"), "n_samples": less(COUNTS, "nothing")}
REGION = torch.ones(SHAPE, dtype=torch.bool)
CURVES = torch.rand(3, 17, dtype=torch.float64)

# What the doors for posteriors take, and what they cannot take.
STATE = NETWORK.state_dict()
VECTORS = torch.stack([nn.utils.parameters_to_vector(NETWORK.parameters()).detach()] * 2)
ANY_NETWORK = less(NETWORKS, "of other images", "of too few classes")
LOGITS = POSTERIOR.logits(IMAGES)
CHECKS: dict[str, Any] = {
    "a text": "a", "a tensor": IMAGES, "three": (IMAGES, LOGITS, LOGITS), "of too few draws": (IMAGES, LOGITS[:1]),
    "of others": (IMAGES, LOGITS + 1), "of softmax": (IMAGES, LOGITS.softmax(-1)),
    **{f"images {kind}": (value, LOGITS) for kind, value in less(BATCHES, "of another precision").items()},
    **{f"logits {kind}": (IMAGES, value) for kind, value in {**less(tensors(LOGITS), "an array"), **finite(LOGITS)}.items()},
}  # fmt: skip


MEAN_FIELD = nn.Module()
MEAN_FIELD.mu_weight, MEAN_FIELD.rho_weight = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.zeros(2, 2))


def states_but(value: Any) -> list[Any]:
    return [STATE, {**STATE, "5.bias": value}]


def sites_but(value: Any) -> dict[str, Any]:
    return {**POSTERIOR.samples, "5.bias": value}


CALLS = {
    "explanations.lrp": call(
        explanations.lrp,
        {"seed": CHOICES},
        **MODEL, rule=Epsilon(), per_sample=False, seed="logit", layer=1, reading="activation", own_class=False,
    ),
    "explanations.kept_by_layer": call(explanations.kept_by_layer, {"seed": CHOICES}, **MODEL, rule=Epsilon(), seed="logit"),
    "explanations.gradient": call(explanations.gradient, **MODEL, per_sample=False),
    "explanations.gradient_x_input": call(explanations.gradient_x_input, **MODEL, per_sample=False),
    "explanations.integrated_gradients": call(
        explanations.integrated_gradients,
        {"baseline": {**FROM_ZERO, "above 1": 1.5}},
        **MODEL, per_sample=False, baseline=0.0, n_steps=2,
    ),
    "explanations.guided_backprop": call(explanations.guided_backprop, **MODEL, per_sample=False),
    "explanations.root_points": call(explanations.root_points, **MODEL, n_steps=1, tolerance=0.1),
    "explanations.deep_taylor": call(
        explanations.deep_taylor,
        {"roots": {"a text": "roots", "images": IMAGES, "of others": FEWER_ROOTS}},
        **MODEL, per_sample=False, roots=ROOTS,
    ),
    "explanations.fit_patterns": call(explanations.fit_patterns, posterior=POSTERIOR, images=IMAGES),
    "explanations.pattern_attribution": call(
        explanations.pattern_attribution,
        {"patterns": {"nothing": None, "a text": "a", "none": {}, "numbers": dict.fromkeys(PATTERNS, 1.0),
                      "of one sample": {name: value[:1] for name, value in PATTERNS.items()},
                      "of another shape": {name: value[..., :1] for name, value in PATTERNS.items()},
                      "arrays": {name: value.numpy() for name, value in PATTERNS.items()},
                      "NaN": {name: but(value, NAN) for name, value in PATTERNS.items()}}},
        **MODEL, patterns=PATTERNS, per_sample=False,
    ),
    "explanations.softened": call(explanations.softened, posterior=POSTERIOR, beta=3.0),
    "explanations.softplus": call(explanations.softplus, {"explain": FUNCTIONS}, explain=gradient, beta=3.0),
    "explanations.smooth_grad": call(
        explanations.smooth_grad, {"explain": {**FUNCTIONS, "nothing": None}},
        **MODEL, explain=gradient, noise=0.1, n_noise=2, seed=0, per_sample=False,
    ),
    "explanations.smooth_grad of another method": call(
        explanations.smooth_grad, **MODEL, explain=explanations.lrp, noise=0.1, n_noise=2, seed=0, per_sample=False
    ),
    "explanations.noise_grad": call(
        explanations.noise_grad, {"explain": FUNCTIONS}, explain=gradient, noise=0.1, n_noise=2, seed=0
    ),
    "explanations.top_share": call(
        explanations.top_share,
        {"maps": {**tensors(MAPS), **finite(MAPS), "a row": MAPS.flatten(), "without entries": MAPS[..., :0]}},
        maps=MAPS, top_percent=20,
    ),
    "explanations.Epsilon": call(explanations.Epsilon, epsilon=0.1),
    "explanations.Gamma": call(explanations.Gamma, {"gamma": FROM_ZERO}, gamma=0.1),
    "explanations.GeneralisedGamma": call(explanations.GeneralisedGamma, {"gamma": FROM_ZERO}, gamma=0.1),
    "explanations.AlphaBeta": call(
        explanations.AlphaBeta,
        {"alpha": {**NUMBERS, "too small": 0.5, "of no sum": 3.0}, "beta": {**FROM_ZERO, "of no sum": 3.0}},
        alpha=2.0, beta=1.0,
    ),
    "explanations.ZBox": call(
        explanations.ZBox, {"low": {**NUMBERS, "high": 1.0}, "high": {**NUMBERS, "low": 0.0}}, low=0.0, high=1.0
    ),
    "explanations.Composite": call(
        explanations.Composite,
        {"default": RULES, "first": less(RULES, "nothing"), "last": less(RULES, "nothing"),
         "layers": {"nothing": None, "a rule": Epsilon(), "of texts": {"1": "epsilon"}, "of nothing": {"1": None}},
         "types": {"nothing": None, "a rule": Epsilon(), "by name": {"Linear": Epsilon()}, "of texts": {nn.Linear: "epsilon"},
                   "of no layers": {int: Epsilon()}},
         **dict.fromkeys(("products", "attention", "norms"), CHOICES)},
        default=Epsilon(), first=Epsilon(), last=Epsilon(), layers={"1": Epsilon()}, types={nn.Linear: Epsilon()},
        products="signal", attention="constant", norms="neighbour",
    ),
    "explanations.register": call(
        explanations.register,
        {"kind": {"nothing": None, "a text": "a", "a module": nn.ReLU(), "another class": int, "an affine layer": nn.Linear},
         "backward": FUNCTIONS},
        kind=type("Own", (nn.ReLU,), {}), backward=explanations.pass_on,
    ),
    "attacks.fgsm": call(attacks.fgsm, **ATTACKED, norm="linf", objective="margin"),
    "attacks.pgd": call(attacks.pgd, WALK_BAD, **ATTACKED, **WALK, objective="margin", keep="last"),
    "attacks.loss_gradient": call(attacks.loss_gradient, posterior=POSTERIOR, images=IMAGES, labels=CLASSES, objective="margin"),
    "attacks.zero_gradients": call(
        attacks.zero_gradients, posterior=POSTERIOR, images=IMAGES, labels=CLASSES, objective="margin"
    ),
    "attacks.square": call(attacks.square, **ATTACKED, n_queries=3, first_share=0.5, seed=0),
    "attacks.evaluate": call(
        attacks.evaluate, {"surrogate": less(MODELS, "nothing")},
        **ATTACKED, norm="linf", n_steps=1, n_restarts=1, n_queries=3, surrogate=POSTERIOR[0], seed=0, progress=False,
    ),
    "attacks.accuracy_by_epsilon": call(
        attacks.accuracy_by_epsilon,
        {"epsilons": {"nothing": None, "a number": 0.1, "none": [], "negative": [-0.1], "NaN": [NAN], "a text": "a",
                      "texts": ["a"]}, **WALK_BAD},
        posterior=POSTERIOR, images=IMAGES, labels=CLASSES, epsilons=[0.1], n_steps=1, progress=False,
    ),
    "attacks.loss_by_steps": call(attacks.loss_by_steps, **ATTACKED, n_steps=2, objective="margin", progress=False),
    "attacks.top_k": call(
        attacks.top_k, EXPLAIN_BAD, **EXPLAINED, top_percent=20, measure="share", rule=Epsilon(), n_samples=1, progress=False
    ),
    "attacks.top_k of another method": call(
        attacks.top_k, {"beta": BETAS}, **MODEL, epsilon=0.1, n_steps=1,
        explain=explanations.gradient_x_input, beta=(3.0, 9.0), progress=False,
    ),
    "attacks.target_region": call(
        attacks.target_region,
        {"region": {"nothing": None, "a text": "a", "numbers": REGION.double(), "empty": ~REGION,
                    "of another size": REGION[..., 1:], "an array": REGION.numpy(), "sparse": REGION.to_sparse(),
                    "without values": REGION.to("meta")}, **EXPLAIN_BAD},
        **EXPLAINED, region=REGION, measure="relevance", progress=False,
    ),
    "attacks.target_map": call(
        attacks.target_map, {"beta": {**BETAS, "nothing": None}, **EXPLAIN_BAD},
        **EXPLAINED, target_maps=MAPS, output_weight=1.0, beta=(3.0, 9.0), progress=False,
    ),
    "attacks.random_region": call(attacks.random_region, {"shape": SHAPES}, shape=SHAPE, top_percent=20, seed=0),
    "attacks.Attack": call(
        attacks.Attack, {"objective": CHOICES, "step_size": less(POSITIVE, "nothing")},
        kind="PGD", epsilon=0.1, objective="margin", n_steps=1, step_size=0.1, top_percent=20, seed=0,
    ),
    "attacks.Search": call(
        attacks.Search, {**WALK_BAD, "random_start": TRUTHS}, epsilon=0.1, **WALK, keep="last",
    ),
    "attacks.Manipulation": call(
        attacks.Manipulation,
        {"betas": {"nothing": None, "a number": 3.0, "none": (), "numbers": (3.0, 9.0), "three": ((1.0, 2.0, 3.0),),
                   "zero": ((0.0, 1.0),), "a text": "a"}},
        epsilon=1.0, n_steps=1, output_weight=1.0, betas=((3.0, 9.0),), n_quadrature=2, rule=Epsilon(), top_percent=20, seed=0,
    ),
    "attacks.manipulated": call(
        attacks.manipulated,
        {"aims": {**tensors(MAPS), **finite(MAPS), "too few": MAPS[:2], "a single one": MAPS[0]},
         "how": {"nothing": None, "a text": "a", "settings": {"epsilon": 1.0}}, "explain": FUNCTIONS},
        **MODEL, explain=shares(gradient), aims=MAPS.abs(), how=attacks.Manipulation(epsilon=0.1, n_steps=1),
    ),
    "attacks.LogPredictive": call(attacks.LogPredictive, posterior=POSTERIOR),
    "metrics.lrp_robustness": call(metrics.lrp_robustness, **PAIR, top_percent=20),
    "metrics.unrelated_robustness": call(metrics.unrelated_robustness, **PAIR, top_percent=20),
    "metrics.softmax_robustness": call(
        metrics.softmax_robustness, {"before": PREDICTIONS, "after": PREDICTIONS}, before=PROBABILITIES, after=PROBABILITIES
    ),
    "metrics.linear_similarity": call(metrics.linear_similarity, **PAIR),
    "metrics.rank_similarity": call(metrics.rank_similarity, **PAIR),
    "metrics.structural_similarity": call(metrics.structural_similarity, **PAIR),
    "metrics.relative_error": call(metrics.relative_error, **PAIR),
    "metrics.map_scores": call(metrics.map_scores, **PAIR, top_percent=20),
    "metrics.deletion": call(
        metrics.deletion,
        {"shares": {"nothing": None, "none": [], "a text": "a", "beyond": [0, 2], "NaN": [NAN], "a number": 0.5},
         "baseline": {**CHOICES, **finite(IMAGES), "of another size": IMAGES[..., 1:], "above 1": IMAGES + 1,
                      "without values": IMAGES.to("meta")}},
        **MODEL, maps=MAPS, shares=[0, 0.5, 1], baseline="black", measure="relevance", n_orders=1, seed=0,
    ),
    "metrics.deletion_area": call(
        metrics.deletion_area,
        {"curves": {**tensors(CURVES), **finite(CURVES), "too short": CURVES[:, 1:], "a row": CURVES[0]},
         "shares": {"nothing": None, "one": [0.5], "falling": torch.linspace(1, 0, 17).tolist(), "texts": ["a"] * 17,
                    "NaN": [NAN] * 17}},
        curves=CURVES, shares=metrics.SHARES,
    ),
    "metrics.infidelity": call(
        metrics.infidelity,
        {"size": less({**COUNTS, "too large": 5}, "nothing"), "baseline": CHOICES},
        **MODEL, maps=MAPS, perturbation="square", size=2, n_perturbations=2, baseline="black", contributions=True, scaled=False,
        relative=False, seed=0,
    ),
    "metrics.random_squares": call(
        metrics.random_squares, {"shape": SHAPES, "size": {**COUNTS, "too large": 5}}, shape=SHAPE, size=2, n_squares=2, seed=0
    ),
    "metrics.table": call(
        metrics.table,
        {"maps": {"nothing": None, "a text": "a", "one": MAPS, "none": {}, "NaN": {"a": but(MAPS, NAN)},
                  "of another size": {"a": MAPS[..., 1:]}},
         "contributions": {"unknown": ["b"], "nothing": None, "a number": 1}},
        **MODEL, maps={"a": MAPS}, model="m", contributions=["a"], n_perturbations=2, n_orders=1, seed=0,
    ),
    **{
        f"metrics.{function.__name__}": call(
            function,
            {"rules": {"nothing": None, "a rule": Epsilon(), "none": {}, "of texts": {"a": "epsilon"},
                       "of nothing": {"a": None}}},
            **MODEL, rules={"a": Epsilon()},
        )
        for function in (metrics.fidelity, metrics.conservation)
    },
    "metrics.agreement": call(
        metrics.agreement,
        {"maps": {"nothing": None, "a text": "a", "one": MAPS, "none": {},
                  **{name: {"a": MAPS, "b": value} for name, value in less(OF_IMAGES, "truths").items()}},
         "reference": CHOICES},
        maps={"a": MAPS, "b": -MAPS}, reference="a", top_percent=20,
    ),
    **{
        f"metrics.{function.__name__}": call(function, {}, first=VALUES, second=VALUES.flip(0), seed=0)
        for function in (metrics.paired_difference,)
    },
    **{
        f"metrics.{function.__name__}": call(function, {}, first=VALUES, second=VALUES.flip(0))
        for function in (metrics.mann_whitney, metrics.spearman)
    },
    "metrics.scaled_difference": call(
        metrics.scaled_difference,
        {"first": ROOMS, "second": ROOMS},
        first=[VALUES, 0 * VALUES, 1 + VALUES], second=[VALUES, 0 * VALUES, 1 + VALUES], seed=0,
    ),
    **{
        f"metrics.{function.__name__}": call(function, {"first": RUNS, "second": RUNS}, first=OF_RUNS, second=-OF_RUNS, **more)
        for function, more in ((metrics.crossed_difference, {}), (metrics.crossed_bootstrap, {"seed": 0, "n_resamples": 10}))
    },
    "metrics.crossed_mean": call(metrics.crossed_mean, {"scores": RUNS}, scores=OF_RUNS),
    "metrics.standing": call(
        metrics.standing,
        {"low": less(NUMBERS, "NaN", "infinite"), "high": less(NUMBERS, "NaN", "infinite"), "margin": POSITIVE},
        low=-0.1, high=0.1, margin=0.02,
    ),
    "metrics.holm": call(
        metrics.holm,
        {"p_values": {"nothing": None, "a text": "a", "a number": 0.5, "above 1": [0.5, 1.5], "negative": [-0.1], "NaN": [NAN],
                      "a table": [[0.5]], "texts": ["a"]}},
        p_values=[0.5, 0.01],
    ),
    "metrics.asterisks": call(metrics.asterisks, {"p_value": {**FROM_ZERO, "above 1": 1.5}}, p_value=0.5),
    **{
        f"metrics.alignment.{function.__name__}": call(function, {"of": CHOICES}, **MODEL, of="margin")
        for function in (alignment.score, alignment.alignment)
    },
    "metrics.alignment.distance": call(alignment.distance, **MODEL, n_radii=2, n_steps=1, n_bisections=1),
    "metrics.alignment.bound": call(alignment.bound, **MODEL, n_radii=2, n_steps=1, n_bisections=1),
    "inference.sgd": call(inference.sgd, **TRAINED, progress=False),
    "inference.adversarial": call(
        inference.adversarial, WALK_BAD,
        **TRAINED, epsilon=0.1, norm="linf", n_steps=1, step_size=0.1, random_start=True, progress=False,
    ),
    "inference.deep_ensemble": call(
        inference.deep_ensemble, {"prior_scale": less(POSITIVE, "nothing")},
        **TRAINED, n_samples=2, prior_scale=0.1, progress=False,
    ),
    "inference.distillation": call(
        inference.distillation,
        {"teacher_temperature": less(POSITIVE, "nothing"), "student_temperature": less(POSITIVE, "nothing")},
        **TRAINED, temperature=2.0, teacher_temperature=1.0, student_temperature=1.0, progress=False,
    ),
    "inference.jacobian": call(inference.jacobian, **TRAINED, strength=0.1, progress=False),
    "inference.low_curvature": call(
        inference.low_curvature, **TRAINED, strength=0.1, step=0.5, along="sign", normalised=False, progress=False
    ),
    "inference.laplace": call(inference.laplace, **TRAINED, n_samples=2, prior_scale=0.1, progress=False),
    "inference.map_estimate": call(inference.map_estimate, **TRAINED, prior_scale=0.1, progress=False),
    "inference.mc_dropout": call(inference.mc_dropout, **TRAINED, n_samples=2, rate=0.1, progress=False),
    "inference.swag": call(
        inference.swag, **TRAINED, n_samples=2, swag_epochs=2, swag_learning_rate=0.01, rank=2, per_epoch=1, progress=False
    ),
    "inference.variational": call(
        inference.variational,
        {"kl_epochs": less(COUNTS, "zero")},
        **TRAINED, n_samples=2, prior_scale=0.1, start="prior", start_epochs=1, start_scale=0.01, kl_epochs=0,
        kl_per="epoch", progress=False,
    ),
    "inference.hmc": call(
        inference.hmc,
        {"warmup": less(COUNTS, "zero"), "checkpoint": {"a number": 1, "a list": ["a"]},
         **{name: less(COUNTS, "nothing") for name in ("n_steps", "n_chains", "jobs")}},
        network=NETWORK, data=DATA, n_samples=2, warmup=0, n_steps=1, trajectory=1.0, jitter=0.1, most_steps=10,
        step_size=0.001, adapt=True, target_acceptance=0.8, mass="unit", exact=True, rescale=True, prior_scale=0.1, start="prior",
        grow=True, n_chains=1, jobs=1, seed=0, progress=False, checkpoint=None,
    ),
    "inference.certify": call(
        inference.certify,
        {"posterior": {"nothing": None, "a network": NETWORK, "of no chains": POSTERIOR},
         "data": {"nothing": None, "a name": "digits", "NaN": data_but(test_images=but(IMAGES, NAN)),
                  "labels beyond": data_but(test_labels=CLASSES + 3)},
         "draws": {"a number": 1, "numbers": {"a": 1}, "of one number": {"a": lambda posterior: 1.0},
                   "of fewer": {"a": lambda posterior: torch.ones(1, 2)}},
         "chains": {"a number": 1, "numbers": {"a": 1}, "of one number": {"a": lambda posterior: torch.tensor(1.0)}}},
        posterior=CHAINED, data=DATA, n_images=2, draws=None, chains=None,
    ),
    "inference.Line": call(inference.Line, n_points=3, noise=0.5, prior_scale=1.0, seed=0),
    **{
        f"inference.evidence.{function.__name__}": call(
            function, {"probabilities": PREDICTIONS}, probabilities=PROBABILITIES, labels=CLASSES, n_bins=3
        )
        for function in (evidence.calibration, evidence.calibration_error)
    },
    "inference.evidence.table": call(
        evidence.table,
        {"posteriors": {"nothing": None, "one": POSTERIOR, "none": {}, "networks": {"a": NETWORK}},
         "reference": less(CHOICES, "nothing")},
        posteriors={"a": POSTERIOR}, images=IMAGES, labels=CLASSES, reference="a",
    ),
    "inference.low_curvature.curvature": call(
        import_module("relevance.inference.low_curvature").curvature,
        **MODEL, step=0.5, along="random", n_directions=1, normalised=True, seed=0,
    ),
    **{
        f"networks.{function.__name__}": call(
            function, image_shape=shape, hidden=2, n_classes=2, activation="relu"
        )
        for function, shape in (
            (networks.fully_connected, SHAPE), (networks.convolutional, (1, 16, 16)), (networks.resnet20, (1, 8, 8)),
        )
    },
    "networks.resnet20 of means": call(
        networks.resnet20,
        {"mean": CHANNELS, "scale": {**CHANNELS, "zero": [0]}},
        image_shape=(1, 8, 8), hidden=2, mean=[0.5], scale=[0.5],
    ),
    "networks.Classifier": call(networks.Classifier, {"settings": {"a text": "a", "a number": 1}}, settings={}),
    "networks.Posterior": call(
        Posterior,
        {"network": less(NETWORKS, "a posterior"),
         "samples": {"nothing": None, "a text": "a", "none": {}, "a list": [POSTERIOR.samples],
                     **{kind: {**POSTERIOR.samples, "5.bias": value} for kind, value in BIASES.items()}}},
        network=NETWORK, samples=POSTERIOR.samples,
    ),
    "networks.Posterior.of": call(
        Posterior.of, {"network": less(NETWORKS, "of other images", "of too few classes")}, network=NETWORK
    ),
    "networks.Posterior.logits": call(POSTERIOR.logits, {"images": SHAPELESS}, images=IMAGES),
    "networks.Posterior.predict": call(POSTERIOR.predict, images=IMAGES),
    "networks.Posterior.log_predictive": call(POSTERIOR.log_predictive, {"images": SHAPELESS}, images=IMAGES),
    "networks.Posterior.accuracy": call(POSTERIOR.accuracy, images=IMAGES, labels=CLASSES),
    "networks.Posterior.thinned": call(POSTERIOR.thinned, {"n_samples": {**COUNTS, "too many": 3}}, n_samples=1),
    "networks.Posterior[]": call(
        POSTERIOR.__getitem__,
        {"index": {"a text": "a", "nothing": None, "a half": 0.5, "a list": [0], "backwards": slice(None, None, -1),
                   "of no samples": slice(1, 1), "too many": slice(0, 5), "of halves": slice(0, 0.5)}},
        index=0,
    ),
    "networks.Posterior.load": call(Posterior.load, {"path": {"nothing": None, "a number": 1, "a folder": "lib"}}, path=None),
    "networks.pretrained.load": call(
        pretrained.load,
        {"name": CHOICES, "weights": {"a number": 3, "a list": ["a"]}, "image_shape": {**SHAPES, "one channel": (1, 64, 64)},
         "n_classes": {**less(COUNTS, "nothing"), "one": 1}},
        name="resnet18", weights=None, image_shape=(3, 64, 64), n_classes=2, seed=0, device="cpu",
    ),
    "networks.pretrained.wrap": call(
        pretrained.wrap,
        {"model": less(NETWORKS, "of other images", "of too few classes"),
         "mean": {**CHANNELS, "nothing": None}, "std": {**CHANNELS, "nothing": None, "zero": [0]}},
        model=NETWORK, image_shape=SHAPE, mean=[0.5], std=[0.5], device="cpu",
    ),
    "networks.doors.from_states": call(
        doors.from_states,
        {"network": ANY_NETWORK, "prefix": {"a number": 1, "nothing": None, "another": "net."}, "check": CHECKS,
         "mean": {**CHANNELS, "nothing": None}, "std": {**CHANNELS, "nothing": None, "zero": [0]},
         "states": {"nothing": None, "a number": 1, "none": [], "an empty one": [{}], "numbers": [1, 2],
                    "of another network": [nn.Linear(2, 2)], "lacking one": [{"5.bias": STATE["5.bias"]}],
                    "with another": [{**STATE, "7.bias": STATE["5.bias"]}], "of pickles": [{**STATE, "5.bias": "a"}],
                    **{kind: states_but(value) for kind, value in less(tensors(STATE["5.bias"]), "an array").items()},
                    **{kind: states_but(value) for kind, value in finite(STATE["5.bias"]).items()},
                    "of another shape": states_but(STATE["5.bias"][1:]),
                    "of another precision": states_but(STATE["5.bias"].float()),
                    }},
        network=NETWORK, states=[STATE, STATE], prefix="", check=None, image_shape=SHAPE, mean=[0.5], std=[0.5], device="cpu",
    ),
    "networks.doors.from_vectors": call(
        doors.from_vectors,
        {"network": ANY_NETWORK, "image_shape": less(SHAPES, "nothing"),
         "layer": {**less(LAYERS, "no affine one"), "of no parameters": "2"}, "check": CHECKS,
         "vectors": {**less(tensors(VECTORS), "an array"), **finite(VECTORS), "one": VECTORS[0], "none": VECTORS[:0],
                     "too short": VECTORS[:, 1:], "of another precision": VECTORS.float()}},
        network=NETWORK, vectors=VECTORS, layer=None, check=None, image_shape=SHAPE, device="cpu",
    ),
    "networks.doors.from_sites": call(
        doors.from_sites,
        {"network": ANY_NETWORK, "prefix": {"a number": 1, "nothing": None, "another": "net."}, "check": CHECKS,
         "layout": CHOICES, "others": {"a text": "5.bias", "a number": 1, "unknown": ["a"], "all": list(POSTERIOR.samples)},
         "partial": TRUTHS, "image_shape": less(SHAPES, "nothing"),
         "sites": {"nothing": None, "a number": 1, "none": {}, "a list": [1],
                   "lacking one": {"5.bias": POSTERIOR.samples["5.bias"]},
                   "with another": {**POSTERIOR.samples, "7.bias": POSTERIOR.samples["5.bias"]},
                   **{kind: sites_but(value) for kind, value in less(tensors(POSTERIOR.samples["5.bias"]), "an array").items()},
                   **{kind: sites_but(value) for kind, value in finite(POSTERIOR.samples["5.bias"]).items()},
                   "of other draws": sites_but(POSTERIOR.samples["5.bias"][:1]),
                   "of no draws": {name: value[:0] for name, value in POSTERIOR.samples.items()},
                   "of a number": sites_but(torch.zeros((), dtype=torch.float64)),
                   "of another precision": sites_but(POSTERIOR.samples["5.bias"].float())}},
        network=NETWORK, sites=POSTERIOR.samples, prefix="", layout="torch", others=[], partial=False, check=None,
        image_shape=SHAPE, device="cpu",
    ),
    "networks.doors.mean_field_states": call(
        doors.mean_field_states, {"model": {**ANY_NETWORK, "of no such layer": NETWORK}}, model=MEAN_FIELD, n_samples=2, seed=0
    ),
    "datasets.load": call(
        datasets.load, {"name": {**CHOICES, "a path": "/nonexistent"}, "root": {"a number": 1, "a list": ["a"]}},
        name="digits", root=None, device="cpu",
    ),
    "datasets.Dataset.balanced_test": call(DATA.balanced_test, {"n_images": {**COUNTS, "too many": 4}}, n_images=3, seed=0),
    "datasets.Dataset.smaller": call(DATA.smaller, {"n_train": less(COUNTS, "nothing")}, n_train=3, seed=0),
    "studies.read_run": call(
        records.read_run, {"run": CHOICES, "experiment": {**CHOICES, "a letter": "x"}}, run="digits-small", experiment="layers"
    ),
    "studies.kept": call(studies.kept, {"function": FUNCTIONS}, function=inference.sgd),
}  # fmt: skip


def bad_for(name: str, argument: str) -> dict[str, Any]:
    """Return what is wrong for an argument, by kind."""
    return CALLS[name].bad.get(argument, BAD.get(argument, {}))


# What a sentence calls an argument that it does not call by its name.
CALLED = {("datasets.load", "name"): "dataset"}
CASES = [(name, argument) for name, one in CALLS.items() for argument in one.given if bad_for(name, argument)]


def fault(name: str, argument: str, value: Any) -> str:
    """Return what is wrong with what a bad value gets; nothing if it is a sentence on the argument and what it may be."""
    one, said = CALLS[name], CALLED.get((name, argument), argument)
    try:
        with pytest.raises(ValueError, match=rf"\b{said}\b[^;]*;.*\b(must|may|needs|has|have)\b") as caught:
            one.function(**{**one.given, argument: value})
        assert_sentence(caught.value)
    except (Exception, pytest.fail.Exception) as wrong:
        return f"{type(wrong).__name__}: {wrong}"[:400]
    return ""


@pytest.mark.parametrize(("name", "argument"), CASES)
def test_a_bad_argument_is_named(name, argument):
    faults = {kind: fault(name, argument, value) for kind, value in bad_for(name, argument).items()}
    assert not any(faults.values()), "\n".join(f"{kind}: {said}" for kind, said in faults.items() if said)


# What is public and not tried -> why.
EXCUSED = {
    "what others give, or a constant": (
        "explanations.RootPoints", "metrics.SHARES", "metrics.Correlation", "metrics.Interval", "metrics.MannWhitney",
        "metrics.PairedDifference", "metrics.CrossedDifference", "networks.ARCHITECTURES",
    ),
    "of no arguments": ("explanations.ZPlus", "explanations.WSquare", "explanations.Flat"),
    "what others are to be like": ("explanations.Rule",),
    "what certify gives": ("inference.Certificate",),
    "called by the way back alone": ("explanations.in_proportion", "explanations.pass_on", "explanations.to_the_winner"),
    "looked at where it is trained on, since studies make unusual ones": ("datasets.Dataset",),
}  # fmt: skip


@pytest.mark.parametrize("room", ["explanations", "attacks", "metrics", "inference", "networks", "datasets", "studies"])
def test_all_that_is_public_is_tried(room):
    tried = {name.partition(" ")[0] for name in CALLS} | {name for names in EXCUSED.values() for name in names}
    assert {f"{room}.{name}" for name in import_module(f"relevance.{room}").__all__} <= tried


# A mean over the images, or what is found from all of them, is of nothing where there are none.
OVER_IMAGES = (
    "explanations.fit_patterns", "attacks.evaluate", "attacks.accuracy_by_epsilon", "attacks.loss_by_steps", "metrics.fidelity",
    "metrics.conservation", "metrics.unrelated_robustness", "inference.evidence.calibration",
    "inference.evidence.calibration_error", "inference.evidence.table", "networks.Posterior.accuracy",
)  # fmt: skip
OF_EACH = ("images", "target", "labels", "maps", "before", "after", "target_maps", "aims", "roots", "probabilities")


def none_of(value: Any) -> Any:
    """Return an argument of no images."""
    if isinstance(value, explanations.RootPoints):
        return explanations.RootPoints(*(part[:0] for part in vars(value).values()))
    return {name: part[:0] for name, part in value.items()} if isinstance(value, dict) else value[:0]


def sizes(value: Any) -> list[tuple[int, ...]]:
    """Return the shapes of what a function gave."""
    if isinstance(value, explanations.RootPoints):
        value = vars(value)
    if isinstance(value, (dict, tuple)):
        return [size for item in (value.values() if isinstance(value, dict) else value) for size in sizes(item)]
    return [tuple(value.shape)]


WITH_IMAGES = {name: next((part for part in ("images", "before", "probabilities") if part in one.given), "")
               for name, one in CALLS.items()}  # fmt: skip


@pytest.mark.parametrize("name", [name for name, argument in WITH_IMAGES.items() if argument])
def test_no_images_have_no_results(name):
    one = CALLS[name]
    given = {**one.given, **{part: none_of(one.given[part]) for part in OF_EACH if part in one.given}}
    if name in OVER_IMAGES:
        with pytest.raises(ValueError) as caught:
            one.function(**given)
        assert_sentence(caught.value, WITH_IMAGES[name])
        return
    # Of three images and of none: a size that changes is that of the images.
    for found, usual in zip(sizes(one.function(**given)), sizes(one.function(**one.given)), strict=True):
        changed = [pair for pair in zip(found, usual, strict=True) if pair[0] != pair[1]]
        assert changed == [(0, len(IMAGES))]
