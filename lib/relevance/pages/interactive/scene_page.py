"""Every view of a scene for a grid of choices, packed so that a page shows them without a kernel and without a network.

Pixels and maps are bytes, which is more than a screen shows; scores and top pixels are computed here, from the exact maps,
and the page only looks them up. All of it is one compressed block: see ``static/scene.js`` for the way back.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from html import escape

import matplotlib
import numpy as np
from IPython.display import HTML
from torch import Tensor

from relevance.base import checks
from relevance.explanations.top import on_top
from relevance.pages.figures.style import HEATMAP, OVERLAP
from relevance.pages.interactive import scene_figure
from relevance.pages.interactive.scene import ATTACKS, BLIND, MODELS, SENTENCE, Choice, Scene
from relevance.pages.interactive.scene_figure import SCENE_TITLES
from relevance.pages.web import inlined, picture
from relevance.studies import names
from relevance.studies.names import BAYESIAN

LARGEST = 2.6e6  # bytes: a page is to stay below 3 MB


@dataclass(frozen=True)
class Grid:
    """The choices that a page offers; a page has every combination of them.

    Attributes:
        images: numbers of the scene's images.
        models: names, of :data:`scene.MODELS`; the Bayesian one comes with each of ``n_samples``.
        n_samples: of the Bayesian model.
        attacks: of :data:`scene.ATTACKS`.
        sizes: of the attack, in units of the pixel range.
        rules: names in :data:`relevance.studies.names.RULES`.
        layers: of the network; all if empty.
        top_percents: in (0, 100].
    """

    images: Sequence[int] = (0, 3, 8)
    models: Sequence[str] = MODELS
    n_samples: Sequence[int] = (10, 100)
    attacks: Sequence[str] = ("FGSM", "PGD on the margin", "top-k")
    sizes: Sequence[float] = (0.05, 0.1, 0.2)
    rules: Sequence[str] = tuple(names.RULES)
    layers: Sequence[str] = ()
    top_percents: Sequence[float] = (10, 20, 40)

    def __post_init__(self) -> None:
        for model in self.models:
            checks.one_of("model", model, MODELS)
        for attack in self.attacks:
            checks.one_of("attack", attack, ATTACKS)
        for field in fields(self):
            if field.name != "layers" and not len(getattr(self, field.name)):
                raise ValueError(f"{field.name} is empty; a page needs at least one choice of each kind.")

    @property
    def variants(self) -> list[tuple[str, int]]:
        """The models, the Bayesian one with each of its numbers of samples."""
        return [(model, count) for model in self.models for count in (self.n_samples if model == BAYESIAN else (1,))]


def page(scene: Scene, **grid: Sequence) -> HTML:
    """Return the playground of a printed page: controls, pictures and scores, with all that they need inside.

    Args:
        scene: its images and models.
        grid: the fields of :class:`Grid`.

    Raises:
        ValueError: a choice is not one that the scene has, or the page would be too large.
    """
    chosen = checks.settings(Grid, grid)
    layers = tuple(chosen.layers or scene.layers)
    packed = gzip.compress(b"".join(_blocks(scene, chosen, layers)), mtime=0)
    spec = json.dumps(_spec(scene, chosen, layers))
    start = _first(chosen, layers)
    view = scene.view(start)
    classes = scene.study.data.classes
    said = view.sentence(classes)
    fallback = picture(scene_figure.scene(view, classes, start.top_percent), said)
    data = base64.b64encode(packed).decode()
    if len(data) > LARGEST:
        raise ValueError(
            f"the playground is {len(data) / 1e6:.1f} MB; it may be {LARGEST / 1e6:.1f} MB: give fewer choices."
        )
    return HTML(
        f'<figure class="rr-scene" data-spec="{escape(spec)}" data-views="{data}">{fallback}'
        f"<figcaption><p>{_caption(scene)}</p></figcaption>{inlined('scene')}</figure>"
    )


def _first(grid: Grid, layers: Sequence[str]) -> Choice:
    """Return what a page shows first: the middle of each list, and the last layer."""
    model, count = grid.variants[0]
    middle = [values[len(values) // 2] for values in (grid.sizes, grid.top_percents)]
    return Choice(
        grid.images[0], model, count, grid.attacks[0], middle[0], grid.rules[0], layers[-1], middle[1]
    )  # fmt: skip


def _caption(scene: Scene) -> str:
    data = scene.study.data
    return (
        f"{escape(data.name)}: an image, the attacked image, the relevance map of the class predicted on the clean image before "
        "and after the attack (red: for the class; blue: against it; both divided by the largest absolute relevance of the map "
        "before), the most relevant pixels of the map before (blue), after (orange) and of both (black), and the predicted "
        "probabilities. Everything was computed when the page was printed; a notebook has all sizes and numbers of samples."
    )


def _spec(scene: Scene, grid: Grid, layers: Sequence[str]) -> dict[str, object]:
    """Return what the script needs to know: the axes in the order of the block, shapes, colours and words."""
    classes = scene.study.data.classes
    images = [f"{number}: a {classes[int(scene.labels[number])]}" for number in grid.images]
    models = [
        name if name != BAYESIAN else f"{name}, {count} sample{'s' * (count > 1)}" for name, count in grid.variants
    ]
    first = _first(grid, layers)
    axes = {
        "image": images,
        "model": models,
        "attack": list(grid.attacks),
        "attack size": [f"{size:g}" for size in grid.sizes],
        "rule": list(grid.rules),
        "layer": list(layers),
        "top percent": [f"{percent:g}" for percent in grid.top_percents],
    }
    start = [0, 0, 0, grid.sizes.index(first.epsilon), 0, len(layers) - 1, grid.top_percents.index(first.top_percent)]
    return {
        "axes": axes,
        "start": start,
        "sliders": ["attack size", "top percent"],
        "shape": list(scene.study.data.image_shape),
        "classes": list(classes),
        "labels": [int(scene.labels[number]) for number in grid.images],
        "heatmap": [matplotlib.colors.to_hex(matplotlib.colormaps[HEATMAP](index / 254)) for index in range(255)],
        "overlap": [matplotlib.colors.to_hex(colour) for colour in OVERLAP[:4]],
        "titles": list(SCENE_TITLES),
        "sentence": SENTENCE,
        "blind": BLIND,
    }


def _blocks(scene: Scene, grid: Grid, layers: Sequence[str]) -> Iterator[bytes]:
    """Give the bytes of all views: images; for each image and model what is clean; then what each attack made of it."""
    for number in grid.images:
        yield _pixels(scene.images[number])
    for number, (model, count) in itertools.product(grid.images, grid.variants):
        for index, (rule, layer) in enumerate(itertools.product(grid.rules, layers)):
            # Of any attack, the map before is the same; this one is shown too.
            view = scene.view(Choice(number, model, count, grid.attacks[0], grid.sizes[0], rule, layer))
            if index == 0:
                yield _shares(view.probabilities[0])
            yield _map(view.before, view.before)
            yield from (_on_top(view.before, percent) for percent in grid.top_percents)
    whole = itertools.product(grid.images, grid.variants, grid.attacks, grid.sizes, grid.rules)
    for number, (model, count), attack, size, rule in whole:
        for index, layer in enumerate(layers):
            views = [
                scene.view(Choice(number, model, count, attack, size, rule, layer, percent))
                for percent in grid.top_percents
            ]
            if index == 0:
                yield _pixels(views[0].attacked)
                yield _shares(views[0].probabilities[1])
                yield _numbers([views[0].softmax_robustness, float(views[0].blind)])
            yield _map(views[0].after, views[0].before)
            for view, percent in zip(views, grid.top_percents, strict=True):
                yield _on_top(view.after, percent)
                yield _numbers([view.lrp_robustness, view.unrelated])


def _pixels(image: Tensor) -> bytes:
    return (image.cpu().numpy() * 255).round().astype(np.uint8).tobytes()


def _numbers(values: Sequence[float]) -> bytes:
    """Return numbers in [0, 1] as 16 bits each, little end first."""
    return (np.asarray(values) * 65535).round().astype("<u2").tobytes()


def _shares(probabilities: Tensor) -> bytes:
    return _numbers(probabilities.cpu().double().numpy())  # type: ignore[arg-type]


def _map(relevance: Tensor, clean: Tensor) -> bytes:
    """Return a map, its channels summed, as the numbers of colours: 127 is zero, 0 and 254 the clean map's largest."""
    scale = clean.sum(0).abs().max().item() or 1.0
    values = (relevance.sum(0).cpu().numpy() / scale).clip(-1, 1)
    return (127 + 127 * values).round().astype(np.uint8).tobytes()


def _on_top(relevance: Tensor, percent: float) -> bytes:
    """Return a bit for each pixel: whether it is among the most relevant ones."""
    return np.packbits(on_top(relevance, percent).cpu().numpy().ravel(), bitorder="little").tobytes()
