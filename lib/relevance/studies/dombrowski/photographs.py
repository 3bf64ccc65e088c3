"""The source's experiment where it was made: photographs, and a deep network that was trained on ImageNet.

(Dombrowski et al. 2019, arXiv:1906.07983, Sec. 2.2 and Fig. 1, 2; there VGG-16, here EfficientNet-Lite0.)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from relevance.attacks.manipulation import Manipulation, noised, shares
from relevance.base import balls, checks
from relevance.base.ascent import Search, climb
from relevance.base.chunks import Sample, images_with_graph
from relevance.datasets import photographs
from relevance.explanations.expected import Explain, checked, one_hot, over_all
from relevance.explanations.graph import graph_of
from relevance.explanations.guided import guided_backprop
from relevance.explanations.lrp import lrp
from relevance.explanations.pattern import fit_patterns, pattern_attribution
from relevance.explanations.rules import Composite, Epsilon, ZBox, ZPlus
from relevance.explanations.smoothing import SoftLeakyReLU, shaken, softened
from relevance.explanations.steps import Step
from relevance.explanations.ways import table as table_of_ways
from relevance.explanations.ways.activations import POSITIVE
from relevance.explanations.ways.way import Shares, Visit
from relevance.networks import pretrained
from relevance.networks.posterior import Posterior
from relevance.studies import records
from relevance.studies.dombrowski import smoothing
from relevance.studies.dombrowski.manipulation import METHODS, Case, table
from relevance.studies.dombrowski.tables import summary
from relevance.studies.names import DETERMINISTIC
from relevance.studies.store import kept

# Of the pixels as the network normalises them.
LOW, HIGH = ((bound - pretrained.LITE0_MEAN[0]) / pretrained.LITE0_STD[0] for bound in (0.0, 1.0))
# For deep networks: positive contributions alone through the convolutions, the epsilon rule at the dense end, and at the pixels
# the rule for bounded inputs (Montavon et al. 2019, Sec. 10.3; Kohlbrenner et al. 2020, arXiv:1910.09840).
COMPOSITE = Composite(default=ZPlus(), first=ZBox(LOW, HIGH), types={nn.Linear: Epsilon(1e-6)})
# Numbers that a map remembers for its second derivative, for each that a layer gives.
REMEMBERED = 4
COLOURS = ("red", "green", "blue")
BYTE = 255
# Of the recorded figure.
NAMES, HOW = ("cat", "coffee"), Manipulation(n_quadrature=2)


class ClippedReLU(nn.Module):
    """ReLU6 as relu(x) - relu(x - 6), whose kinks can be softened one by one; relevance passes through it unchanged.

    With softplus for both it is softplus(x) - softplus(x - 6).
    """

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return x, cut to [0, 6]."""
        return self.lower(x) - self.upper(x - 6.0)


# What it gives is at least 0, of which `register` knows nothing: rules for such inputs are faster, and exact.
table_of_ways.MODULES[ClippedReLU] = POSITIVE


