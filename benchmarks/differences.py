"""Where zennit and captum differ from the published formulas, and by how much: `make differences` records the table.

On digits, with the dense network of Carbone et al., Table II, as it is initialised, in double precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import peers
import torch
from torch import Tensor, nn

from relevance import explanations
from relevance.datasets import reading
from relevance.explanations.rules import AlphaBeta, Epsilon, Gamma, ZPlus
from relevance.networks import architectures
from relevance.networks.posterior import Posterior

RULES = {
    "epsilon": Epsilon(0.1),
    "gamma": Gamma(0.1),
    "alpha1-beta0": AlphaBeta(1, 0),
    "alpha2-beta1": AlphaBeta(2, 1),
    "z+": ZPlus(),
}
N_IMAGES = 50
ROUNDING = 1e-8  # of double precision, and of the finite differences
RECORD = Path(__file__).parents[1] / "data" / "recorded" / "library-differences.csv"


class Block(nn.Module):
    """Two dense layers without biases around a sum of branches."""

    def __init__(self, n_pixels: int, hidden: int) -> None:
        super().__init__()
        self.first, self.branch = nn.Linear(n_pixels, hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        self.last, self.activation, self.other = nn.Linear(hidden, 10, bias=False), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        hidden = self.activation(self.first(x.flatten(1)))
        result: Tensor = self.last(self.other(self.branch(hidden) + hidden))
        return result


def maps_of(
    library: str, network: nn.Module, rule: str, target: Tensor, epsilon: float = 0.1
) -> Callable[[Tensor], Tensor]:
    """Return images -> the library's map."""

    def zennit(x: Tensor) -> Tensor:
        return peers.zennit_map(network, peers.zennit_rules(epsilon)[rule](), x, target)()

    def captum(x: Tensor) -> Tensor:
        return peers.captum_map(network, peers.captum_rules(epsilon)[rule], x, target)()

    return {"zennit": zennit, "captum": captum}[library]


def distance(theirs: Tensor, ours: Tensor) -> float:
    """Return the mean over the images of |theirs - ours| / |ours|, in the Euclidean norm."""
    return ((theirs - ours).flatten(1).norm(dim=1) / ours.flatten(1).norm(dim=1)).mean().item()


def table() -> pd.DataFrame:
    """Measure all rows: library, what is compared, where, the value, and what ours gives."""
    data = reading.load("digits")
    images = data.test_images[:N_IMAGES].double().cpu()
    rows: list[dict[str, Any]] = []
    for activation in ("relu", "leaky_relu"):
        torch.manual_seed(0)
        posterior = Posterior.of(architectures.fully_connected(data.image_shape, 64, 10, activation).double())
        target = posterior.predict(images).argmax(-1)
        for library, rules in (("zennit", peers.zennit_rules()), ("captum", peers.captum_rules())):
            for rule in [name for name in RULES if name in rules]:
                ours = explanations.lrp(posterior, images, target, rule=RULES[rule])
                theirs = maps_of(library, peers.network_of(posterior), rule, target)(images).detach()
                where = "ReLU" if activation == "relu" else "leaky ReLU"
                rows.append({"library": library, "compared": f"{rule}, {where}", "value": distance(theirs, ours)})
    found = pd.DataFrame(rows + sum_rows(images) + slope_rows(images))
    numbers = ["value", "ours"]
    found[numbers] = found[numbers].where(~(found[numbers] < ROUNDING), 0.0)
    return found


def sum_rows(images: Tensor) -> list[dict[str, Any]]:
    """Return the share of the logit that arrives at the pixels of a network with a sum of branches and no biases."""
    torch.manual_seed(0)
    posterior = Posterior.of(Block(images[0].numel(), 64).double())
    target = posterior.predict(images).argmax(-1)
    logits = posterior.logits(images)[0].gather(1, target[:, None]).squeeze(1)
    ours = explanations.lrp(posterior, images, target, rule=Epsilon(1e-9)).flatten(1).sum(1) / logits
    rows = []
    for library in ("zennit", "captum"):
        theirs = maps_of(library, peers.network_of(posterior), "epsilon", target, 1e-9)(images)
        rows.append(
            {
                "library": library,
                "compared": "sum of branches: relevance out over in",
                "value": (theirs.detach().flatten(1).sum(1) / logits).median().item(),
                "ours": ours.median().item(),
            }
        )
    return rows


def slope_rows(images: Tensor) -> list[dict[str, Any]]:
    """Return the relative error of the derivative of an epsilon map with respect to the image."""
    torch.manual_seed(0)
    some = images[:5]
    posterior = Posterior.of(architectures.fully_connected(tuple(images.shape[1:]), 64, 10, "softplus").double())
    target = posterior.predict(some).argmax(-1)

    def ours(x: Tensor) -> Tensor:
        return explanations.lrp(posterior, x, target)

    leaf_direction = torch.rand(some.shape, generator=torch.Generator().manual_seed(0), dtype=some.dtype) * (
        (some > 0.01) & (some < 0.99)
    )
    weights = torch.arange(some.numel(), dtype=some.dtype).reshape(some.shape)
    step = 1e-6 * leaf_direction
    exact = (((ours(some + step) - ours(some - step)) / 2e-6) * weights).sum().item()
    rows = []
    slope = peers.gradients_of(ours, some)
    assert slope is not None
    of_ours = abs((slope * leaf_direction).sum().item() / exact - 1)
    for library in ("zennit", "captum"):
        found = peers.gradients_of(maps_of(library, peers.network_of(posterior), "epsilon", target), some)
        error = float("nan") if found is None else abs((found * leaf_direction).sum().item() / exact - 1)
        rows.append({"library": library, "compared": "derivative of the epsilon map", "value": error, "ours": of_ours})
    return rows


def main() -> None:
    """Write the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    found = table()
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    found.to_csv(RECORD, index=False, float_format="%.3g")
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
