from __future__ import annotations

import pytest

from relevance import inference
from relevance.networks import architectures

pytestmark = pytest.mark.stochastic


# Distillation


def test_a_student_has_learned_the_soft_labels_at_the_temperature(tiny_data):
    network = architectures.fully_connected(tiny_data.image_shape, 16, 3)
    settings = {"epochs": 120, "batch_size": 16, "learning_rate": 5e-3, "progress": False}
    found = {
        name: inference.distillation(network, tiny_data, temperature=20.0, **settings, **more)
        for name, more in {"Papernot": {}, "literal": {"teacher_temperature": 1, "student_temperature": 1}}.items()
    }
    images, labels = tiny_data.test_images, tiny_data.test_labels
    lead = {name: (-attacks_margin(one, images, labels)).median().item() for name, one in found.items()}
    assert all(one.accuracy(images, labels) > 0.9 for one in found.values())
    # Trained at 20, the network has logits that are large; taught by labels that are nearly even, small ones.
    assert lead["Papernot"] > 50
    assert lead["literal"] < 2
    # At least the entropy of the soft labels, which no student can get below.
    assert len(found["Papernot"].record["teacher"]["loss"]) == 120
    assert found["Papernot"].record["settings"]["temperature"] == 20


def attacks_margin(posterior, images, labels):
    from relevance.attacks.objectives import margin

    return margin(posterior.logits(images), labels)


def test_at_temperature_one_a_student_is_a_network_taught_by_probabilities(tiny_data):
    network = architectures.fully_connected(tiny_data.image_shape, 8, 3)
    found = inference.distillation(network, tiny_data, temperature=1.0, epochs=60, batch_size=16, progress=False)
    plain = inference.sgd(network, tiny_data, epochs=60, batch_size=16, seed=10_000, progress=False)
    # The teacher is the network that SGD trains with its seed, and the student comes near it.
    assert found.record["teacher"]["loss"] == pytest.approx(plain.record["history"]["loss"])
    images = tiny_data.test_images
    assert (found.predict(images) - plain.predict(images)).abs().max() < 0.1


# Bad input


@pytest.mark.parametrize(
    ("function", "settings", "words"),
    [
        (inference.jacobian, {"strength": -1}, "strength is -1"),
        (inference.distillation, {"temperature": 0}, "temperature is 0; it must be"),
        (inference.distillation, {"student_temperature": -1}, "student_temperature is -1"),
        (inference.distillation, {"strength": 1}, "'strength' is not a setting"),
    ],
)
def test_bad_settings_get_one_sentence(tiny_data, function, settings, words):
    with pytest.raises(ValueError, match=words):
        function(architectures.fully_connected(tiny_data.image_shape, 8, 3), tiny_data, **settings)
