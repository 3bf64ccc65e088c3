"""From a network and a data set to a posterior: one algorithm a file, each one function that gives a ``Posterior``."""

from relevance.base.rooms import on_demand
from relevance.inference.adversarial import adversarial
from relevance.inference.certificate import Certificate, certify
from relevance.inference.distillation import distillation
from relevance.inference.dropout import mc_dropout
from relevance.inference.ensemble import deep_ensemble
from relevance.inference.hamiltonian import hmc
from relevance.inference.jacobian import jacobian
from relevance.inference.laplace import laplace
from relevance.inference.line import Line
from relevance.inference.low_curvature import low_curvature
from relevance.inference.map_estimate import map_estimate
from relevance.inference.sgd import sgd
from relevance.inference.swag import swag
from relevance.inference.variational import variational

__all__ = [
    "Certificate",
    "Line",
    "adversarial",
    "certify",
    "deep_ensemble",
    "distillation",
    "hmc",
    "jacobian",
    "laplace",
    "low_curvature",
    "map_estimate",
    "mc_dropout",
    "sgd",
    "swag",
    "variational",
]

__getattr__ = on_demand(__name__)  # evidence, diagnostics
