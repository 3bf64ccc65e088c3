"""Layer-wise relevance propagation as an explicit backward pass in ordinary differentiable operations.

There are no hooks and no overridden autograd functions, so the pass can be mapped over posterior samples with
``torch.func.vmap`` and differentiated again.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import vmap

from relevance.base import checks
from relevance.base.chunks import Sample
from relevance.explanations.expected import checked, one_hot, over_all
from relevance.explanations.graph import Back, RelevanceGraph, graph_of
from relevance.explanations.rules import Composite, Epsilon, Rule, as_rule
from relevance.explanations.steps import Step
from relevance.explanations.ways.way import Shares, Visit
from relevance.networks.posterior import Posterior

READINGS = ("activation", "class")
SEEDS = ("logit", "one_hot", "probability")
DEFAULT_RULE = Epsilon()


def lrp(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    *,
    rule: Rule | Composite = DEFAULT_RULE,
    per_sample: bool = False,
    seed: str = "logit",
    layer: str | int | None = None,
    reading: str = "activation",
    own_class: bool = False,
) -> Tensor:
    """Return the Bayesian explanation: the posterior's expected relevance map of one class, for each image.

    Every sample explains the same class, unless each is to explain its own. Affine layers share relevance by their rule,
    activations pass it on unchanged, maximum pooling gives it to the winner, and sums of branches and averages share it in
    proportion to what each part added. (Carbone et al., Sec. II-C and IV-A.)

    Args:
        posterior: the networks to explain; one sample gives the map of a deterministic network.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class to explain in each image: usually the posterior's prediction on the clean image,
            for the clean and for the attacked one.
        rule: how affine layers share relevance, such as ``Epsilon(0.1)``, or a :class:`Composite` of rules.
        per_sample: return the map of every sample instead of their mean.
        seed: what is distributed: the target's ``"logit"``, ``"one_hot"`` (1) or its ``"probability"``.
        layer: an affine layer l by its name, such as 3 or ``"layer1.0.conv1"``; None for the whole network.
        reading: what a map of layer l means. ``"activation"`` is the paper's R(x, w, l): the activations of layer l,
            whatever class they serve, explained down to the image; for the last layer, the target's logit.
            ``"class"``: the target's relevance as it arrives at the activations of layer l.
        own_class: explain, in the place of ``target``, the class that each sample predicts by itself for each image.

    Returns:
        Expected map [N, C, H, W], or of the shape of layer l's activations for the reading ``"class"``; with
        ``per_sample``, a first dimension [S, ...].

    Raises:
        ValueError: an image, a target, the rule, the seed, the layer or the reading is not what it may be, or the
            network has a layer without a rule.
    """
    checks.one_of("reading", reading, READINGS)
    checks.truth("own_class", own_class)
    graph, rules, target = _prepared(posterior, images, target, rule, seed)

    top = graph.output if layer is None else graph.top_of(str(layer))
    inner = top != graph.output and reading == "activation"
    end = top if layer is not None and reading == "class" else graph.image

    def one_map(sample: Sample, some_images: Tensor, some_targets: Tensor) -> Tensor:
        visits = graph.forward(some_images, sample)
        start = top if inner else graph.output
        logits = visits[graph.output].value
        classes = logits.argmax(-1) if own_class else some_targets
        relevance = visits[top].value if inner else _seed(logits, classes, seed)
        return graph.backward(visits, start, relevance, _by(rules))[end]

    return over_all(posterior, one_map, images, target, per_sample=per_sample)


def kept_by_layer(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    *,
    rule: Rule | Composite = DEFAULT_RULE,
    seed: str = "logit",
) -> dict[str, Tensor]:
    """Return the relevance that each layer did not hand on: what its bias and its stabiliser kept.

    The seed is what arrives at the image plus what all layers kept. (Averages and sums of branches whose inputs are all
    zero have no proportions to share by; only rules that do not look at activations, ``WSquare`` and ``Flat``, send them
    relevance, which is lost there.) Besides the affine layers, those keep some that have constants of their own: layer norms,
    softmax, and calls such as ``"encoder.add()"`` for a position code or ``"cat()"`` for a class token.

    Args:
        posterior, images, target, rule, seed: as for :func:`lrp`.

    Returns:
        Layer name -> [N], the mean over the samples; negative where a layer added relevance.
    """
    graph, rules, target = _prepared(posterior, images, target, rule, seed)
    names = list(dict.fromkeys(step.layer for step in graph.steps.values() if step.keeps))

    def all_kept(sample: Sample, some_images: Tensor, some_targets: Tensor) -> Tensor:
        visits = graph.forward(some_images, sample)
        relevance = _seed(visits[graph.output].value, some_targets, seed)
        kept: dict[str, Tensor] = {}

        def back(step: Step, visit: Visit, arrived: Tensor) -> Shares:
            shares = _by(rules)(step, visit, arrived)
            if step.keeps:
                own = _by_image(arrived, len(some_images))
                for share in shares:
                    own = own if share is None else own - _by_image(share, len(some_images))
                kept[step.layer] = kept.get(step.layer, 0) + own  # a layer may be used more than once
            return shares

        graph.backward(visits, graph.output, relevance, back)
        nothing = relevance.new_zeros(len(some_images))
        return torch.stack([kept.get(name, nothing) for name in names])

    def one_by_one(sample: Sample, some_images: Tensor, some_targets: Tensor) -> Tensor:
        def of_one(image: Tensor, label: Tensor) -> Tensor:
            return all_kept(sample, image[None], label[None])[:, 0]

        return vmap(of_one, out_dims=1)(some_images, some_targets)

    # Where values may leave the row of their image, what is kept cannot be told apart by rows.
    by_rows = graph.in_rows or not len(images)
    kept = over_all(posterior, all_kept if by_rows else one_by_one, images, target, dim=1)
    return dict(zip(names, kept, strict=True))


def _by_image(values: Tensor, n_images: int) -> Tensor:
    """Return sums over what belongs to each image: its row, or of one image all there is."""
    return (values[None] if n_images == 1 else values).flatten(1).sum(1)


def _prepared(
    posterior: Posterior, images: Tensor, target: Tensor, rule: Rule | Composite, seed: str
) -> tuple[RelevanceGraph, dict[str, Rule], Tensor]:
    """Check what was given, and return the graph, the rule of each layer, and the target."""
    target = checked(posterior, images, target)
    checks.one_of("seed", seed, SEEDS)
    composite = rule if isinstance(rule, Composite) else Composite(as_rule("rule", rule))
    graph = graph_of(posterior, images, composite.choices)
    return graph, composite.rules(graph.affine_kinds), target


def _by(rules: Mapping[str, Rule]) -> Back:
    """Return the way back in which every affine layer shares relevance by its rule."""

    def back(step: Step, visit: Visit, relevance: Tensor) -> Shares:
        if visit.layer is not None:
            return [rules[step.layer].share(visit.layer, relevance)]
        assert visit.back is not None
        return visit.back(relevance)

    return back


def _seed(logits: Tensor, target: Tensor, seed: str) -> Tensor:
    at_target = one_hot(logits, target)
    if seed == "one_hot":
        return at_target
    return at_target * (logits.softmax(-1) if seed == "probability" else logits)
