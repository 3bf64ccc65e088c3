"""The playground of a printed page: its models side by side, after noise and after an attack, for a grid of choices.

Everything is computed when the page is printed, so that the page needs neither a kernel nor a network. Pixels and maps are
bytes, which is more than a screen shows; scores and top pixels are those of the exact maps, and the page only looks them up.
All of it is one compressed part of the block, which the press puts beside the page (:mod:`relevance.pages.press.parts`); see
``static/scene.js`` for the way back.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from html import escape
from typing import Any

import matplotlib
import numpy as np
from IPython.display import HTML
from torch import Tensor

from relevance.attacks.named import NOISE
from relevance.base import checks
from relevance.explanations.top import on_top
from relevance.metrics.overlap import lrp_robustness
from relevance.pages import web
from relevance.pages.figures.style import HEATMAP, OVERLAP
from relevance.pages.interactive import scene_figure
from relevance.pages.interactive.preset import ALL, BESIDE_NOISE, KEYS, SHOWN, slug
from relevance.pages.interactive.scene import MODELS, Choice, Scene, View
from relevance.studies import names
from relevance.studies.names import BAYESIAN

LARGEST = 2.6e6  # bytes: with the rest of its page, less than 3 MB
# What is said of the models on show: {} are filled in, with a number or a class for each of them.
SENTENCES = {
    "attacked": "{attack} of size {size} leaves of the top pixels: {attacked}.",
    "noisy": "Noise of the same size leaves: {noisy}.",
    "floor": "Maps of other images share by chance: {floor}.",
    "seen": "After the attack, the image of class {label} is taken for: {seen}.",
}
LEGEND = (
    "Bars, from 0 to 1: the share of the top pixels that is left (LRP robustness). They are hatched up to the floor, which maps "
    "of other images reach. The ceiling is what a map scores with itself: 1, or, where it has fewer relevant pixels than "
    "are counted, what is not grey."
)
BLIND = "The attack had nothing to follow: {blind}."


@dataclass(frozen=True)
class Grid:
    """The choices that a page offers; a page has every combination of them, and noise beside each attack.

    Attributes:
        images: numbers of the scene's images.
        models: names, of :data:`scene.MODELS`; the Bayesian one comes with each of ``n_samples``.
        n_samples: of the Bayesian model, growing.
        attacks: of :data:`scene.ATTACKS`, without noise.
        sizes: of attack and noise, in units of the pixel range.
        rules: names in :data:`relevance.studies.names.RULES`.
        layers: of the network; all if empty.
        top_percents: in (0, 100].
    """

    images: Sequence[int] = (0, 3, 8)
    models: Sequence[str] = MODELS
    n_samples: Sequence[int] = (1, 10, 100)
    attacks: Sequence[str] = ("FGSM", "PGD on the margin", "top-k")
    sizes: Sequence[float] = (0.05, 0.1, 0.2)
    rules: Sequence[str] = tuple(names.RULES)
    layers: Sequence[str] = ()
    top_percents: Sequence[float] = (10, 20, 40)

    def __post_init__(self) -> None:
        for model in self.models:
            checks.one_of("model", model, MODELS)
        for attack in self.attacks:
            checks.one_of("attack", attack, BESIDE_NOISE)
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
    data = base64.b64encode(packed).decode()
    if len(data) > LARGEST:
        raise ValueError(
            f"the playground is {len(data) / 1e6:.1f} MB; it may be {LARGEST / 1e6:.1f} MB: give fewer choices."
        )
    name = f"views-{hashlib.sha256(packed).hexdigest()[:16]}"
    spec = json.dumps({**_spec(scene, chosen, layers), "part": name})
    first = _first(chosen, layers)
    classes = scene.study.data.classes
    view = scene.view(first)
    fallback = web.picture(scene_figure.scene(view, classes, first.top_percent), view.sentence(classes))
    last = {model: (model, count) for model, count in chosen.variants}.values()
    views = {
        model: tuple(
            scene.view(replace(first, model=model, n_samples=count, attack=how)) for how in (NOISE, first.attack)
        )
        for model, count in last
    }
    told = said(views, first.attack, f"{first.epsilon:g}", classes)
    return HTML(
        f'<figure class="rr-scene" data-spec="{escape(spec)}">{fallback}<p class="rr-said" role="status">{escape(told)}</p>'
        f"<figcaption><p>{_caption(scene)}</p></figcaption>{web.part(name, data)}"
        f"{web.inlined('models', 'parts', 'scene')}</figure>"
    )


def said(views: Mapping[str, Sequence[View]], attack: str, size: str, classes: Sequence[str]) -> str:
    """Say what there is to see of models, as the page does.

    Args:
        views: model -> what there is to see after noise, and after the attack.
        attack, size: the attack's name, and its size as the page shows it.
        classes: their names.
    """
    words = {
        "noisy": {name: f"{noisy.lrp_robustness:.2f}" for name, (noisy, _) in views.items()},
        "attacked": {name: f"{found.lrp_robustness:.2f}" for name, (_, found) in views.items()},
        "floor": {name: f"{found.unrelated:.2f}" for name, (_, found) in views.items()},
        "seen": {name: classes[int(found.probabilities[1].argmax())] for name, (_, found) in views.items()},
    }
    told = {key: ", ".join(f"{name} {word}" for name, word in each.items()) for key, each in words.items()}
    told["blind"] = ", ".join(name for name, (_, found) in views.items() if found.blind)
    label = classes[next(iter(views.values()))[0].label]
    sentences = [*SENTENCES.values(), *([BLIND] if told["blind"] else [])]
    return " ".join(sentences).format(attack=attack, size=size, label=label, **told)


def _first(grid: Grid, layers: Sequence[str]) -> Choice:
    """Return what a page shows first: the middle of each list, and the last layer."""
    model, count = grid.variants[0]
    middle = [values[len(values) // 2] for values in (grid.sizes, grid.top_percents)]
    return Choice(
        grid.images[0], model, count, grid.attacks[0], middle[0], grid.rules[0], layers[-1], middle[1]
    )  # fmt: skip


def _caption(scene: Scene) -> str:
    return (
        f"{escape(scene.study.data.name)}: for each model, the image and its relevance map (red: for the class that the model "
        "predicts on the clean image; blue: against it), the same after noise and after an attack of this size, and what the "
        "model predicts. The maps of a model are divided by the largest absolute relevance of the first. Top pixels: of the "
        "first map (blue), of the later one (orange), of both (black). All was computed when the page was printed; a notebook "
        "has every size and every number of samples."
    )


def _spec(scene: Scene, grid: Grid, layers: Sequence[str]) -> dict[str, object]:
    """Return what the script needs to know: the choices, how many of each are packed, shapes, colours and words."""
    classes = scene.study.data.classes
    first = _first(grid, layers)
    offered: dict[str, tuple[Sequence[Any], Any]] = {
        "image": (grid.images, first.image),
        "model": ((ALL, *grid.models), ALL),
        "samples": (grid.n_samples, grid.n_samples[-1]),
        "attack": (grid.attacks, first.attack),
        "epsilon": (grid.sizes, first.epsilon),
        "rule": (grid.rules, first.rule),
        "layer": (layers, first.layer),
        "top": (grid.top_percents, first.top_percent),
        "show": (SHOWN, SHOWN[0]),
    }
    axes = {
        key: {
            "label": KEYS[key][0],
            "slider": key in ("samples", "epsilon", "top"),
            "values": [slug(value) for value in values],
            "shown": [value if isinstance(value, str) else f"{value:g}" for value in values],
            "start": list(values).index(start),
        }
        for key, (values, start) in offered.items()
    }
    axes["image"]["shown"] = [f"{number}: a {classes[int(scene.labels[number])]}" for number in grid.images]
    return {
        "axes": axes,
        "models": [{"name": model, "colour": web.model(model), "sampled": model == BAYESIAN} for model in grid.models],
        "counts": {"variant": len(grid.variants), "attack": len(grid.attacks) + 1},
        "shape": list(scene.study.data.image_shape),
        "classes": list(classes),
        "labels": [int(scene.labels[number]) for number in grid.images],
        "heatmap": [matplotlib.colors.to_hex(matplotlib.colormaps[HEATMAP](index / 254)) for index in range(255)],
        "overlap": [matplotlib.colors.to_hex(colour) for colour in OVERLAP[:4]],
        "sentences": list(SENTENCES.values()),
        "blind": BLIND,
        "legend": LEGEND,
    }


def _blocks(scene: Scene, grid: Grid, layers: Sequence[str]) -> Iterator[bytes]:
    """Give the bytes of all views: images; for each image and model what is clean; then what attacks and noise made of it."""
    for number in grid.images:
        yield _pixels(scene.images[number])
    for number, (model, count) in itertools.product(grid.images, grid.variants):
        for index, (rule, layer) in enumerate(itertools.product(grid.rules, layers)):
            # Of any attack, the map before is the same; this one is shown too.
            view = scene.view(Choice(number, model, count, grid.attacks[0], grid.sizes[0], rule, layer))
            if index == 0:
                yield _shares(view.probabilities[0])
            yield _map(view.before, view.before)
            for percent in grid.top_percents:
                yield _on_top(view.before, percent)
                # What a map scores with itself: less than 1 where it has fewer relevant pixels than there are places.
                yield _numbers([lrp_robustness(view.before[None], view.before[None], percent).item()])
    whole = itertools.product(grid.images, grid.variants, (*grid.attacks, NOISE), grid.sizes, grid.rules)
    for number, (model, count), attack, size, rule in whole:
        for index, layer in enumerate(layers):
            views = [
                scene.view(Choice(number, model, count, attack, size, rule, layer, percent))
                for percent in grid.top_percents
            ]
            if index == 0:
                yield _pixels(views[0].attacked)
                yield _shares(views[0].probabilities[1])
                yield _numbers([float(views[0].blind)])
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
