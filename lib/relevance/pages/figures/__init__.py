"""The figures of the book: the same functions draw every build and every recorded run."""

from relevance.pages.figures.answer import answer, claims_grid
from relevance.pages.figures.chains import autocorrelation, certificates, chain
from relevance.pages.figures.curvature import curvature_bounds, smoothing_curve, smoothing_depth
from relevance.pages.figures.faithfulness import deletion_curves, tradeoff
from relevance.pages.figures.generator import generated_maps
from relevance.pages.figures.growth import growth
from relevance.pages.figures.manipulation import manipulations, resistance, smoothing
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
from relevance.pages.figures.roar import removal_curves, removals
from relevance.pages.figures.scores import (
    difference_grid,
    paired_differences,
    robustness_distributions,
)
from relevance.pages.figures.training import alignment_by_epsilon, saliency_by_training
from relevance.pages.figures.when import rho_parts, transfer, when
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
    "generated_maps",
    "growth",
    "heatmaps",
    "known_posterior",
    "layer_heatmaps",
    "manipulations",
    "masked_gradient",
    "paired_differences",
    "reliability",
    "removal_curves",
    "removals",
    "resistance",
    "rho_parts",
    "robustness_distributions",
    "saliency_by_training",
    "side_by_side",
    "smoothing",
    "smoothing_curve",
    "smoothing_depth",
    "survival",
    "three_columns",
    "top_pixels",
    "tradeoff",
    "transfer",
    "when",
]
