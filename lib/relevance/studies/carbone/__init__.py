"""Carbone, Bortolussi and Sanguinetti, *Resilience of Bayesian Layer-Wise Explanations under Adversarial Attacks*."""

from relevance.base.rooms import on_demand

__getattr__ = on_demand(__name__)
