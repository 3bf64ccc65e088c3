"""From a network and a data set to a posterior: one algorithm a file, each one function that gives a ``Posterior``."""

from relevance.inference.hamiltonian import hmc
from relevance.inference.sgd import sgd

__all__ = ["hmc", "sgd"]
