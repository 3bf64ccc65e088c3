"""Dombrowski et al., *Explanations can be manipulated and geometry is to blame*."""

from relevance.base.rooms import on_demand

__getattr__ = on_demand(__name__)