def softenable(posterior: Posterior) -> Posterior:
    """Return EfficientNet-Lite0 with :class:`ClippedReLU` for its ReLU6, which an attack can follow: it computes the same."""
    network = copy.deepcopy(posterior.network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.ReLU6:
                setattr(parent, name, ClippedReLU())
    return posterior.of_network(network)


def by_graph(posterior: Posterior, images: Tensor, target: Tensor, *, per_sample: bool = False) -> Tensor:
    """Return :func:`relevance.explanations.gradient`, layer by layer.

    torch differentiates the gradient of a grouped convolution one group at a time, which is half of the time of an attack on
    this network; the way back through the graph transposes all groups at once.
    """
    target = checked(posterior, images, target)
    graph = graph_of(posterior, images)

    def back(step: Step, visit: Visit, gradient: Tensor) -> Shares:
        return visit.pull_back(gradient)

    def one_map(sample: Sample, x: Tensor, y: Tensor) -> Tensor:
        visits = graph.forward(x, sample)
        return graph.backward(visits, graph.output, one_hot(visits[graph.output].value, y), back)[graph.image]

    return over_all(posterior, one_map, images, target, per_sample=per_sample)


def times_input(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
    """Return :func:`by_graph` times the image."""
    return by_graph(posterior, images, target) * images


def integrated(posterior: Posterior, images: Tensor, target: Tensor, *, n_steps: int) -> Tensor:
    """Return :func:`relevance.explanations.integrated_gradients` from black, by :func:`by_graph`."""
    nodes, weights = np.polynomial.legendre.leggauss(checks.count("n_steps", n_steps))
    total = torch.zeros_like(images)
    for place, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        total = total + float(weight) * by_graph(posterior, float(place) * images, target)
    return images * total


def explainer(method: str, posterior: Posterior, images: Tensor, how: Manipulation) -> Explain:
    """Return one of the source's six methods; LRP is by :data:`COMPOSITE`.

    Args:
        method: of :data:`relevance.studies.dombrowski.manipulation.METHODS`.
        posterior: whose patterns are fitted, where the method needs some.
        images: [N, 3, H, W], for the patterns.
        how: points of integrated gradients.
    """
    checks.one_of("method", method, METHODS)
    if method == "pattern attribution":
        return partial(pattern_attribution, patterns=kept(fit_patterns, posterior, images))
    known: dict[str, Explain] = {
        "gradient": by_graph,
        "gradient x input": times_input,
        "integrated gradients": partial(integrated, n_steps=how.n_quadrature),
        "guided backpropagation": guided_backprop,
        "LRP": partial(lrp, rule=COMPOSITE),
    }
    return known[method]


def led(
    posterior: Posterior, images: Tensor, target: Tensor, explain: Explain, aims: Tensor, how: Manipulation
) -> Tensor:
    """Return what :func:`relevance.attacks.manipulated` does, in less time, as images of 8 bits a colour.

    All steps follow one softened network, whose beta is set before each: of a deep network, tracing a new one takes as long
    as a step. Its outputs are held to its own on the clean image: those of a deep softened network are far from the network's.
    Images are rounded as a file has them, and what is found is what is left after that.

    Args:
        posterior, images, target, explain, aims, how: as there.
    """
    size = aims[0].numel()
    predicted = posterior.predict(images).argmax(1)
    soft = softened(posterior, how.betas[0][0])

    def loss(of: Posterior, points: Tensor, rows: Tensor) -> Tensor:
        error = (explain(of, points, target[rows]) - aims[rows]).flatten(1).square().sum(1)
        with torch.no_grad():
            before = of.predict(images[rows])
        change = of.log_predictive(points).exp() - before
        return error + how.output_weight * size * change.square().sum(1)

    def score(points: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            return -loss(posterior, points, rows)

    def accepts(points: Tensor, rows: Tensor) -> Tensor:
        return posterior.predict(points).argmax(1) == predicted[rows]

    every = torch.arange(len(images), device=images.device)
    best, highest = images, torch.full((len(images),), -torch.inf, device=images.device)
    for first, last in how.betas:

        def objective(points: Tensor, rows: Tensor, done: float, first: float = first, last: float = last) -> Tensor:
            sharpen(soft, first * (last / first) ** done)
            return -loss(soft, points, rows)

        found = climb(
            objective,
            images,
            Search(how.epsilon, norm="l2", n_steps=how.n_steps, keep="best"),
            n_at_once=images_with_graph(posterior.network, posterior.samples, images, REMEMBERED),
            accepts=accepts,
            score=score,
        )
        found = (found * BYTE).round() / BYTE
        reached = torch.cat([score(found[rows], rows) for rows in every.split(8)])
        better = accepts(found, every) & (reached > highest)
        best = torch.where(balls.of_images(better, best), found, best)
        highest = torch.where(better, reached, highest)
    return best


def sharpen(soft: Posterior, beta: float) -> None:
    """Set the sharpness of every softplus of a softened network."""
    for module in soft.network.modules():
        if isinstance(module, SoftLeakyReLU):
            module.beta = beta


def search(
    posterior: Posterior, images: Tensor, target: Tensor, method: str, how: Manipulation, train_images: Tensor
) -> Tensor:
    """Return the manipulated images of one method, whose maps are led to those of the images before them."""
    explain = shares(explainer(method, posterior, train_images, how))
    with torch.no_grad():
        aims = explain(posterior, images, target).roll(1, 0)
    return led(posterior, images, target, explain, aims, how)


def case_of(
    posterior: Posterior, images: Tensor, found: Tensor, method: str, how: Manipulation, train_images: Tensor
) -> Case:
    """Explain images and what was found of them, as :func:`relevance.studies.dombrowski.manipulation.case` does.

    Args:
        posterior: the model.
        images, found: [N, 3, H, W] in [0, 1]; the target map of each is that of the one before it.
        method, how, train_images: as for :func:`explainer`.
    """
    target = posterior.predict(images).argmax(1)
    shown = shares(explainer(method, posterior, train_images, how))
    control = noised(images, found, how.seed)
    with torch.no_grad():
        maps, reached, shaken_ = (shown(posterior, some, target) for some in (images, found, control))
    return Case(posterior, target, images, found, control, maps, maps.roll(1, 0), reached, shaken_, how.top_percent)


@dataclass(frozen=True)
class Experiment:
    """The experiment at one size.

    Attributes:
        names: of :data:`relevance.datasets.photographs.PHOTOGRAPHS`.
        side: pixels of an image each way.
        n_images: crops of them, all photographs as a whole first.
        methods: of :data:`relevance.studies.dombrowski.manipulation.METHODS`, that are manipulated.
        defences: names with parameters of :class:`relevance.studies.dombrowski.smoothing.Defence`, for the gradient; the
            posterior's is the number of its samples.
        copies: of SmoothGrad.
        weight_noise: standard deviation of the factor on the weights, which makes the posterior.
        how: settings of the manipulations.
    """

    names: Sequence[str]
    side: int
    n_images: int
    methods: Sequence[str]
    defences: Sequence[tuple[str, float]] = ()
    copies: int = 4
    weight_noise: float = 0.05
    how: Manipulation = field(default_factory=Manipulation)

    @cached_property
    def network(self) -> Posterior:
        """EfficientNet-Lite0 with its published weights, ready to be softened."""
        return softenable(pretrained.load(pretrained.LITE0, image_shape=(3, self.side, self.side)))

    @cached_property
    def posterior(self) -> Posterior:
        """Networks around the published one: every weight times 1 plus noise (Bykov et al. 2022, arXiv:2106.10185)."""
        counts = [int(parameter) for name, parameter in self.defences if name == smoothing.POSTERIOR]
        return shaken(self.network, self.weight_noise, max(counts, default=1), self.how.seed)

    @cached_property
    def images(self) -> Tensor:
        """The images, [N, 3, side, side]."""
        found = photographs.crops(self.names, (3, self.side, self.side))[0]
        return found[: checks.count("n_images", self.n_images, at_least=2, at_most=len(found))]

    @cached_property
    def train_images(self) -> Tensor:
        """Every crop of every photograph, to which patterns are fitted."""
        return photographs.crops(None, (3, self.side, self.side))[0]

    @cached_property
    def cases(self) -> dict[tuple[str, str], Case]:
        """The manipulations: (model, method) -> case."""
        target = self.network.predict(self.images).argmax(1)
        given = self.network, self.images
        return {
            (DETERMINISTIC, method): case_of(
                *given, kept(search, *given, target, method, self.how, self.train_images), method, self.how,
                self.train_images,
            )
            for method in self.methods
        }  # fmt: skip

    @cached_property
    def defended(self) -> pd.DataFrame:
        """What defences keep of the gradient, as :func:`relevance.studies.dombrowski.smoothing.steadiness`."""
        chosen = [smoothing.Defence(name, parameter, self.copies) for name, parameter in self.defences]
        return smoothing.steadiness(
            self.network, self.posterior, self.images, by_graph, [smoothing.Defence(smoothing.NONE), *chosen], self.how
        )

    @property
    def table(self) -> pd.DataFrame:
        """The manipulations as :func:`relevance.studies.dombrowski.manipulation.table` has them."""
        return table(self.cases)

    def keep(self, record: str) -> None:
        """Leave the tables for a record, as :func:`relevance.studies.records.keep`; nothing if ``record`` is empty."""
        for name, made in self._tables() if record else ():
            records.keep(record, name, made, self._settings(), attack=str(self.how))

    def _tables(self) -> Iterator[tuple[str, pd.DataFrame]]:
        if self.methods:
            yield "photographs", self.table
            if set(self.methods) == set(METHODS) and self.n_images <= len(self.names):
                yield "pixels", pixels(self.cases)
        if self.defences:
            yield "defended", self.defended

    def _settings(self) -> dict[str, object]:
        return {
            "photographs": list(self.names),
            "side": self.side,
            "n_images": self.n_images,
            "n_steps": self.how.n_steps,
            "norm": self.how.epsilon,
            "seed": self.how.seed,
            **({"weight noise": self.weight_noise, "copies": self.copies} if self.defences else {}),
        }


def pixels(cases: dict[tuple[str, str], Case]) -> pd.DataFrame:
    """Return what was added to each image, in steps of 1/255.

    Returns:
        A row for each pixel of each image, row by row: ``image``, and ``"gradient, red"`` and so on.
    """
    columns: dict[str, np.ndarray] = {}
    for (_, method), one in cases.items():
        added = ((one.found - one.images) * BYTE).round().to(torch.int64).cpu().flatten(2)
        columns["image"] = np.repeat(np.arange(len(added)), added.shape[2])
        columns |= {f"{method}, {colour}": added[:, index].flatten().numpy() for index, colour in enumerate(COLOURS)}
    return pd.DataFrame(columns)


def of_pixels(rows: pd.DataFrame, images: Tensor) -> dict[str, Tensor]:
    """Return the images that a table of :func:`pixels` was made of.

    Args:
        rows: the table.
        images: [N, 3, H, W], as they were before.

    Returns:
        Method -> [N, 3, H, W].
    """
    methods = dict.fromkeys(str(name).rpartition(", ")[0] for name in rows if name != "image")
    found = {}
    for method in methods:
        of_colours = [torch.from_numpy(rows[f"{method}, {colour}"].to_numpy(float)) for colour in COLOURS]
        added = torch.stack(of_colours).reshape(3, len(images), *images.shape[2:]).movedim(0, 1)
        found[method] = ((images * BYTE).round() + added.to(images)) / BYTE
    return found


def explained(rows: pd.DataFrame, names: Sequence[str] = NAMES, how: Manipulation = HOW) -> dict[str, Case]:
    """Explain again what was found: method -> the maps of photographs as they were and as they are now.

    Args:
        rows: of :func:`pixels`.
        names: of the photographs, in the order of the rows.
        how: for noise as large and for points of integrated gradients.
    """
    side = round((len(rows) / rows["image"].nunique()) ** 0.5)
    experiment = Experiment(names, side, len(names), METHODS, how=how)
    given = experiment.network, experiment.images
    return {
        method: case_of(*given, found, method, how, experiment.train_images)
        for method, found in of_pixels(rows, experiment.images).items()
    }


def medians(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each method: what became of the images, in short.

    Args:
        rows: of :func:`relevance.studies.dombrowski.manipulation.table`.

    Returns:
        Shares of images, ``manipulated`` and ``labels kept``; and medians: ``before``, the correlation of original and target
        map, ``to target`` and ``to origin``, those of the manipulated map, ``under noise``, ``outputs`` and ``l2 / image``.
    """
    found = summary(rows).set_index("method")
    return found[["images", "manipulated", "before", "to target", "to origin", "under noise", "outputs", "labels kept",
                  "l2 / image"]]  # fmt: skip
