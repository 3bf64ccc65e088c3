"""Explanations: which pixels a prediction rests on, for a whole posterior."""

from relevance.explanations.gradient import gradient, gradient_x_input
from relevance.explanations.lrp import kept_by_layer, lrp
from relevance.explanations.rules import AlphaBeta, Composite, Epsilon, Flat, Gamma, Rule, WSquare, ZBox, ZPlus
from relevance.explanations.steps import in_proportion, pass_on, register, to_the_winner

__all__ = [
    "AlphaBeta",
    "Composite",
    "Epsilon",
    "Flat",
    "Gamma",
    "Rule",
    "WSquare",
    "ZBox",
    "ZPlus",
    "gradient",
    "gradient_x_input",
    "in_proportion",
    "kept_by_layer",
    "lrp",
    "pass_on",
    "register",
    "to_the_winner",
]
