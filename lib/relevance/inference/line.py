"""A problem whose posterior is known: a line through noisy points, which every algorithm of the book can be tried on."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.inference.chain import Settings as ChainSettings
from relevance.inference.chain import run_chain
from relevance.inference.energy import NetworkEnergy
from relevance.inference.laplace import Settings as LaplaceSettings
from relevance.inference.laplace import around
from relevance.inference.variational import Settings as VariationalSettings
from relevance.inference.variational import fit
from relevance.networks.posterior import Posterior


@dataclass(frozen=True)
class Line(checks.Checked):
    """Bayesian linear regression, y = slope x + intercept + noise, with a normal prior and known noise.

    Attributes:
        n_points: how many points are given.
        noise: standard deviation of the noise.
        prior_scale: standard deviation of the prior of slope and intercept.
        seed: of the points and of all algorithms.
    """

    n_points: int = checks.whole(20)
    noise: float = checks.real(0.5, above=0)
    prior_scale: float = checks.real(1.0, above=0)
    seed: int = checks.seeded()

    @property
    def data(self) -> Dataset:
        """The points, as a data set of images of one pixel: x in [0, 1], and labels that are numbers."""
        generator = torch.Generator().manual_seed(self.seed)
        x = torch.rand(self.n_points, generator=generator, dtype=torch.float64)
        y = 0.8 * x - 0.3 + self.noise * torch.randn(self.n_points, generator=generator, dtype=torch.float64)
        images = x.reshape(-1, 1, 1, 1)
        return Dataset("line", images, y, images, y, ("y",), f"{self.n_points} made-up points near a line")

    @property
    def network(self) -> nn.Module:
        """The line as a network of one dense layer, at the solution that is most probable."""
        network = nn.Sequential(nn.Flatten(), nn.Linear(1, 1)).double()
        mean, _ = self.exact()
        parameters = {"1.weight": mean[:1, None], "1.bias": mean[1:]}
        network.load_state_dict(parameters)
        return network

    def exact(self) -> tuple[Tensor, Tensor]:
        """Return mean [2] and covariance [2, 2] of the posterior of slope and intercept (Bishop 2006, Eq. 3.53, 3.54)."""
        data = self.data
        design = torch.stack([data.train_images.flatten(), torch.ones(self.n_points, dtype=torch.float64)], 1)
        precision = design.T @ design / self.noise**2 + torch.eye(2, dtype=torch.float64) / self.prior_scale**2
        covariance = torch.linalg.inv(precision)
        return covariance @ design.T @ data.train_labels / self.noise**2, covariance

    def misfit(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the negative log-likelihood of each point, up to a constant, [n]."""
        return 0.5 * ((labels - outputs.squeeze(-1)) / self.noise) ** 2

    def by_hmc(self, n_samples: int) -> Tensor:
        """Return draws [S, 2] of slope and intercept by Hamiltonian Monte Carlo."""
        energy = NetworkEnergy(self.network, self.data, self.prior_scale, self.misfit)
        settings = ChainSettings(warmup=100, n_steps=10, step_size=0.1, prior_scale=self.prior_scale, seed=self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        return run_chain(energy, lambda: torch.zeros(2, dtype=torch.float64), settings, n_samples, generator).positions

    def by_variational(self, n_samples: int) -> Tensor:
        """Return draws [S, 2] from the independent normal distribution that variational inference finds."""
        settings = VariationalSettings(
            n_samples=n_samples, epochs=800, learning_rate=0.01, batch_size=self.n_points, prior_scale=self.prior_scale,
            start_scale=0.1, seed=self.seed,
        )  # fmt: skip
        return _both(fit(self.network, self.data, settings, self.misfit, show=False)[0])

    def by_laplace(self, n_samples: int) -> Tensor:
        """Return draws [S, 2] from Laplace's approximation at the most probable line."""
        settings = LaplaceSettings(n_samples=n_samples, prior_scale=self.prior_scale, seed=self.seed)
        bend = self.noise**-2
        return _both(around(self.network, self.data, settings, lambda out: out.new_full((len(out), 1, 1), bend)))

    def compare(self, draws: dict[str, Tensor]) -> pd.DataFrame:
        """Return mean, standard deviations and correlation of slope and intercept, exactly and by each algorithm."""
        mean, covariance = self.exact()
        rows = {"exact": _moments(mean, covariance)}
        rows |= {name: _moments(points.mean(0), points.T.cov()) for name, points in draws.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("posterior")


def _both(posterior: Posterior) -> Tensor:
    return torch.cat([posterior.samples["1.weight"].flatten(1), posterior.samples["1.bias"]], 1)


def _moments(mean: Tensor, covariance: Tensor) -> dict[str, float]:
    deviations = covariance.diagonal().sqrt()
    return {
        "mean slope": mean[0].item(),
        "mean intercept": mean[1].item(),
        "sd slope": deviations[0].item(),
        "sd intercept": deviations[1].item(),
        "correlation": (covariance[0, 1] / deviations.prod()).item(),
    }
