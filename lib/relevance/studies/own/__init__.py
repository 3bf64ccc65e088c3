"""A reader's own network, posterior and images, and examples of each that stand in their place."""

from relevance.base.rooms import on_demand

__getattr__ = on_demand(__name__)
