"""Explanations: which pixels a prediction rests on, for a whole posterior."""

from relevance.explanations.gradient import gradient, gradient_x_input
from relevance.explanations.lrp import lrp
from relevance.explanations.rules import Epsilon, Rule

__all__ = ["Epsilon", "Rule", "gradient", "gradient_x_input", "lrp"]
