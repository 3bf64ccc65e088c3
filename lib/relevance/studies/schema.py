"""What a recorded table is made of: its columns with their kinds and ranges, what its story tells, and the code behind it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd


class Kind(NamedTuple):
    """Numbers of a column: within ``low`` and ``high``, and ``whole`` or not."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False

    def __str__(self) -> str:
        bounds = [
            *([f"at least {self.low:g}"] if self.low > -math.inf else []),
            *([f"at most {self.high:g}"] if self.high < math.inf else []),
        ]
        return " ".join([("whole numbers" if self.whole else "numbers"), " and ".join(bounds)]).strip()


NUMBER, SIZE, SHARE, CORRELATION = Kind(), Kind(0), Kind(0, 1), Kind(-1, 1)
COUNT, TRUTH = Kind(0, whole=True), Kind(0, 1, whole=True)
# Columns by what they hold; what is not here is text. The same name means the same in all tables.
KINDS = {
    **dict.fromkeys(
        ["lrp_robustness", "unrelated_lrp_robustness", "ceiling_lrp_robustness", "softmax_robustness", "accuracy",
         "accuracy under attack", "nothing to follow", "share", "ROAR", "normal share", "attack_linf", "linf", "output_change",
         "top_k_target", "top_k_origin", "FGSM", "manipulated", "noise", "unrelated", "standard gradient",
         "decoder on features", "generator alone", "success", "alone", "zero gradients", "ECE", "saturated", "acceptance",
         "epsilon", *(f"{name}, {kind}" for name in ("accuracy", "k-LRP") for kind in ("FGSM", "noise")), "k-LRP, shared",
         "agreement", "total variation", "k-LRP", "median", "floor", "ceiling", "softmax robustness", "above half",
         "class changed", "k-LRP of SGD", "no gradient", "wrong"], SHARE),
    **dict.fromkeys(
        [*(f"{name}_{side}" for name in ("correlation", "rank", "structure") for side in ("target", "origin")), "before",
         "cosine", "correlation", "rank", "beyond the class", "similarity", "ranks", "ROAR minus standard",
         "map correlation", "rho", "rho, class kept", "rho, moved"], CORRELATION),
    **dict.fromkeys(
        ["image", "label", "clean_class", "attacked_class", "n_samples", "seed", "chain", "run", "values", "constant",
         "random layers", "parameters", "samples",
         "training points", "width", "images", "PGD steps", "queries", "n_train", "warmup", "leapfrog steps",
         "gradients", "warm-up gradients", "pixels", "steps"], COUNT),
    **dict.fromkeys(["gradient_is_zero", "label_kept", "steadier", "correlated", "survives", "SGD is not correlated",
                     "finite"], TRUTH),
    **dict.fromkeys(
        ["l2", "relative", "error_target", "error_origin", "logit_change", "parameter", "time", "seconds", "total seconds",
         "R-hat", "ESS", "ESS tail", "NLL", "ours", "theirs", "ratio", "value", "prior scale", "step size",
         "peak memory, MB", "standard error", "effective draws", "per 1,000 gradients", "trajectory",
         "tangent", "normal, inside the span", "mean_change", "mean change", "distance", "gradient", "millions",
         "graph - network", "memory, MiB", "memory"], SIZE),
    **dict.fromkeys(["alignment", "normal, outside the span", "number", "effect", "loss", "margin", "arrives"], NUMBER),
}  # fmt: skip
TEXTS = ("model", "attack", "rule", "layer", "manifold", "method", "change", "defence", "manipulation", "attribution", "part",
         "map", "judge", "classifier", "posterior", "concerns", "converged", "versions", "date", "hardware", "what", "other",
         "torch", "pyro", "library", "compared", "kind", "start", "case", "sampler", "draws",
         "recipe", "cell", "size", "column", "rows", "switch", "figures", "explains", "if", "group",
         "network", "kept by", "zennit", "captum", "training")  # fmt: skip
