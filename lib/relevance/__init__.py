"""Resilient Relevance: are explanations of neural networks stable under attack, and does being Bayesian help?

A data set goes to a network, a posterior, an attack, an explanation, a metric, a study, a page: rooms that use one another in
this direction only::

    base < datasets < networks < explanations, inference < attacks < metrics < studies < pages

A deterministic network is a :class:`~relevance.networks.posterior.Posterior` of one sample, so that every attack, explanation
and score is written once.
"""

__version__ = "0.1.0"
