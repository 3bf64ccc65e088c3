"""The mass of each coordinate is the posterior's curvature where that is known, and equal units have equal masses."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.func import functional_call, jacrev

from oracles import to_double
from relevance.inference.curvature import Curvature
from relevance.inference.energy import Coordinates, NetworkEnergy
from relevance.networks import architectures


def drawn(energy):
    return torch.randn(sum(energy.sizes), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_mass_is_the_curvature_of_the_posterior_where_the_model_is_linear(tiny_data, monkeypatch):
    """For a softmax of linear outputs, Fisher information and curvature are one, and known for every label."""
    data = to_double(tiny_data)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    coordinates = Coordinates(network, data)
    energy = NetworkEnergy(network, data, 0.5, coordinates=coordinates)
    position = 0.3 * drawn(energy)
    # Each label as often as it is drawn on average: F is the mean over them, weighted by the predictive.
    parameters = energy.unflatten(position)
    shares = functional_call(network, parameters, (data.train_images,)).softmax(-1)
    total = torch.zeros_like(position)
    for label in range(3):
        monkeypatch.setattr(torch.Tensor, "multinomial", lambda p, n, label=label: torch.full((len(p), 1), label))
        for index, share in enumerate(shares[:, label]):
            one = replace(data, train_images=data.train_images[index : index + 1], train_labels=data.train_labels[:1])
            single = NetworkEnergy(network, one, 0.5, coordinates=coordinates)
            total += share * (Curvature(single, coordinates, 0)(position) - 1)
    monkeypatch.undo()

    def loss(at):
        return energy.loss(
            functional_call(network, energy.unflatten(at), (data.train_images,)), data.train_labels
        ).sum()

    hessian = jacrev(jacrev(loss))(position)
    assert torch.allclose(total, 0.25 * hessian.diagonal(), atol=1e-8)


def test_the_mass_does_not_know_one_hidden_unit_from_another(tiny_data):
    data = to_double(tiny_data)
    network = architectures.fully_connected((1, 4, 4), hidden=8, n_classes=3).double()
    coordinates = Coordinates(network, data)
    energy = NetworkEnergy(network, data, 0.5, coordinates=coordinates)
    parameters = energy.unflatten(0.3 * drawn(energy))
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    weights = [name for name in energy.names if name.endswith("weight")]
    permuted = dict(parameters)
    permuted[weights[0]] = parameters[weights[0]][order]
    permuted[weights[0].replace("weight", "bias")] = parameters[weights[0].replace("weight", "bias")][order]
    permuted[weights[1]] = parameters[weights[1]][:, order]
    masses = Curvature(energy, coordinates, 0)
    assert torch.allclose(masses(energy.flatten(parameters)), masses(energy.flatten(permuted)), rtol=1e-6)
    assert masses(energy.flatten(parameters)).max() > 1.5
    assert torch.equal(masses(energy.flatten(parameters), 0.0), torch.ones(sum(energy.sizes), dtype=torch.float64))


def test_squares_of_dense_layers_are_those_of_gradients_taken_one_by_one(tiny_data):
    data = to_double(tiny_data)
    network = architectures.fully_connected((1, 4, 4), hidden=8, n_classes=3).double()
    coordinates = Coordinates(network, data)
    energy = NetworkEnergy(network, data, 0.5, coordinates=coordinates)
    together, single = (Curvature(energy, coordinates, 0) for _ in range(2))
    single.dense = {}
    position = 0.3 * drawn(energy)
    assert len(together.dense) == 3
    assert torch.allclose(together(position), single(position), rtol=1e-9)
