"""PatternAttribution: relevance along the direction of the signal in the data, not along the weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from relevance.base import checks, chunks
from relevance.base.chunks import Sample
from relevance.explanations.affine import Convolution, Dense, Layer, Padded, Scaling
from relevance.explanations.expected import checked, one_hot, over_all
from relevance.explanations.graph import Back, graph_of
from relevance.explanations.steps import Step
from relevance.explanations.ways.way import Shares, Visit
from relevance.networks.posterior import Posterior, as_posterior


def fit_patterns(posterior: Posterior, images: Tensor) -> dict[str, Tensor]:
    """Return the signal's direction for every neuron of every sample, estimated on training images.

    The two-component estimator of Kindermans et al. 2018 (arXiv:1705.05598, Sec. 4): with E+ the mean over the inputs x
    that make the neuron's output y positive, its pattern is proportional to E+[x y] - E+[x] E[y], and w times it is 1.
    A neuron that no activation follows, such as a logit, takes all inputs: the linear estimator, cov[x, y] / var[y].

    Args:
        posterior: the networks to be explained.
        images: [N, C, H, W] in [0, 1], of the training set.

    Returns:
        Name of each affine layer -> [S, ...], in the shape of its weights. A neuron that never was positive, or did not
        vary, has a pattern of zeros.

    Raises:
        ValueError: an image is not what it may be, or the network has a layer without a way back.
    """
    as_posterior(posterior).check_images(checks.pixels("images", images))
    checks.count("the number of images", len(images), at_least=2)
    graph = graph_of(posterior, images)
    layers = {step.layer: step for step in graph.steps.values() if step.affine is not None}
    if len(layers) < len(graph.affine_layers):
        twice = next(name for name in layers if graph.affine_layers.count(name) > 1)
        raise ValueError(f"the network uses layer {twice} more than once; patterns are of layers that are used once.")
    rectified = {name: graph.is_activated(step.name) for name, step in layers.items()}
    n_images = chunks.at_once(posterior.network, posterior.samples, images)[0]
    patterns: dict[str, list[Tensor]] = {name: [] for name in layers}
    for one in posterior:
        sample = {name: value[0] for name, value in one.samples.items()}
        moments = {name: _Moments() for name in layers}
        for some in images.split(n_images):
            visits = graph.forward(some, sample)
            for name, step in layers.items():
                layer = visits[step.name].layer
                assert layer is not None
                moments[name].add(layer, positive=rectified[name])
        for name in layers:
            patterns[name].append(moments[name].pattern())
    return {name: torch.stack(values) for name, values in patterns.items()}


class _Moments:
    """Sums over the inputs of one layer, from which its patterns follow: of x, of y and of x y, where y counts."""

    def __init__(self) -> None:
        self.sums: list[Tensor] = []
        self.weight: Tensor | None = None

    def add(self, layer: Layer, *, positive: bool) -> None:
        """Add what one batch of images gives."""
        self.weight = layer.weight
        # [..., J], the inputs that reach an output, and [..., K]; one place of a convolution is one more example.
        x, y = _examples(layer)
        counts = (y > 0).to(y) if positive else torch.ones_like(y)
        sums = [counts.sum(0), y.sum(0), y.new_tensor(float(len(y))), _product(counts, x), _product(counts * y, x)]
        self.sums = [old + new for old, new in zip(self.sums, sums, strict=True)] if self.sums else sums

    def pattern(self) -> Tensor:
        """Return the patterns, in the shape of the weights."""
        assert self.weight is not None
        n_counted, sum_y, n, sum_x, sum_xy = self.sums
        per_counted = 1 / n_counted.clamp(min=1)[:, None]
        direction = per_counted * sum_xy - per_counted * sum_x * (sum_y / n)[:, None]
        weight = self.weight.reshape(len(self.weight), -1)  # of a batch norm that stands alone, [C, 1]
        scale = (direction * weight).sum(1, keepdim=True)
        # Rounding leaves a rest of a neuron that does not vary; relative to its size it is nothing.
        size = (per_counted * sum_xy).abs().sum(1, keepdim=True) * weight.abs().amax(1, keepdim=True)
        known = scale.abs() > 1e3 * torch.finfo(scale.dtype).eps * size
        return torch.where(known, direction / torch.where(known, scale, 1.0), 0.0).reshape(self.weight.shape)


def _product(of_outputs: Tensor, inputs: Tensor) -> Tensor:
    """Return the sum over the examples of (K) times (J), or of (K) times (K, J) where groups have inputs of their own."""
    return of_outputs.T @ inputs if inputs.ndim == 2 else torch.einsum("nk,nkj->kj", of_outputs, inputs)


def _examples(layer: Layer) -> tuple[Tensor, Tensor]:
    if isinstance(layer.map, Scaling):
        spread = layer.inputs.movedim(1, -1).reshape(-1, layer.inputs.shape[1])
        return spread[..., None], layer.outputs.movedim(1, -1).reshape(-1, layer.outputs.shape[1])
    if isinstance(layer.map, Dense):
        return layer.inputs.flatten(0, -2), layer.outputs.flatten(0, -2)
    inputs, how = layer.inputs, layer.map
    if isinstance(how, Padded):
        inputs, how = how.padded(inputs), how.inner
    kernel = layer.weight.shape[2:]
    if not isinstance(how, Convolution) or len(kernel) != 2:
        raise ValueError(
            "the network has a layer that is no dense layer, convolution in two dimensions or batch norm; patterns are of these."
        )
    patches = functional.unfold(inputs, kernel, how.dilation, how.padding, how.stride)  # [N, C h w, places]
    patches = patches.movedim(1, -1).reshape(-1, patches.shape[1])
    outputs = layer.outputs.flatten(2).movedim(1, -1).reshape(-1, layer.outputs.shape[1])
    if how.groups == 1:
        return patches, outputs
    by_group = patches.reshape(len(patches), how.groups, -1)
    return by_group.repeat_interleave(outputs.shape[1] // how.groups, dim=1), outputs


def pattern_attribution(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    *,
    patterns: Mapping[str, Tensor],
    per_sample: bool = False,
) -> Tensor:
    """Return the target's logit handed back along w times pattern in place of w (Kindermans et al. 2018, Sec. 4).

    Args:
        posterior: the networks to explain.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class to explain in each image.
        patterns: of this posterior, from :func:`fit_patterns`.
        per_sample: return the map of every sample instead of their mean.

    Returns:
        [N, C, H, W], with ``per_sample`` [S, N, C, H, W].

    Raises:
        ValueError: an image, a target or the patterns are not what they may be.
    """
    target = checked(posterior, images, target)
    graph = graph_of(posterior, images)
    for name, value in checks.named("patterns", patterns, "tensors, as fit_patterns gives them").items():
        checks.finite(f"patterns[{name!r}]", checks.tensor(f"patterns[{name!r}]", value, "a tensor [S, ...]"))
    if set(patterns) != set(graph.affine_layers) or any(len(value) != len(posterior) for value in patterns.values()):
        raise ValueError(
            f"patterns has the layers {', '.join(patterns)} and {sorted({len(value) for value in patterns.values()})} "
            f"samples; it must have {', '.join(graph.affine_layers)} and {len(posterior)}: fit_patterns gives them."
        )
    # Patterns are one more parameter of each sample; no parameter of a network has such a name.
    joined = {f"pattern of {name}": value for name, value in patterns.items()}

    def along(sample: Sample) -> Back:
        def back(step: Step, visit: Visit, relevance: Tensor) -> Shares:
            if visit.layer is None:
                return visit.pull_back(relevance)
            pattern = sample[f"pattern of {step.layer}"]
            if pattern.shape != visit.layer.weight.shape:
                raise ValueError(
                    f"patterns[{step.layer!r}] has shape {['S', *pattern.shape]}; it must have that of the weights, "
                    f"{['S', *visit.layer.weight.shape]}: fit_patterns gives them."
                )
            return [visit.layer.transpose(relevance, visit.layer.weight * pattern)]

        return back

    def one_map(sample: Sample, x: Tensor, y: Tensor) -> Tensor:
        visits = graph.forward(x, sample)
        logits = visits[graph.output].value
        return graph.backward(visits, graph.output, one_hot(logits, y) * logits, along(sample))[graph.image]

    return over_all(posterior, one_map, images, target, per_sample=per_sample, also=joined)
