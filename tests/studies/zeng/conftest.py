from __future__ import annotations

import pytest

from relevance.datasets import reading
from relevance.networks import architectures
from relevance.studies.zeng import source, trainings


@pytest.fixture(scope="module")
def digits():
    return reading.load("digits").smaller(600, 0)


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    network = architectures.fully_connected(digits.image_shape, 32, 10)
    chosen = source.settings(["standard", "distillation", "Jacobian", "PGD-l2 2.5", "PGD-linf 16/255"], n_steps=3)
    chosen["Jacobian"] = source.Setting("Jacobian", strength=2.0)
    # Distillation learns slowly, as its gradients are divided by the temperature.
    with_rate = {"distillation": {"learning_rate": 5e-3}}
    given = {"epochs": 25, "batch_size": 64, "progress": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RELEVANCE_STORE", str(tmp_path_factory.mktemp("store")))
        return chosen, {
            name: trainings.trained(setting, network, digits, **given, **with_rate.get(name, {}))
            for name, setting in chosen.items()
        }
