"""Doors for posteriors that other libraries drew: from state dicts, from flat vectors, from named sites.

Each door gives a :class:`~relevance.networks.posterior.Posterior` of a plain network, and compares what it predicts with what
the source predicts, where it is given that. Nothing is taken in silence: names, shapes, kinds of numbers and predictions either
fit, or are refused with a sentence.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from relevance.base import checks
from relevance.base.environment import chosen_device
from relevance.networks import agreement, layouts, pretrained
from relevance.networks.layouts import JAX, TORCH
from relevance.networks.posterior import NETWORK, Posterior, fill

# Images [N, C, H, W] in [0, 1], and what the source gives for them.
Check = tuple[Tensor, Tensor]
State = Mapping[str, Tensor] | nn.Module | str | Path

# As pretrained.wrap names what it wraps.
WRAPPED = "model."
# Where files with more than weights keep the weights.
INSIDE = ("state_dict", "model_state_dict", "model")
# Means and spreads (rho) of mean-field layers, in bayesian-torch and in torch-uncertainty -> the parameter of a plain layer.
MEAN_FIELD = {
    ("mu_weight", "rho_weight"): "weight",
    ("mu_kernel", "rho_kernel"): "weight",
    ("mu_bias", "rho_bias"): "bias",
    ("weight_mu", "weight_sigma"): "weight",
    ("bias_mu", "bias_sigma"): "bias",
}


@dataclass(frozen=True)
class _Taken:
    """What every door takes beside the draws, as its arguments have it."""

    network: nn.Module
    check: Any = None
    image_shape: Sequence[int] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    record: Mapping[str, Any] | None = None
    device: torch.device | str | None = None

    def __post_init__(self) -> None:
        checks.kind_of("network", self.network, nn.Module, NETWORK)
        if not any(True for _ in self.network.parameters()):
            raise ValueError("network has no parameters; it must have some, of which there are draws.")
        checks.kind_of("record", self.record or {}, Mapping, "a mapping of names to JSON values")
        if self.image_shape is None and not (self.mean is None and self.std is None):
            raise ValueError(
                "image_shape is None, with a mean or a std; it must be (C, H, W) where the network is to normalise."
            )
        if self.check is not None:
            wanted = "a pair (images [N, C, H, W], logits [S, N, K])"
            checks.kind_of("check", self.check, (tuple, list), wanted)
            if len(self.check) != 2:
                raise ValueError(f"check has {len(self.check)} parts; it must be {wanted}.")
            images, logits = self.check
            checks.some_images("images of check", checks.pixels("images of check", images))
            logits = checks.tensor(
                "logits of check", _array("logits of check", logits), "a float tensor [S, N, K]", "float"
            )
            object.__setattr__(self, "check", (images, logits))


def from_states(
    network: nn.Module,
    states: State | Iterable[State],
    *,
    prefix: str = "",
    check: Check | None = None,
    image_shape: Sequence[int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    record: Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
) -> Posterior:
    """Return a posterior of one sample for each state dict: checkpoints, deep ensembles, snapshots, SWAG's draws.

    Such as ``.core_models`` and ``.saved_models`` of torch-uncertainty, or files that ``torch.save(model.state_dict(), ...)``
    wrote. Buffers in which the states differ, such as batch norm's statistics, become samples too.

    Args:
        network: the architecture; it stays as it is.
        states: one or more; each a mapping of names to tensors, a module with the same names, or the path of a
            file (``.safetensors``, or what ``torch.save`` wrote, read without running code in it).
        prefix: what names in the states begin with and those of the network do not, such as ``"module."``; names without it
            are refused.
        check: images [N, C, H, W] in [0, 1], and what the source gives for them in evaluation mode: logits [S, N, K] of
            each sample, or the mean over the samples, [N, K], of softmax outputs where its rows are probabilities, else of
            logits. A normalisation that the source does outside belongs before its logits, not into these images.
        image_shape: (C, H, W) of an image, for a network that does not say it itself.
        mean, std: by which the network normalises its images, as for :func:`relevance.networks.pretrained.wrap`.
        record: what is known of how the samples were made.
        device: where the samples are put; a CUDA GPU where there is one if not given.

    Raises:
        ValueError: there is no state; names, shapes or kinds of numbers do not fit the network; a value is NaN or
            infinite; or the predictions are not the source's.
        FileNotFoundError: there is no such file.
    """
    taken = _Taken(network, check, image_shape, mean, std, record, device)
    given: Any = states
    if isinstance(given, (Mapping, str, Path)) or (
        isinstance(given, nn.Module) and not isinstance(given, nn.ModuleList)
    ):
        given = [given]
    checks.kind_of("states", given, Iterable, "state dicts, modules or paths")
    found = [_stripped(f"states[{index}]", _state(index, state), prefix) for index, state in enumerate(given)]
    if not found:
        raise ValueError("states is empty; there must be at least one state dict.")
    wanted = network.state_dict()
    for index, state in enumerate(found):
        _same_names(f"states[{index}]", state, wanted)
        _tied(f"states[{index}]", state, network)
        for name, value in state.items():
            _fits(f"{name} of states[{index}]", value, wanted[name])
    own, fixed = _buffers(network, found)
    names = [*dict(network.named_parameters()), *own]
    if fixed:
        network = copy.deepcopy(network)
        fill(network, fixed)
    samples = {name: torch.stack([state[name].detach().to("cpu") for state in found]) for name in names}
    return _posterior(replace(taken, network=network), samples, "states")


def from_vectors(
    network: nn.Module,
    vectors: Any,
    *,
    layer: str | None = None,
    check: Check | None = None,
    image_shape: Sequence[int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    record: Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
) -> Posterior:
    """Return a posterior of flat vectors of parameters, such as those that ``la.sample(n)`` of laplace-torch gives.

    A vector has the parameters that require a gradient one after another, in the order of ``network.parameters()``, as
    ``torch.nn.utils.parameters_to_vector`` has; what requires none is the network's own.

    Args:
        network: the architecture, with the values of all that the vectors do not have; it stays as it is.
        vectors: [S, P], a tensor or an array.
        layer: name of the one layer whose parameters the vectors have, such as the last of a last-layer Laplace
            approximation; None for all parameters that require a gradient.
        check, image_shape, mean, std, record, device: as for :func:`from_states`.

    Raises:
        ValueError: there is no such layer; P is not how many parameters there are; a value is NaN or infinite, or of
            another kind than the network's; or the predictions are not the source's.
    """
    taken = _Taken(network, check, image_shape, mean, std, record, device)
    parameters = dict(network.named_parameters())
    if layer is None:
        chosen = [name for name, value in parameters.items() if value.requires_grad]
        whose = "network has, of those that require a gradient"
    else:
        layers = {name for name, module in network.named_modules() if name and any(True for _ in module.parameters())}
        checks.one_of("layer", layer, layers)
        inside = {id(value) for value in dict(network.named_modules())[layer].parameters()}
        chosen = [name for name, value in parameters.items() if id(value) in inside]
        whose = f"layer {layer} has"
    size = sum(parameters[name].numel() for name in chosen)
    rows = _array("vectors", vectors)
    if rows.ndim != 2 or not len(rows) or rows.shape[1] != size or not size:
        raise ValueError(
            f"vectors has shape {list(rows.shape)}; it must have shape [S, {size}], a column for each of the {size:,} "
            f"parameters that {whose}."
        )
    _finite("vectors", rows)
    parts = rows.split([parameters[name].numel() for name in chosen], dim=1)
    samples = {name: part.reshape(-1, *parameters[name].shape) for name, part in zip(chosen, parts, strict=True)}
    for name, value in samples.items():
        _fits("vectors", value, parameters[name][None].expand(len(rows), *parameters[name].shape))
    return _posterior(taken, _completed(network, samples), "vectors")


def from_sites(
    network: nn.Module,
    sites: Mapping[str, Any],
    *,
    prefix: str = "",
    layout: str = TORCH,
    others: Sequence[str] = (),
    partial: bool = False,
    check: Check | None = None,
    image_shape: Sequence[int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    record: Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
) -> Posterior:
    """Return a posterior of stacked values under the names of parameters.

    Such as ``mcmc.get_samples()`` of Pyro, draws of its guides by ``Predictive``, stacked parameters of posteriors, or arrays
    of numpyro and blackjax.

    Args:
        network: the architecture; it stays as it is.
        sites: parameter name, after ``prefix`` -> [S, ...], a tensor or an array; chains are one after another, and dimensions of
            size 1 that Pyro's plates leave behind the first do not count.
        prefix: what the names of the network's sites begin with, such as ``"net."`` or Pyro's ``"net$$$"``; names without it
            are refused.
        layout: ``"torch"``; or ``"jax"``: dense weights [in, out], those of convolutions [H, W, in, out], and dense layers
            after a flattening with columns in the order H, W, C.
        others: names of sites that are not the network's, such as a prior's scale.
        partial: take from the network what has no site, instead of refusing it.
        check, image_shape, mean, std, record, device: as for :func:`from_states`. With ``layout="jax"``, images are those of
            torch all the same, [N, C, H, W].

    Raises:
        ValueError: there is no site, or no draw; names, shapes or kinds of numbers do not fit the network; a value is NaN or
            infinite; what comes before a flattening is not known; or the predictions are not the source's.
    """
    taken = _Taken(network, check, image_shape, mean, std, record, device)
    checks.one_of("layout", layout, (TORCH, JAX))
    checks.truth("partial", partial)
    checks.named("sites", sites, "tensors or arrays [S, ...]")
    left = checks.kind_of("others", others, (list, tuple, set, frozenset), "a list of names")
    for name in left:
        checks.one_of("an item of others", name, map(str, sites))
    ours = {name: value for name, value in sites.items() if name not in left}
    if not ours:
        raise ValueError("sites has none but others; it must have some of the network's parameters.")
    found = {name: _array(f"sites[{name!r}]", value) for name, value in _stripped("sites", ours, prefix).items()}
    parameters = dict(network.named_parameters())
    needed = {name: value for name, value in parameters.items() if not partial or name in found}
    _same_names("sites", found, needed, "others=[...] leaves out what is not the network's")
    if layout == JAX:
        found = _from_jax(taken, found)
    n_samples = len(first) if (first := next(iter(found.values()))).ndim else 0
    found = {name: layouts.without_plates(value, (n_samples, *parameters[name].shape)) for name, value in found.items()}
    for name, value in found.items():
        shape = parameters[name].shape
        if value.shape != (n_samples, *shape) or not n_samples:
            turned = (
                layout == TORCH and layouts.is_dense(network, name) and tuple(value.shape[1:]) == tuple(shape)[::-1]
            )
            hint = "; layout='jax' transposes" * turned + "; chains must be one after another" * (
                value.ndim == len(shape) + 2
            )
            raise ValueError(
                f"sites[{name!r}] has shape {list(value.shape)}; it must have shape [{n_samples or 'S'}, "
                f"{', '.join(map(str, shape))}], as many draws as the other sites, at least 1{hint}."
            )
        _fits(f"sites[{name!r}]", value, parameters[name].expand(value.shape))
    return _posterior(taken, _completed(network, found), "sites")


def mean_field_states(model: nn.Module, n_samples: int, seed: int = 0) -> list[dict[str, Tensor]]:
    """Draw state dicts of the plain network from one with mean-field normal layers, for :func:`from_states`.

    w = mu + log(1 + exp(rho)) e with e standard normal (Blundell et al. 2015, arXiv:1505.05424, Sec. 3.2), independent for each
    weight. Such layers are those of bayesian-torch (``mu_weight``, ``rho_weight``, in convolutions ``mu_kernel``) and of
    torch-uncertainty (``weight_mu``, ``weight_sigma``, which is rho). What else the model has is the same in every state.

    Args:
        model: of such layers, whose names are those of the plain network.
        n_samples: how many states are drawn.
        seed: of the draws.

    Raises:
        ValueError: the model has no such layer.
    """
    checks.kind_of("model", model, nn.Module, "a torch.nn.Module with mean-field layers")
    checks.count("n_samples", n_samples)
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    state = model.state_dict()
    places = {name.rpartition(".")[0] for name in state}
    pairs = {
        f"{place}.{plain}".removeprefix("."): tuple(state[f"{place}.{part}".removeprefix(".")] for part in pair)
        for place in sorted(places)
        for pair, plain in MEAN_FIELD.items()
        if all(f"{place}.{part}".removeprefix(".") in state for part in pair)
    }
    if not pairs:
        raise ValueError(
            f"model is a {type(model).__name__} without a pair such as mu_weight and rho_weight, or weight_mu and "
            "weight_sigma; it must have mean-field layers."
        )
    # What such a layer keeps beside, such as priors and the noise of its last call, is no part of the plain one.
    layers = tuple(f"{name.rpartition('.')[0]}.".removeprefix(".") for name in pairs)
    rest = {name: value for name, value in state.items() if not name.startswith(layers)}

    def drawn(mean: Tensor, rho: Tensor) -> Tensor:
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype).to(mean.device)
        return mean + nn.functional.softplus(rho) * noise

    return [{**rest, **{name: drawn(*pair) for name, pair in pairs.items()}} for _ in range(n_samples)]


# What is read -----------------------------------------------------------------------------------------------------------------


def _state(index: int, given: Any) -> Mapping[str, Tensor]:
    """Return a state dict, of a module or in a file."""
    if isinstance(given, nn.Module):
        return given.state_dict()
    state = _read(Path(given)) if isinstance(given, (str, Path)) else given
    checks.kind_of(f"states[{index}]", state, Mapping, "a state dict, a module, or the path of a file")
    inside = [name for name in INSIDE if isinstance(state.get(name), Mapping)]
    state = state[inside[0]] if inside else state
    if not state:
        raise ValueError(f"states[{index}] is empty; it must have the network's parameters.")
    return {name: _array(f"{name} of states[{index}]", value) for name, value in state.items()}


def _read(path: Path) -> Any:
    """Return what is in a file of weights; no code in it is run."""
    if not path.is_file():
        raise FileNotFoundError(
            f"states has the path {str(path)!r}, which is no file; it must be one with a state dict."
        )
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors and the unpickler raise many kinds
        raise ValueError(
            f"{path} cannot be read as weights ({type(error).__name__}); it must be a state dict, as "
            "torch.save(model.state_dict(), path) or safetensors writes it."
        ) from None


def _array(what: str, value: Any) -> Tensor:
    """Return a tensor, or a copy of an array of numpy's or another library's, or say that it is none."""
    if not isinstance(value, Tensor):
        if not hasattr(value, "__array__"):
            checks.kind_of(what, value, Tensor, "a tensor or an array of numbers")
        try:
            value = torch.from_numpy(np.array(value))
        except (TypeError, ValueError):
            raise ValueError(
                f"{what} is an array that torch has no numbers for; it must be of float32 or float64."
            ) from None
    found: Tensor = checks.tensor(what, value, "a tensor or an array of numbers", "float", "whole", "truth").detach()
    return found


def _stripped(what: str, values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return values by their names without a prefix, which each must have."""
    checks.kind_of("prefix", prefix, str, "a text")
    odd = [str(name) for name in values if not (isinstance(name, str) and name.startswith(prefix))]
    if odd:
        raise ValueError(f"{what} has names without the prefix {prefix!r}: {_some(odd)}; each must have it.")
    return {name.removeprefix(prefix): value for name, value in values.items()}