# Columns of one table that are named after numbers and attacks, and the ends of intervals, which may leave a range.
NAMED = {
    r"0|1|0\.\d+": SHARE,
    r".+, (low|high)": NUMBER,
    r"LRP under .+": SHARE,
    r".+, (red|green|blue)": Kind(-255, 255, whole=True),
}
STUDY = ("dataset", "architecture", "method", "n_train", "n_images", "hidden", "epochs", "inference", "n_draws", "n_samples",
         "epsilon", "seed")  # fmt: skip
STUDIES = "relevance.studies."


class Form(NamedTuple):
    """A kind of table.

    Attributes:
        columns: those that it must have; it may have others that are known here.
        code: the modules that made it, below ``relevance.studies``.
        settings: what its story must tell of.
        gaps: columns in which a number may be missing.
        rows: how many there are, where no story says it.
    """

    columns: tuple[str, ...]
    code: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    rows: int | None = None


_SCORES = Form(
    ("model", "n_samples", "attack", "rule", "layer", "image", "label", "clean_class", "attacked_class", "lrp_robustness",
     "unrelated_lrp_robustness", "ceiling_lrp_robustness", "softmax_robustness", "attack_linf", "gradient_is_zero"),
    ("carbone.study",), STUDY,
)  # fmt: skip
_ATTACKED = ("accuracy", *(f"{name}, {kind}" for kind in ("FGSM", "noise") for name in ("accuracy", "k-LRP")))
_GENERATOR = ("zeng.generator.measures", "zeng.generator.training")
_CELL = ("recipe", "cell", "attack", "size", "rule", "seed")
_RHOS = ("rho", "rho, low", "rho, high", "rho, class kept", "rho, moved")
_WHY = ("carbone.why", "carbone.recipes", "carbone.criteria", "carbone.picture")
_PHOTOGRAPHS = ("photographs", "side", "n_images", "n_steps", "norm", "seed")
_WHY_SETTINGS = ("dataset", "architecture", "wide", "recipes", "n_samples", "n_images", "epsilon")
FORMS = {
    **dict.fromkeys(("layers", "rules", "saliency"), _SCORES),
    "manipulation": Form(
        ("model", "method", "image", "change", "output_change", "logit_change", "label_kept", "l2", "linf", "before",
         *(f"{name}_{side}" for name in ("correlation", "rank", "structure", "top_k", "error") for side in
           ("target", "origin"))),
        ("dombrowski.manipulation", "carbone.study"), STUDY,
    ),
    "smoothing": Form(
        ("defence", "parameter", "manipulation", "image", "similarity", "ranks", "noise", "output_change", "l2"),
        ("dombrowski.smoothing", "carbone.study"), STUDY,
    ),
    "photographs": Form(
        ("model", "method", "image", "change", "output_change", "logit_change", "label_kept", "l2", "linf", "before",
         *(f"{name}_{side}" for name in ("correlation", "rank", "structure", "top_k", "error") for side in
           ("target", "origin"))),
        ("dombrowski.photographs",), _PHOTOGRAPHS,
    ),
    "pixels": Form(("image",), ("dombrowski.photographs",), _PHOTOGRAPHS),
    "defended": Form(
        ("defence", "parameter", "manipulation", "image", "similarity", "ranks", "noise", "output_change", "l2"),
        ("dombrowski.photographs",), _PHOTOGRAPHS,
    ),
    "geometry": Form(
        ("manifold", "method", "training points", "width", "samples", "R-hat", "accuracy", "tangent",
         "normal, inside the span", "normal, outside the span", "normal share"),
        ("carbone.geometry",), ("n_trains", "widths", "n_samples"), ("R-hat",),
    ),
    "certificate": Form(
        ("kind", "values", "constant", "R-hat", "ESS", "ESS tail", "standard error"),
        ("background.chains",), ("dataset", "n_train", "hidden", "prior_scale", "n_chains", "n_draws", "certificate"),
        ("R-hat", "standard error"),
    ),
    "chains": Form(("chain", "start", *_ATTACKED, "k-LRP, shared"), ("background.chains",)),
    "protocols": Form(("model", "run", *_ATTACKED), ("background.chains",), ("n_runs", "n_draws", "prior_scale")),
    "posteriors": Form(
        ("posterior", "samples", "NLL", "ECE", "saturated", "agreement", "total variation", *_ATTACKED, "map correlation",
         "seconds"), ("background.chains",), ("n_train", "hidden", "prior_scale"),
        gaps=("acceptance", "R-hat", "ESS", "ESS tail", "map correlation"),
    ),
    "switches": Form(
        (*_CELL, "images", "accuracy", "accuracy under attack", "k-LRP", "median", "floor", "ceiling", "rho", "rho, low",
         "rho, high", "softmax robustness", "above half", "zero gradients", "mean change", "class changed"), _WHY, _WHY_SETTINGS,
        gaps=_RHOS,
    ),
    "explained": Form(
        ("rows", "switch", "figures", "explains", "what", "number", "if", "recipe", "effect"), _WHY, _WHY_SETTINGS,
        gaps=("number", "effect"),
    ),
    "changes": Form(
        ("what", "recipe", "cell", "accuracy", "accuracy under attack", "k-LRP", "median", *_RHOS[:3], "above half",
         "zero gradients", "mean change", "k-LRP of SGD", "steadier", "correlated", "survives", "SGD is not correlated"),
        _WHY, _WHY_SETTINGS, gaps=_RHOS,
    ),
    "seen": Form(
        ("column", *_CELL, "image", "label", "clean_class", "attacked_class", "lrp_robustness", "unrelated_lrp_robustness",
         "ceiling_lrp_robustness", "softmax_robustness", "gradient_is_zero", "mean_change"), _WHY, _WHY_SETTINGS,
    ),
    "masking": Form(
        ("group", "distance", "images", "loss", "margin", "gradient", "no gradient", "wrong"), ("carbone.masking",),
        _WHY_SETTINGS,
    ),
    "when": Form(
        ("n_train", "prior scale", "trajectory", "model", "n_samples", "effective draws", "run", "attack", "image",
         "lrp_robustness", "unrelated_lrp_robustness", "ceiling_lrp_robustness", "label", "clean_class", "attacked_class",
         "gradient_is_zero"), ("carbone.when",), STUDY,
    ),
    "transfer": Form(
        ("run", "n_samples", "draws", "accuracy", "accuracy under attack", "lrp_robustness"), ("carbone.when",), STUDY,
    ),
    "roar": Form(("attribution", "share", "seed", "accuracy"), ("zeng.roar", "zeng.trainings")),
    "trainings": Form(
        ("training", "image", "label", "clean_class", "alignment"), ("zeng.effects", "zeng.trainings"),
        ("dataset", "architecture", "n_train", "hidden", "epochs"), gaps=("alignment",),
    ),
    "joint": Form(
        ("model", "accuracy", "accuracy under attack", "nothing to follow", "alignment", "ROAR", "ROAR minus standard"),
        ("zeng.joint", "zeng.trainings"),
    ),
    "alignment": Form(("map", "image", "cosine", "correlation", "rank"), _GENERATOR, gaps=("beyond the class",)),
    "steadiness": Form(("map", "image", "noise", "FGSM", "manipulated", "unrelated"), _GENERATOR),
    "speed": Form(("map", "time", "parameters", "classifier"), _GENERATOR),
    "deletion": Form(("map", "judge", "0", "1"), _GENERATOR),
    "sanity": Form(("random layers", "standard gradient"), _GENERATOR),
}  # fmt: skip
# Tables that the programs in ``benchmarks`` write, without a story.
BENCHMARKS = {
    "attack-sizes": Form(
        ("what", "run", "epsilon", "images", "accuracy", "accuracy under attack", "date", "hardware", "torch"), rows=138,
    ),
    "attack-evaluation": Form(
        ("attack", "posterior", "accuracy", "samples", "images", "epsilon", "versions", "date", "hardware"),
        gaps=("success", "alone", "linf", "l2", "zero gradients", "seconds", "concerns", "converged"), rows=67,
    ),
    "growth": Form(
        ("what", "value", "seconds", "date", "hardware", "torch"), gaps=("peak memory, MB",), rows=27,
    ),
    "inference-speed": Form(("what", "other", "ours", "theirs", "ratio", "hardware", "date", "torch", "pyro"), rows=3),
    "large-networks": Form(
        ("network", "map", "seconds", "time", "memory, MiB", "memory", "date", "hardware", "torch"), rows=21,
    ),
    "library-differences": Form(("library", "compared", "value", "ours"), gaps=("value", "ours"), rows=20),
    "sampler-cost": Form(
        ("case", "sampler", "gradients", "warm-up gradients", "effective draws", "per 1,000 gradients", "R-hat", "seconds",
         "date", "hardware", "torch", "pyro"), rows=15,
    ),
    "networks": Form(
        ("network", "millions", "pixels", "steps", "finite", "graph - network", "gradient", "time", "arrives", "kept by",
         "zennit", "captum", "date", "hardware", "torch"), rows=80,
    ),
    "mnist-posteriors": Form(
        ("posterior", "samples", "accuracy", "NLL", "ECE", "saturated", "seconds", "n_train", "date", "hardware"),
        gaps=("acceptance", "R-hat", "ESS", "ESS tail", "warmup", "leapfrog steps", "prior scale", "step size",
              "converged"), rows=6,
    ),
}  # fmt: skip


