"""Zeng et al., *Generating Deep Networks Explanations with Robust Attribution Alignment*."""

from relevance.base.rooms import on_demand

__getattr__ = on_demand(__name__)
