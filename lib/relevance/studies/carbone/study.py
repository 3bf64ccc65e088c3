"""A study: one data set and one architecture, with all models that the paper compares on it, and their tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from relevance.attacks.named import KINDS, OBJECTIVES, PREDICTION, Attack
from relevance.base import checks
from relevance.datasets import reading
from relevance.datasets.dataset import Dataset
from relevance.inference import chain
from relevance.inference.adversarial import adversarial as adversarially_train
from relevance.inference.certificate import chains_of
from relevance.inference.ensemble import deep_ensemble
from relevance.inference.hamiltonian import hmc
from relevance.inference.map_estimate import map_estimate
from relevance.inference.sgd import sgd
from relevance.inference.variational import variational
from relevance.networks.architectures import ARCHITECTURES, Classifier
from relevance.networks.posterior import Posterior
from relevance.studies import experiment
from relevance.studies.carbone import source
from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC, MAP, MAP_ENSEMBLE, RULES, bayesian
from relevance.studies.store import Store, kept

METHODS = ("hmc", "variational")


def attacks_by_name() -> dict[str, tuple[str, str]]:
    """Return the attacks that a study may make: the name that tables have -> kind and objective."""
    return {
        Attack(kind, 0.0, objective).name: (kind, objective)
        for kind in KINDS
        for objective in (OBJECTIVES if kind in PREDICTION else ["cross_entropy"])
    }


@dataclass(frozen=True)
class Study(checks.Checked):
    """One data set and one architecture; every result is found in the store, or computed and kept there.

    Attributes:
        dataset: name for :func:`relevance.datasets.reading.load`.
        architecture: ``"fully_connected"``, ``"convolutional"`` or ``"resnet20"``.
        method: of inference: ``"hmc"`` or ``"variational"``.
        n_train: training images, balanced over the classes; all if there are no more.
        n_images: test images, balanced over the classes.
        hidden: width of the network.
        epochs: of SGD, of adversarial training, and of variational inference and its start.
        adversarial: further settings of adversarial training.
        inference: further settings of ``method``.
        n_draws: samples of the posterior.
        n_samples: how many of them the Bayesian models have.
        n_runs: how often every model is trained, with other seeds; of HMC each chain is a run.
        n_members: of the ensembles of MAP networks under the posterior's prior; if 0, neither they nor MAP are looked at.
        epsilon: size of all attacks in the maximum norm.
        seed: of all that is random.
    """

    dataset: str
    architecture: str = checks.choice("fully_connected", ARCHITECTURES)
    method: str = checks.choice("hmc", METHODS)
    n_train: int = 2000
    n_images: int = 100
    hidden: int = 64
    epochs: int = 60
    adversarial: Mapping[str, Any] = field(default_factory=dict)
    inference: Mapping[str, Any] = field(default_factory=dict)
    n_draws: int = 100
    n_samples: Sequence[int] = (10, 50, 100)
    epsilon: float = 0.1
    seed: int = 0
    n_runs: int = checks.whole(1)
    n_members: int = checks.whole(0, at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for count in self.n_samples:
            checks.count("n_samples", count, at_most=self.n_draws // self.n_runs if self._by_chain else self.n_draws)
        n_chains = self.inference.get("n_chains", self.n_runs)
        if self._by_chain and n_chains != self.n_runs:
            raise ValueError(f"n_runs is {self.n_runs}, and the chains are {n_chains}; each chain is a run.")

    @property
    def _by_chain(self) -> bool:
        return self.method == "hmc" and self.n_runs > 1

    @cached_property
    def data(self) -> Dataset:
        """The data set, with as many training images as the study takes."""
        return reading.load(self.dataset).smaller(self.n_train, self.seed)

    @cached_property
    def network(self) -> Classifier:
        """The untrained network."""
        return ARCHITECTURES[self.architecture](self.data.image_shape, self.hidden, len(self.data.classes))

    @property
    def prior_scale(self) -> float:
        """Standard deviation of the posterior's prior."""
        return float(self.inference.get("prior_scale", chain.Settings.prior_scale))

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the paper explains."""
        return source.LAYERS[self.architecture]

    def _trainings(self, run: int = 0) -> dict[str, tuple[Callable[..., Posterior], dict[str, Any]]]:
        """How the models of a run are trained: name -> function and its settings."""
        same: dict[str, Any] = {"epochs": self.epochs, "seed": self.seed + run}
        hardened = {"epsilon": self.epsilon, "n_steps": 5, **self.adversarial}
        draws: dict[str, Any] = {"n_samples": self.n_draws, "seed": self.seed, **self.inference}
        if self.method == "variational":
            draws = {**draws, **same, "start_epochs": self.epochs}
        elif self._by_chain and chain.Settings(**draws).chains != self.n_runs:
            draws["n_chains"] = self.n_runs
        found: dict[str, tuple[Callable[..., Posterior], dict[str, Any]]] = {
            DETERMINISTIC: (sgd, same),
            ADVERSARIAL: (adversarially_train, {**same, **hardened}),
            BAYESIAN: (hmc if self.method == "hmc" else variational, draws),
        }
        if self.n_members:
            prior = {"prior_scale": self.prior_scale}
            # No two runs have a member in common.
            seeds = {"seed": self.seed + self.n_runs + run * self.n_members, "n_samples": self.n_members}
            found |= {MAP: (map_estimate, same | prior), MAP_ENSEMBLE: (deep_ensemble, same | prior | seeds)}
        return found

    @cached_property
    def trained(self) -> dict[str, Posterior]:
        """The networks of the first run by their names, and the posterior with all its draws."""
        return {name: self._posterior if name == BAYESIAN else self._trained(name, 0) for name in self._trainings()}

    @cached_property
    def _posterior(self) -> Posterior:
        """The posterior of the first run, or of all runs, where each of its chains is one."""
        return self._trained(BAYESIAN, 0)

    def _trained(self, name: str, run: int) -> Posterior:
        function, settings = self._trainings(run)[name]
        return kept(function, self.network, self.data, **settings)

    @property
    def is_trained(self) -> bool:
        """Whether the models of the first run are in the store, so that they need not be trained."""
        given, store = (self.network, self.data), Store()
        return all(store.holds(function, *given, **settings) for function, settings in self._trainings().values())

    @cached_property
    def models(self) -> dict[str, Posterior]:
        """All models of the first run under attack: the Bayesian one with several numbers of samples, thinned evenly."""
        return self.of_run(0)

    @property
    def _counts(self) -> dict[str, int | None]:
        """Names of the :attr:`models`; of the Bayesian ones, with how many samples."""
        return {name: None for name in self._trainings() if name != BAYESIAN} | {bayesian(n): n for n in self.n_samples}

    def of_run(self, run: int, names: Sequence[str] | None = None) -> dict[str, Posterior]:
        """Return the :attr:`models` of a run, or those of some names: no others are trained."""
        counts = self._counts
        chosen = list(counts) if names is None else [checks.one_of("model", name, counts) for name in names]
        return {
            name: self._trained(name, run) if (count := counts[name]) is None else self.draws(run).thinned(count)
            for name in chosen
        }

    def draws(self, run: int) -> Posterior:
        """Return all draws of the Bayesian model of a run: those of one chain, where each chain is a run."""
        checks.count("run", run, at_least=0, at_most=self.n_runs - 1)
        if self._by_chain:
            return chains_of(self._posterior)[run]
        return self._posterior if run == 0 else self._trained(BAYESIAN, run)

    def attack(self, kind: str, objective: str = "cross_entropy") -> Attack:
        """Return an attack of the study's size, with the paper's settings for those on explanations (Sec. VII-C)."""
        own: dict[str, dict[str, Any]] = {
            "top-k": source.TOP_K,
            "target region": source.TOP_K,
            "target map": {name: source.TARGET_MAP[name] for name in ("n_steps", "step_size")},
        }
        return Attack(kind, self.epsilon, objective, seed=self.seed, **own.get(kind, {}))

    def attacks(self, names: Sequence[str]) -> list[Attack]:
        """Return attacks by the names that tables have for them, such as ``"PGD on the margin"``."""
        known = attacks_by_name()
        return [self.attack(*known[checks.one_of("attack", name, known)]) for name in names]

    def table(
        self,
        attacks: Sequence[str],
        *,
        rules: Sequence[str] = ("epsilon",),
        layers: Sequence[str] | None = None,
        models: Sequence[str] | None = None,
        n_images: int | None = None,
        top_percent: float = 20,
    ) -> pd.DataFrame:
        """Measure models under attacks.

        Args:
            attacks: names, as for :meth:`attacks`.
            rules: names in :data:`relevance.studies.names.RULES`.
            layers: all of :attr:`layers` if None.
            models: names in :attr:`models`; all if None.
            n_images: fewer than the study's, where an attack is dear.
            top_percent: share of the pixels that count as relevant, in (0, 100].

        Returns:
            The rows of :func:`relevance.studies.experiment.rows` with ``model``, ``n_samples`` and ``run`` in front.
        """
        for name in rules:
            checks.one_of("rule", name, RULES)
        images, labels = self.data.balanced_test(n_images or self.n_images, self.seed)
        parts = []
        given: dict[str, Any] = {"rules": {rule: RULES[rule] for rule in rules}, "layers": list(layers or self.layers)}
        for run in range(self.n_runs):
            for name, posterior in self.of_run(run, models).items():
                for attack in self.attacks(attacks):
                    rows = experiment.rows(posterior, images, labels, attack=attack, **given, top_percent=top_percent)
                    parts.append(rows.assign(model=name, n_samples=len(posterior), run=run))
        table = pd.concat(parts, ignore_index=True)
        first = ["model", "n_samples", "run"]
        return table[[*first, *table.columns.drop(first)]]


def at_hand(study: Study) -> dict[str, Study]:
    """Return the same study of every other data set whose files are here: name -> study."""
    others = [name for name in reading.at_hand() if name != study.dataset]
    return {name: replace(study, dataset=name) for name in others}


def main(arguments: Sequence[str]) -> None:
    """Train the models of a study, given as JSON such as ``{"dataset": "digits"}``, and keep them."""
    (given,) = arguments
    _ = Study(**json.loads(given)).trained


if __name__ == "__main__":
    main(sys.argv[1:])
