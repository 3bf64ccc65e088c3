"""What the chapters of background say: of posteriors, attacks and explanations by themselves."""

from relevance.base.rooms import on_demand

__getattr__ = on_demand(__name__)
