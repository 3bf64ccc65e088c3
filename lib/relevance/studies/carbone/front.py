"""One image and three models: the front page's figure, from a study."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from torch import Tensor

from relevance.attacks.named import NOISE, perturbed
from relevance.explanations.lrp import lrp
from relevance.studies.carbone.study import Study
from relevance.studies.experiment import CLEAN
from relevance.studies.names import ADVERSARIAL, DETERMINISTIC, RULES, most_samples
from relevance.studies.store import kept
from relevance.studies.tables import last_layer


@dataclass(frozen=True, eq=False)
class Front:
    """One test image, three models, their maps, and how all images fared.

    Attributes:
        image: [C, H, W] in [0, 1].
        label: its class.
        maps: model -> clean image, noise, attack -> expected map [C, H, W] of the class predicted on the clean image.
        scores: rows of :meth:`relevance.studies.carbone.study.Study.table` for the two, of the layer that explains the class.
        place: the value of ``image`` in ``scores`` that the image has.
        attack: name of the attack.
    """

    image: Tensor
    label: str
    maps: dict[str, dict[str, Tensor]]
    scores: pd.DataFrame
    place: int
    attack: str


def typical(scores: pd.DataFrame) -> int:
    """Return the image that every model classifies rightly whose scores are closest to the median of each model and attack.

    Args:
        scores: rows with ``model``, ``attack``, ``image``, ``label``, ``clean_class`` and ``lrp_robustness``.

    Raises:
        ValueError: there is no image that every model classifies rightly.
    """
    right = (scores["clean_class"] == scores["label"]).groupby(scores["image"]).all()
    if not right.any():
        raise ValueError("scores has no image that every model classifies rightly; give more images.")
    some = scores[scores["image"].isin(right.index[right])]
    by_case = some.groupby(["model", "attack"])["lrp_robustness"]
    distance = (some["lrp_robustness"] - by_case.transform("median")).abs()
    found = distance.groupby(some["image"]).sum()
    return int(found.index[int(found.argmin())])


def front(study: Study, table: pd.DataFrame, attack: str, rule: str = "epsilon") -> Front:
    """Show the image that is typical of a study's, under noise and under an attack of the same size.

    Args:
        study: what was measured.
        table: of :meth:`relevance.studies.carbone.study.Study.table`, with ``attack``, noise and ``rule``.
        attack: name of the attack, such as ``"PGD on the margin"``.
        rule: name of the rule.
    """
    names = [DETERMINISTIC, ADVERSARIAL, most_samples(table)]
    scores = last_layer(table[(table["rule"] == rule) & table["attack"].isin([NOISE, attack]) & (table["run"] == 0)])
    scores = scores[scores["model"].isin(names)]
    place = typical(scores)
    images, labels = study.data.balanced_test(study.n_images, study.seed)
    maps: dict[str, dict[str, Tensor]] = {}
    for name, posterior in study.of_run(0, names).items():
        target = posterior.predict(images[place][None]).argmax(1)
        seen = {CLEAN: images}
        for one in study.attacks([NOISE, attack]):
            seen[one.name] = kept(perturbed, posterior, images, labels, one, None)["images"]
        maps[name] = {
            kind: lrp(posterior, some[place][None], target, rule=RULES[rule])[0] for kind, some in seen.items()
        }
    label = study.data.classes[int(labels[place])]
    return Front(images[place], label, maps, scores, place, attack)