def table_fault(form: Form, table: pd.DataFrame) -> str | None:
    """Return what of a table is not of a form, such as ``"has no column 'image'"``; None if nothing is."""
    for name in form.columns:
        if name not in table:
            return f"has no column {name!r}"
    if form.rows is not None and len(table) != form.rows:
        return f"has {len(table)} rows, and {form.rows} were recorded"
    return next((fault for name in table.columns if (fault := _column_fault(form, str(name), table[name]))), None)


def _column_fault(form: Form, name: str, values: pd.Series) -> str | None:
    if name not in form.gaps and values.isna().any():
        return f"has {int(values.isna().sum())} gaps in its column {name!r}"
    if name in TEXTS:
        return None
    kind = KINDS.get(name) or next((kind for named, kind in NAMED.items() if re.fullmatch(named, name)), None)
    if kind is None:
        return f"has a column {name[:40]!r}, which no recorded table has"
    numbers = pd.to_numeric(values, errors="coerce")
    right = numbers.between(max(kind.low, -1e300), min(kind.high, 1e300)) & ~(kind.whole & (numbers % 1 != 0))
    wrong = values[values.notna() & ~right]
    return f"has {str(wrong.iloc[0])[:40]!r} in its column {name!r} of {kind}" if len(wrong) else None


# Part of a story -> what it must be.
_TOLD: dict[str, tuple[Any, str]] = {
    "settings": (Mapping, "names with values"),
    "versions": (Mapping, "names with values"),
    "seconds": ((int, float), "a number of at least 0"),
    "rows": (int, "a whole number"),
    "date": (str, "a text"),
    "hardware": (str, "a text"),
    "commit": (str, "a text"),
    "sha256": (str, "a text"),
}


def story_fault(form: Form, story: Any) -> str | None:
    """Return what of a story is not as :func:`relevance.studies.records.keep` writes it; None if nothing is."""
    if not isinstance(story, dict):
        return f"holds a {type(story).__name__}, and not names with values"
    wanted = {
        **_TOLD,
        **({"data": _TOLD["settings"], "posteriors": _TOLD["settings"]} if form.settings == STUDY else {}),
    }
    for name, (kind, words) in wanted.items():
        if name not in story:
            return f"has no part {name!r}"
        value = story[name]
        # NaN is not at least 0 either.
        if (
            not isinstance(value, kind)
            or isinstance(value, bool)
            or (isinstance(value, (int, float)) and not value >= 0)
        ):
            return f"has the {name} {str(value)[:40]!r}, and not {words}"
    absent = [name for name in form.settings if name not in story["settings"]]
    return f"has no setting {absent[0]!r}" if absent else None
