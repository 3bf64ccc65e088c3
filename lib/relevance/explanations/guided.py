"""Guided backpropagation: the gradient, with negative parts cut at every activation."""

from __future__ import annotations

from torch import Tensor

from relevance.base.chunks import Sample
from relevance.explanations.expected import checked, one_hot, over_all
from relevance.explanations.graph import graph_of
from relevance.explanations.steps import Step
from relevance.explanations.ways.way import Shares, Visit
from relevance.networks.posterior import Posterior


def guided_backprop(posterior: Posterior, images: Tensor, target: Tensor, *, per_sample: bool = False) -> Tensor:
    """Return the gradient of the target's logit, of which activations hand back the positive part alone.

    (Springenberg et al. 2015, arXiv:1412.6806, Sec. 3.4, where all activations are ReLUs; here the same holds of leaky
    ReLU and softplus.)

    Args:
        posterior: the networks to explain.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class to explain in each image.
        per_sample: return the map of every sample instead of their mean.

    Returns:
        [N, C, H, W], with ``per_sample`` [S, N, C, H, W].

    Raises:
        ValueError: an image or a target is not what it may be, or the network has a layer without a way back.
    """
    target = checked(posterior, images, target)
    graph = graph_of(posterior, images)

    def back(step: Step, visit: Visit, gradient: Tensor) -> Shares:
        pulled = visit.pull_back(gradient)
        return [part if part is None else part.clamp(min=0) for part in pulled] if step.activation else pulled

    def one_map(sample: Sample, x: Tensor, y: Tensor) -> Tensor:
        visits = graph.forward(x, sample)
        return graph.backward(visits, graph.output, one_hot(visits[graph.output].value, y), back)[graph.image]

    return over_all(posterior, one_map, images, target, per_sample=per_sample)
