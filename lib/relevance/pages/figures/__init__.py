"""The figures of the book: the same functions draw every build and every recorded run."""

from relevance.pages.figures.answer import answer, claims_grid
from relevance.pages.figures.chains import autocorrelation, certificates, chain
from relevance.pages.figures.curvature import curvature_bounds, smoothing_curve, smoothing_depth
from relevance.pages.figures.faithfulness import deletion_curves, tradeoff
from relevance.pages.figures.front import front
from relevance.pages.figures.manipulation import manipulated_shares, manipulations, resistance, smoothing
from relevance.pages.figures.maps import (
    attack_gallery,
    failed_attack,
    first_of_each_class,
    heatmaps,
    layer_heatmaps,
    side_by_side,
    top_pixels,
)
from relevance.pages.figures.models import attack_curves, averaging, known_posterior, reliability, survival
from relevance.pages.figures.photographs import photographs, photographs_defended
from relevance.pages.figures.roar import removal_curves
from relevance.pages.figures.scores import (
    difference_grid,
    intervals,
    paired_differences,
    robustness_distributions,
)
from relevance.pages.figures.training import alignment_by_epsilon, saliency_by_training, steady_and_true
from relevance.pages.figures.when import rho_parts, steps, transfer, when
from relevance.pages.figures.why import masked_gradient, three_columns

__all__ = [
    "alignment_by_epsilon",
    "answer",
    "attack_curves",
    "attack_gallery",
    "autocorrelation",
    "averaging",
    "certificates",
    "chain",
    "claims_grid",
    "curvature_bounds",
    "deletion_curves",
    "difference_grid",
    "failed_attack",
    "first_of_each_class",
    "front",
    "heatmaps",
    "intervals",
    "known_posterior",
    "layer_heatmaps",
    "manipulated_shares",
    "manipulations",
    "masked_gradient",
    "paired_differences",
    "photographs",
    "photographs_defended",
    "reliability",
    "removal_curves",
    "resistance",
    "rho_parts",
    "robustness_distributions",
    "saliency_by_training",
    "side_by_side",
    "smoothing",
    "smoothing_curve",
    "smoothing_depth",
    "steady_and_true",
    "steps",
    "survival",
    "three_columns",
    "top_pixels",
    "tradeoff",
    "transfer",
    "when",
]
