"""A posterior with its explanations and its attack as one file that other programs run: an ONNX graph.

Nothing is written twice: the library's own functions are traced, with the posterior's samples as constants, and what they
computed is exported.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing, make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from relevance.attacks.prediction import loss_gradient
from relevance.base import balls
from relevance.explanations.affine import Convolution
from relevance.explanations.lrp import lrp
from relevance.explanations.rules import Composite, Epsilon, Rule
from relevance.networks.posterior import Posterior

if TYPE_CHECKING:
    from onnx import ModelProto

INPUTS = ("image", "epsilon")
OUTPUTS = (
    "probabilities",
    "relevance",
    "attacked",
    "attacked_probabilities",
    "attacked_relevance",
    "zero_gradient",
)

# Constants of at most this many numbers are computed when the graph is exported.
FOLDED = 256


def attacked_and_explained(
    posterior: Posterior, image: Tensor, epsilon: Tensor, rule: Rule | Composite, layer: str | int | None = None
) -> tuple[Tensor, ...]:
    """Predict an image, explain the predicted class, attack that prediction with FGSM, and explain the same class again.

    Args:
        posterior: the model.
        image: [1, C, H, W] in [0, 1].
        epsilon: size of the attack in the maximum norm, a scalar of at least 0.
        rule, layer: as for :func:`relevance.explanations.lrp`.

    Returns:
        What :data:`OUTPUTS` names: probabilities [1, K] and map [1, C, H, W] of the image, the attacked image
        [1, C, H, W] in [0, 1], its probabilities and its map, and the share of the loss gradient that is exactly zero.
    """
    probabilities = posterior.predict(image)
    predicted = probabilities.argmax(-1)
    gradient = loss_gradient(posterior, image, predicted)
    # FGSM, along a gradient that is known already; the size of the step is an input of the graph, not a number.
    attacked = balls.stepped(image, gradient, epsilon, image, epsilon, "linf")  # type: ignore[arg-type]
    before, after = (lrp(posterior, one, predicted, rule=rule, layer=layer) for one in (image, attacked))
    zero = (gradient == 0).to(gradient.dtype).mean()
    return probabilities, before, attacked, posterior.predict(attacked), after, zero


def to_onnx(posterior: Posterior, *, rule: Rule | Composite | None = None, layer: str | int | None = None) -> bytes:
    """Return :func:`attacked_and_explained` of a posterior as an ONNX graph in float32.

    Its inputs are an ``image`` [1, C, H, W] in [0, 1] and ``epsilon``, a scalar; its outputs are :data:`OUTPUTS`. The class
    is chosen in the graph, so it works for every image.

    Args:
        posterior: the model; its network says the shape of its images.
        rule: how affine layers share relevance; ``Epsilon(0.1)`` if None.
        layer: as for :func:`relevance.explanations.lrp`, in the reading of the paper.

    Raises:
        ValueError: the posterior, the rule or the layer is not what it may be, or the network does not say its image shape.
    """
    import onnxscript.optimizer  # seconds, which only who exports should wait for

    if not isinstance(posterior, Posterior):
        raise ValueError(f"posterior is a {type(posterior).__name__}; it must be a Posterior.")
    if posterior.image_shape is None:
        raise ValueError(
            "the posterior's network does not say the shape of its images; it must be one of relevance.networks.architectures."
        )
    single = Posterior(
        posterior.network, {name: value.detach().float().cpu() for name, value in posterior.samples.items()}
    )
    single.network.float().cpu()
    chosen = Epsilon() if rule is None else rule
    # An image between black and white, so that no operation of the trace meets a special case.
    example = (
        torch.linspace(0.1, 0.9, torch.Size(posterior.image_shape).numel()).reshape(1, *posterior.image_shape),
        torch.tensor(0.1),
    )

    def computed(image: Tensor, epsilon: Tensor) -> tuple[Tensor, ...]:
        with _LooksAtTheExample():
            return attacked_and_explained(single, image, epsilon, chosen, layer)

    graph = make_fx(computed, {torch.ops.aten.convolution_backward.default: _back_through_convolution})(*example)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    with _quietly():
        program = torch.onnx.export(
            graph.eval(), example, dynamo=True, input_names=INPUTS, output_names=OUTPUTS, verbose=False, optimize=False
        )
        assert program is not None
        # Constants alone: the exporter's other simplifications take the rules' 1e-14 for zero, and divide by it. And small
        # ones: of weights, each transpose that is used would be stored beside them.
        onnxscript.optimizer.inline(program.model)
        onnxscript.optimizer.fold_constants(program.model, input_size_limit=FOLDED, output_size_limit=FOLDED)
        onnxscript.optimizer.remove_unused_nodes(program.model)
    return _without_provenance(program.model_proto).SerializeToString()


def _back_through_convolution(
    gradient: Tensor, inputs: Tensor, weight: Tensor, bias_sizes: Any, stride: list[int], padding: list[int],
    dilation: list[int], transposed: bool, output_padding: list[int], groups: int, output_mask: list[bool],
) -> tuple[Tensor, None, None]:  # fmt: skip
    """Return the gradient for a convolution's inputs alone, in operations that ONNX has; samples are constants here."""
    (down, right), (above, left), (tall, wide) = stride, padding, dilation
    how = Convolution((down, right), (above, left), (tall, wide), groups)
    return how.transpose(gradient, weight, inputs), None, None


class _LooksAtTheExample(TorchDispatchMode):
    """While a function is traced, answer checks of values with those of the example that it is traced on.

    The library checks pixels and classes before it computes; a traced tensor has no values to be looked at. No result
    depends on them.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            with disable_proxy_modes_tracing():
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep from the reader what the exporter tells its developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _without_provenance(model: ModelProto) -> ModelProto:
    """Remove what says where in which file of this machine each node comes from."""
    del model.metadata_props[:]
    for graph in (model.graph, *model.functions):
        graph.doc_string = ""
        del graph.metadata_props[:]
        del graph.value_info[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.doc_string = ""
        del value.metadata_props[:]
    return model