# What must fit ----------------------------------------------------------------------------------------------------------------


def _some(names: Sequence[str]) -> str:
    """Return the first names for a sentence, and how many more there are."""
    shown = ", ".join(name if len(name) <= 40 else f"...{name[-37:]}" for name in names[:2])
    return shown + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def _same_names(what: str, given: Mapping[str, Any], wanted: Mapping[str, Any], leave: str = "") -> None:
    missing = [name for name in wanted if name not in given]
    extra = [name for name in given if name not in wanted]
    if not missing and not extra:
        return
    prefix = _prefix(given, wanted)
    told = [f"lacks {_some(missing)}"] if missing else []
    told += [f"has {_some(extra)}, which the network has not"] if extra else []
    way = f" (prefix={prefix!r} makes them fit)" if prefix else f" ({leave})" if leave and extra else ""
    raise ValueError(f"{what} {' and '.join(told)}; names must be the network's{way}.")


def _prefix(given: Iterable[str], wanted: Iterable[str]) -> str:
    """Return what all given names begin with where they are the wanted ones but for that, else nothing."""
    names, first = set(given), min(wanted, key=len, default="")
    found = {name.removesuffix(first) for name in names if first and name.endswith(first)}
    return next((one for one in sorted(found) if one and names == {one + name for name in wanted}), "")


