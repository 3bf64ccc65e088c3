"""A pad in the page on which the reader draws a digit; the networks run in the page itself, without a kernel.

The block holds everything but the runtime: the exported networks (:mod:`relevance.pages.interactive.onnx`), example digits,
colours. In the printed book, :mod:`relevance.pages.press.parts` puts the networks and the runtime into files beside the
page, which are read when the reader begins to draw.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.explanations.rules import Composite, Epsilon, Rule
from relevance.metrics.overlap import lrp_robustness
from relevance.networks.posterior import Posterior
from relevance.pages import web
from relevance.pages.interactive.onnx import OUTPUTS, attacked_and_explained, to_onnx
from relevance.pages.web import STATIC

if TYPE_CHECKING:
    from IPython.display import HTML

# scikit-learn's digits are 8x8 counts of points in blocks of 4x4; the data set shows them resized.
COUNTED, COUNTS = 8, 16
# Pens in points, of which a cell has 4x4: of bitmaps of 32x32 points, and of MNIST's strokes of about two pixels.
PEN_OF_COUNTS, PEN_OF_PIXELS = 2.75, 4.4


def canvas(
    models: Mapping[str, Posterior],
    data: Dataset,
    *,
    rule: Rule | Composite | None = None,
    layer: str | int | None = None,
    top_percent: float = 30,
    epsilon: float = 0.1,
    epsilon_max: float = 0.3,
    embed_runtime: bool = False,
) -> HTML:
    """Return a block for a page: a pad, a slider for the size of an FGSM attack, and what each model makes of the drawing.

    For each model it shows the predicted class, the relevance map of that class, the attacked drawing with its prediction,
    the map of the same class there, and the k-LRP robustness of the two maps. The attack raises the loss of the class that
    the model predicts on the drawing. Maps are divided by the largest absolute relevance of the model's map of the drawing.
    At first there is a test image that every model classifies rightly, if there is one. In the challenge, a reader changes
    pixels in place of the attack: by no more than the longest of the models' attacks, in the Euclidean norm; the score is by
    how many hundredths of its ceiling the k-LRP robustness has fallen while the class stays.

    Args:
        models: name -> posterior, each on images of ``data``.
        data: whose preprocessing a drawing goes through, and whose test images are the examples: one channel, square.
        rule, layer: as for :func:`relevance.explanations.lrp`; ``Epsilon(0.1)`` and the whole network if None.
        top_percent: share of the pixels that the score counts, in (0, 100].
        epsilon: size of the attack at first, in the maximum norm, in [0, ``epsilon_max``].
        epsilon_max: largest size, in (0, 1].
        embed_runtime: put the runtime into the block too, 5 MB, so that it works outside of the printed book.

    Raises:
        ValueError: an argument is not what it may be, or the runtime is to be embedded and not installed.
    """
    from IPython.display import HTML

    _check(models, data)
    checks.number("epsilon_max", epsilon_max, above=0, at_most=1)
    checks.number("epsilon", epsilon, at_least=0, at_most=epsilon_max)
    checks.number("top_percent", top_percent, above=0, at_most=100)
    parts = {}
    for name, posterior in models.items():
        packed = gzip.compress(to_onnx(posterior, rule=rule, layer=layer), mtime=0)
        parts[name] = (f"network-{hashlib.sha256(packed).hexdigest()[:16]}", base64.b64encode(packed).decode())
    firsts, start = _examples(models, data)
    config = {
        **_preprocessing(data),
        "models": [{"name": name, "part": part} for name, (part, _) in parts.items()],
        "classes": list(data.classes),
        "examples": _cells(data, firsts),
        "start": start,
        "first": [_computed(one, firsts[start][None], epsilon, rule, layer, top_percent) for one in models.values()],
        "places": max(1, round(data.image_shape[1] ** 2 * top_percent / 100)),
        "colours": _colours(),
    }
    embedded = dict(parts.values())
    if embed_runtime:
        files = web.packed()
        if files is None:
            raise ValueError(f"embed_runtime is True, and there is no runtime in {web.packages()}; it must be False.")
        embedded["runtime"] = json.dumps(files)
    return HTML(_block(config, embedded, top_percent, epsilon, epsilon_max))


def _check(models: Mapping[str, Posterior], data: Dataset) -> None:
    if not models or not all(isinstance(model, Posterior) for model in models.values()):
        kinds = [type(model).__name__ for model in models.values()]
        raise ValueError(f"models are {kinds}; they must be at least one Posterior, each with a name.")
    channels, height, width = data.image_shape
    if channels != 1 or height != width:
        raise ValueError(
            f"data is {data.name} with images of shape {list(data.image_shape)}; to draw one, it must have the shape "
            "[1, H, H]."
        )
    for name, model in models.items():
        if model.image_shape is not None and model.image_shape != data.image_shape:
            raise ValueError(
                f"the model {name} takes images of shape {list(model.image_shape)}; those of {data.name} have the shape "
                f"{list(data.image_shape)}, and it must take them."
            )


def _preprocessing(data: Dataset) -> dict[str, Any]:
    """Return how strokes become an image as those of the data set did.

    The digits were bitmaps of 32x32 points, fitted into a box of 20x32 and made about equally inky, and counted in blocks of
    4x4 (Garris et al. 1994, NIST form-based handprint recognition). MNIST's keep their proportions in a box of 20x20 pixels
    of 28x28, and are centred by mass (LeCun et al. 1998).
    """
    side = data.image_shape[1]
    if data.name == "digits":
        return {
            **{"side": side, "cells": COUNTED, "levels": COUNTS, "box": [5, COUNTED], "stretch": 1.5},
            **{"by_mass": False, "pen": PEN_OF_COUNTS, "ink": counts_of(data.train_images).mean().item()},
        }
    return {
        **{"side": side, "cells": side, "levels": 255, "box": [20 / 28 * side] * 2, "stretch": 1},
        **{"by_mass": True, "pen": PEN_OF_PIXELS * side / 28, "ink": None},
    }


def counts_of(images: Tensor) -> Tensor:
    """Return the digits before they were resized, [N, 8, 8] in [0, 1]: the least squares solution, which is exact.

    Args:
        images: of the data set ``digits``, [N, 1, H, H].
    """
    rows = functional.interpolate(
        torch.eye(COUNTED, dtype=torch.float64)[:, None], size=images.shape[-1], mode="linear", align_corners=False
    )
    back = torch.linalg.pinv(rows[:, 0].T)
    counts = back @ images[:, 0].double().cpu() @ back.T
    return (counts * COUNTS).round().clamp(0, COUNTS) / COUNTS


def _examples(models: Mapping[str, Posterior], data: Dataset) -> tuple[Tensor, int]:
    """Return the first test image of each class [K, 1, H, H], and which one is there at first."""
    labels = data.test_labels.unique()
    images = data.test_images[[int((data.test_labels == label).nonzero()[0]) for label in labels]]
    right = torch.stack([one.predict(images).argmax(1) == labels for one in models.values()]).all(0)
    return images, max((place for place, each in enumerate(right.tolist()) if each), default=0)


def _cells(data: Dataset, images: Tensor) -> list[str]:
    """Return images as a reader draws them, a byte for each cell."""
    cells = counts_of(images) * COUNTS if data.name == "digits" else images[:, 0] * 255
    return [_packed(one) for one in cells]


def _packed(values: Tensor) -> str:
    return base64.b64encode(bytes(values.round().to(torch.uint8).flatten().tolist())).decode()


def _computed(
    posterior: Posterior,
    image: Tensor,
    epsilon: float,
    rule: Rule | Composite | None,
    layer: str | int | None,
    top_percent: float,
) -> dict[str, Any]:
    """Return what the page shows of the first image: maps in bytes, 127 is zero, 0 and 254 the first map's largest."""
    found = attacked_and_explained(posterior, image, torch.tensor(epsilon), rule or Epsilon(), layer)
    results = dict(zip(OUTPUTS, found, strict=True))
    before, after = results["relevance"], results["attacked_relevance"]
    scale = before.abs().max().item() or 1.0
    return {
        **{name: results[name].flatten().tolist() for name in ("probabilities", "attacked_probabilities")},
        **{
            name: _packed(127 + 127 * (results[name] / scale).clamp(-1, 1))
            for name in ("relevance", "attacked_relevance")
        },
        "attacked": _packed(255 * results["attacked"]),
        "zero_gradient": [results["zero_gradient"].item()],
        "score": lrp_robustness(before, after, top_percent).item(),
    }


