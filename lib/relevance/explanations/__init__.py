"""Explanations: which pixels a prediction rests on, for a whole posterior."""

from relevance.explanations.deep_taylor import RootPoints, deep_taylor, root_points
from relevance.explanations.gradient import gradient, gradient_x_input, integrated_gradients
from relevance.explanations.guided import guided_backprop
from relevance.explanations.lrp import kept_by_layer, lrp
from relevance.explanations.pattern import fit_patterns, pattern_attribution
from relevance.explanations.rules import (
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    GeneralisedGamma,
    Rule,
    WSquare,
    ZBox,
    ZPlus,
)
from relevance.explanations.smoothing import noise_grad, smooth_grad, softened, softplus
from relevance.explanations.top import top_share
from relevance.explanations.ways.table import register
from relevance.explanations.ways.way import in_proportion, pass_on, to_the_winner

__all__ = [
    "AlphaBeta",
    "Composite",
    "Epsilon",
    "Flat",
    "Gamma",
    "GeneralisedGamma",
    "RootPoints",
    "Rule",
    "WSquare",
    "ZBox",
    "ZPlus",
    "deep_taylor",
    "fit_patterns",
    "gradient",
    "gradient_x_input",
    "guided_backprop",
    "in_proportion",
    "integrated_gradients",
    "kept_by_layer",
    "lrp",
    "noise_grad",
    "pass_on",
    "pattern_attribution",
    "register",
    "root_points",
    "smooth_grad",
    "softened",
    "softplus",
    "to_the_winner",
    "top_share",
]