def _fits(what: str, value: Tensor, wanted: Tensor) -> None:
    """Say so if values are of another shape or kind than wanted, or not finite."""
    if value.shape != wanted.shape:
        raise ValueError(f"{what} has shape {list(value.shape)}; it must have shape {list(wanted.shape)}.")
    if value.dtype != wanted.dtype:
        kinds = {torch.float32: "float", torch.float64: "double"}
        way = f", or the network's be made so by network.{kinds[value.dtype]}()" if value.dtype in kinds else ""
        raise ValueError(f"{what} is of {value.dtype}; it must be of {wanted.dtype}, as the network's values are{way}.")
    _finite(what, value)


def _finite(what: str, value: Tensor) -> None:
    if not value.is_floating_point() or torch.isfinite(value).all():
        return
    draws = (~torch.isfinite(value)).reshape(len(value) if value.ndim else 1, -1).any(1).nonzero()
    where = "" if " of states[" in what else f" in draw {int(draws[0])}"
    raise ValueError(f"{what} has values that are NaN or infinite{where}; they must be numbers.")


def _tied(what: str, state: Mapping[str, Tensor], network: nn.Module) -> None:
    """Say so if a state has two values for what is one parameter of the network."""
    first: dict[int, str] = {}
    for name, value in network.named_parameters(remove_duplicate=False):
        known = first.setdefault(id(value), name)
        if known != name and not torch.equal(state[known], state[name]):
            raise ValueError(
                f"{what} has two values for {known} and {name}, which the network has as one; they must be equal."
            )