def _colours() -> str:
    """Return the 256 colours of the book's heatmaps, three bytes each."""
    import matplotlib as mpl
    import numpy as np

    from relevance.pages.figures.style import HEATMAP

    return base64.b64encode(mpl.colormaps[HEATMAP](np.arange(256), bytes=True)[:, :3].tobytes()).decode()


def _block(
    config: dict[str, Any], embedded: Mapping[str, str], top_percent: float, epsilon: float, epsilon_max: float
) -> str:
    """Return the markup, with its style and its script."""
    identity = "drawing-" + hashlib.sha256(json.dumps(config).encode()).hexdigest()[:12]
    style, script, pixels, page, row = (
        (STATIC / name).read_text("utf-8")
        for name in ("drawing.css", "drawing.js", "pixels.js", "drawing.html", "drawing-row.html")
    )
    code = f"{pixels}\n{script.replace('DRAWING', identity)}\nrelevanceDrawing();"
    numbers = {
        "TOP": f"{top_percent:g}",
        "EPSILON": f"{epsilon:g}",
        "SHOWN": f"{epsilon:.2f}",
        "MOST": f"{epsilon_max:g}",
    }
    filled = {
        **numbers,
        "SIDE": str(config["side"]),
        "CELLS": str(config["cells"]),
        "EXAMPLES": "".join(
            f'<button type="button" data-example="{number}" aria-label="Show a test image of class {html.escape(name)}">'
            f"{html.escape(name)}</button>"
            for number, name in enumerate(config["classes"][: len(config["examples"])])
        ),
        "ROWS": "".join(
            _filled(
                row,
                {
                    "NUMBER": str(number),
                    "NAME": html.escape(model["name"]),
                    "SIDE": str(config["side"]),
                    "COLOUR": web.model(model["name"]),
                },
            )
            for number, model in enumerate(config["models"])
        ),
        "MODELS": "".join(
            f'<option value="{number}">{html.escape(model["name"])}</option>'
            for number, model in enumerate(config["models"])
        ),
    }
    parts = "".join(web.part(name, text) for name, text in embedded.items())
    settings = json.dumps(config).replace("<", "\\u003c")
    return (
        f'<div class="relevance-drawing" id="{identity}">\n<style>\n{style}</style>\n{_filled(page, filled)}'
        f"{web.inlined('models', 'parts')}"
        f'<script type="application/json" class="relevance-config">{settings}</script>\n{parts}</div>\n'
        f'<script>\n(() => {{\n"use strict";\n{code}\n}})();\n</script>'
    )


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    return text
