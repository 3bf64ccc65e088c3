"""Resilient Relevance: are explanations of neural networks stable under attack, and does being Bayesian help?

The modules follow the data, in one direction::

    datasets -> networks -> inference -> posterior -> attacks -> explanations -> robustness -> experiments -> figures

A deterministic network is a :class:`~relevance.posterior.Posterior` of one sample, so that every attack,
explanation and score is written once.
"""

__version__ = "0.1.0"
