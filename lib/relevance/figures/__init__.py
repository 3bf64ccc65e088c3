"""The figures of the book: the same functions draw every build and every recorded run."""

from relevance.figures.answer import answer
from relevance.figures.curvature import curvature_bounds, smoothing_curve, smoothing_depth
from relevance.figures.faithfulness import deletion_curves, tradeoff
from relevance.figures.generator import generated_maps
from relevance.figures.manipulation import manipulations, resistance, smoothing
from relevance.figures.maps import (
    attack_gallery,
    failed_attack,
    first_of_each_class,
    heatmaps,
    layer_heatmaps,
    side_by_side,
    top_pixels,
)
from relevance.figures.models import attack_curves, averaging, chain, known_posterior, reliability, survival
from relevance.figures.roar import removal_curves, removals
from relevance.figures.scene import SCENE_TITLES, scene
from relevance.figures.scores import difference_grid, lrp_against_softmax, paired_differences, robustness_distributions
from relevance.figures.training import alignment_by_epsilon, saliency_by_training

__all__ = [
    "SCENE_TITLES",
    "alignment_by_epsilon",
    "answer",
    "attack_curves",
    "attack_gallery",
    "averaging",
    "chain",
    "curvature_bounds",
    "deletion_curves",
    "difference_grid",
    "failed_attack",
    "first_of_each_class",
    "generated_maps",
    "heatmaps",
    "known_posterior",
    "layer_heatmaps",
    "lrp_against_softmax",
    "manipulations",
    "paired_differences",
    "reliability",
    "removal_curves",
    "removals",
    "resistance",
    "robustness_distributions",
    "saliency_by_training",
    "scene",
    "side_by_side",
    "smoothing",
    "smoothing_curve",
    "smoothing_depth",
    "survival",
    "top_pixels",
    "tradeoff",
]