def _buffers(network: nn.Module, states: Sequence[Mapping[str, Tensor]]) -> tuple[list[str], dict[str, Tensor]]:
    """Return the names of buffers in which states differ, and the values of those that they have in common."""
    own: list[str] = []
    fixed: dict[str, Tensor] = {}
    for name, buffer in network.named_buffers():
        if name not in states[0] or name.endswith("num_batches_tracked"):  # only a training reads it
            continue
        if all(torch.equal(state[name], states[0][name]) for state in states):
            fixed[name] = states[0][name]
        elif buffer.is_floating_point():
            own.append(name)
        else:
            raise ValueError(
                f"states differ in {name}, which is of {buffer.dtype}; only buffers of float numbers may differ."
            )
    return own, fixed


def _completed(network: nn.Module, samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return samples of all parameters, in the network's order: the network's own where there are none, which take no memory."""
    n_samples = len(next(iter(samples.values())))
    return {
        name: samples[name] if name in samples else value.detach().expand(n_samples, *value.shape)
        for name, value in network.named_parameters()
    }


def _posterior(taken: _Taken, samples: Mapping[str, Tensor], door: str) -> Posterior:
    """Return the posterior of samples that fit, if it predicts what the source does."""
    target = chosen_device(taken.device)
    network, placed = taken.network, {name: value.to(target) for name, value in samples.items()}
    if taken.image_shape is not None:
        network = pretrained.wrap(network, taken.image_shape, mean=taken.mean, std=taken.std, device=target).network
        placed = {f"{WRAPPED}{name}": value for name, value in placed.items()}
    posterior = Posterior(network, placed, {"method": f"given as {door}", **(taken.record or {})})
    posterior.network.to(target)
    if taken.check is not None:
        posterior.record["check"] = agreement.compared(posterior, *taken.check)
    return posterior


def _from_jax(taken: _Taken, sites: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return JAX's weights in torch's layout."""
    network, parameters = taken.network, dict(taken.network.named_parameters())
    found = {
        name: layouts.in_torch_order(network.get_submodule(name.rpartition(".")[0]), name, value, parameters[name].ndim)
        for name, value in sites.items()
    }
    image = _image_for(taken)
    if image is None:
        if any(isinstance(module, tuple(layouts.TORCH_ORDER)[1:]) for module in network.modules()):
            raise ValueError(
                "image_shape is None, and so is check; layout 'jax' needs one of them for a network with convolutions, to know "
                "what is flattened."
            )
        return found
    for layer, shape in layouts.flattened(network, image).items():
        name = layouts.weight_of(layer)
        if name in found and found[name].shape[-1] == parameters[name].shape[-1]:
            found[name] = layouts.columns(found[name], shape)
    return found


def _image_for(taken: _Taken) -> Tensor | None:
    """Return an image of the kind that the network takes, if one is known."""
    shape = taken.image_shape or getattr(taken.network, "settings", {}).get("image_shape")
    own = next(taken.network.parameters())
    if shape is not None:
        return own.new_zeros((1, *checks.image_shape("image_shape", shape)))
    return None if taken.check is None else taken.check[0][:1].to(own)
