from __future__ import annotations

import copy
import math
import pickle

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.func import functional_call

from relevance import attacks
from relevance.networks import architectures
from relevance.networks.posterior import Posterior, assign, fill


def by_hand(posterior, images):
    return torch.stack(
        [
            functional_call(posterior.network, {name: value[s] for name, value in posterior.samples.items()}, (images,))
            for s in range(len(posterior))
        ]
    )


def test_logits_are_those_of_each_sample(dense_posterior, some_images):
    assert torch.allclose(dense_posterior.logits(some_images), by_hand(dense_posterior, some_images), atol=1e-12)


def test_prediction_is_the_mean_of_the_probabilities(dense_posterior, some_images):
    wanted = by_hand(dense_posterior, some_images).softmax(-1).mean(0)
    assert torch.allclose(dense_posterior.predict(some_images), wanted, atol=1e-12)
    assert torch.allclose(dense_posterior.log_predictive(some_images), wanted.log(), atol=1e-12)


def test_log_predictive_survives_saturation():
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False)).double()
    samples = {"1.weight": torch.tensor([[[2000.0], [0.0]], [[1000.0], [0.0]]], dtype=torch.float64)}
    found = Posterior(network, samples).log_predictive(torch.ones(1, 1, 1, 1, dtype=torch.float64))
    # The mean of exp(-2000) and exp(-1000) is exp(-1000) / 2, far below the smallest double.
    assert found[0, 1].item() == pytest.approx(-1000 - math.log(2))


def test_accuracy_counts_right_predictions(dense_posterior, some_images):
    labels = dense_posterior.predict(some_images).argmax(1)
    assert dense_posterior.accuracy(some_images, labels) == 1
    labels[0] = (labels[0] + 1) % 3
    assert dense_posterior.accuracy(some_images, labels) == pytest.approx(5 / 6)


def test_samples_are_chosen_by_index_slice_and_thinning(dense_posterior, some_images):
    every = dense_posterior.logits(some_images)
    assert torch.allclose(dense_posterior[2].logits(some_images), every[2:3])
    assert torch.allclose(dense_posterior[-1].logits(some_images), every[4:])
    assert torch.allclose(dense_posterior[:3].logits(some_images), every[:3])
    assert torch.allclose(dense_posterior.thinned(3).logits(some_images), every[[0, 2, 4]])
    assert torch.allclose(dense_posterior.thinned(1).logits(some_images), every[4:])
    assert [len(one) for one in dense_posterior] == [1] * 5


def test_more_samples_than_there_are_get_a_sentence(dense_posterior):
    with pytest.raises(ValueError, match="6 samples; this posterior has 5"):
        dense_posterior[:6]
    with pytest.raises(ValueError, match="n_samples is 6; it must be a whole number of at least 1 and at most 5"):
        dense_posterior.thinned(6)
    with pytest.raises(IndexError, match="this posterior has 5"):
        dense_posterior[5]
    with pytest.raises(ValueError, match="holds no samples"):
        dense_posterior[3:3]


def test_a_network_is_a_posterior_of_one_sample_that_training_does_not_change(some_images):
    network = architectures.fully_connected((1, 4, 4), hidden=3, n_classes=2).double()
    posterior = Posterior.of(network)
    wanted = network(some_images).detach()
    with torch.no_grad():
        network[1].weight.zero_()
    assert len(posterior) == 1
    assert torch.allclose(posterior.logits(some_images)[0], wanted)


def test_samples_that_do_not_fit_get_a_sentence(dense_posterior):
    samples = dict(dense_posterior.samples)
    with pytest.raises(ValueError, match=r"do not fit the network at 5\.bias"):
        Posterior(dense_posterior.network, samples | {"5.bias": torch.zeros(5, 4)})
    with pytest.raises(ValueError, match="same number of samples"):
        Posterior(dense_posterior.network, samples | {"5.bias": torch.zeros(4, 3)})


def test_a_saved_posterior_comes_back_whole(tmp_path, dense_posterior, some_images):
    path = tmp_path / "posterior.safetensors"
    dense_posterior.record.update({"method": "test", "numbers": [1, 2.5]})
    dense_posterior.save(path)
    back = Posterior.load(path)
    assert back.record == dense_posterior.record
    assert torch.equal(back.logits(some_images), dense_posterior.logits(some_images))
    assert [file.name for file in tmp_path.iterdir()] == ["posterior.safetensors"]


def test_a_posterior_of_another_network_needs_it_to_load(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    Posterior.of(network).save(tmp_path / "one")
    with pytest.raises(ValueError, match="give it as the argument network"):
        Posterior.load(tmp_path / "one")
    assert len(Posterior.load(tmp_path / "one", network)) == 1


def test_a_damaged_file_gets_a_sentence(tmp_path, dense_posterior):
    path = tmp_path / "posterior.safetensors"
    dense_posterior.save(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged"):
        Posterior.load(path)


def test_accuracy_needs_a_label_for_each_image(dense_posterior, some_images):
    for labels in (torch.tensor([0]), torch.zeros(6, 1, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"it must have shape \[6\]"):
            dense_posterior.accuracy(some_images, labels)
    with pytest.raises(ValueError, match="images has 0 images; it must have at least 1"):
        dense_posterior.accuracy(some_images[:0], torch.zeros(0, dtype=torch.int64))


def test_images_of_another_precision_get_a_sentence(dense_posterior, some_images):
    with pytest.raises(ValueError, match=r"images are torch.float32 on cpu; the posterior computes in torch.float64"):
        dense_posterior.predict(some_images.float())


def test_what_happens_to_the_network_later_changes_nothing(some_images):
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 2)).double().eval()
    posterior = Posterior.of(network)
    before = posterior.logits(some_images)
    network[0].running_mean += 3
    network.train()
    assert torch.equal(posterior.logits(some_images), before)
    assert torch.equal(posterior[:1].logits(some_images), before)


def test_statistics_of_batch_norm_are_saved_too(tmp_path, some_images):
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, 2)).double()
    network[0].running_mean += 3
    posterior = Posterior.of(network)
    posterior.save(tmp_path / "one")
    fresh = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(16, 2)).double()
    back = Posterior.load(tmp_path / "one", fresh)
    assert torch.equal(back.logits(some_images), posterior.logits(some_images))
    assert fresh[0].running_mean.item() == 0
    without = nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), nn.Flatten(), nn.Linear(16, 2)).double()
    with pytest.raises(ValueError, match="does not fit the network: their buffers"):
        Posterior.load(tmp_path / "one", without)


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda x: (x.flatten(1), x), r"the network gives a tuple for 2 images; it must give logits \[2, K\]"),
        (lambda x: x, r"the network gives outputs of shape \[N, 1, 2, 2\]; they must be logits \[N, K\]"),
        (lambda x: x.sum(), r"the network gives a tensor of shape \[\] for 2 images"),
        (lambda x: x.flatten(1)[:1], r"the network gives a tensor of shape \[1, 4\] for 2 images"),
    ],
)
def test_a_network_that_gives_no_logits_is_refused(give, message):
    network = nn.Sequential(nn.Conv2d(1, 1, 1))
    network.register_forward_hook(lambda module, inputs, output: give(output))
    with pytest.raises(ValueError, match=message):
        Posterior.of(network).predict(torch.rand(2, 1, 2, 2))


def test_what_hooks_leave_in_a_module_does_not_keep_it_from_being_a_posterior():
    network = nn.Sequential(nn.Flatten(), torch.nn.utils.spectral_norm(nn.Linear(4, 2)))
    network(torch.rand(2, 1, 2, 2))
    network[1].register_full_backward_hook(lambda module, before, after: (5 * before[0],))
    posterior, images = Posterior.of(network), torch.rand(3, 1, 2, 2)
    assert torch.allclose(posterior.logits(images)[0], network.eval()(images))
    assert Posterior(posterior.network, posterior.samples).logits(images).equal(posterior.logits(images))
    image = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(posterior.logits(image)[0, :, 0].sum(), image)
    weight = network[1].weight[0].reshape(1, 1, 2, 2)
    assert torch.allclose(found, weight.expand(3, -1, -1, -1))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, dense_posterior, value):
    name = "3.weight"
    changed = dense_posterior.samples[name].clone()
    changed[4, 0, 0] = value
    said = f"samples of {name} has values that are NaN or infinite"
    with pytest.raises(ValueError, match=said):
        Posterior(dense_posterior.network, dense_posterior.samples | {name: changed})
    network = architectures.fully_connected((1, 4, 4), hidden=3, n_classes=2)
    with torch.no_grad():
        network[3].weight[0, 0] = value
    with pytest.raises(ValueError, match=said):
        Posterior.of(network)
    dense_posterior.samples[name][4, 0, 0] = value
    dense_posterior.save(tmp_path / "one")
    with pytest.raises(ValueError, match=said):
        Posterior.load(tmp_path / "one")


def test_a_network_that_gives_nan_is_not_attacked(dense_posterior, some_images, some_labels):
    dense_posterior.samples["3.weight"][0, 0, 0] = math.nan  # after it was looked at
    with pytest.raises(ValueError, match="the network gives NaN or infinite outputs for 1 of 1 images"):
        attacks.fgsm(dense_posterior, some_images, some_labels, 0.1)


def of_roots():
    """A network that gives NaN for images whose first pixel is 0."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    network.register_forward_hook(lambda module, inputs, output: output + (inputs[0][:, 0, 0, :1] - 0.5).sqrt())
    return Posterior.of(network)


@pytest.mark.parametrize("asked", ["logits", "log_predictive", "predict", "accuracy"])
def test_a_network_that_gives_nan_for_some_images_is_refused_with_how_many(asked):
    images = torch.ones(5, 1, 2, 2)
    images[3:] = 0
    more = (torch.zeros(5, dtype=torch.int64),) if asked == "accuracy" else ()
    with pytest.raises(
        ValueError, match="the network gives NaN or infinite outputs for 2 of 5 images; they must be numbers"
    ):
        getattr(of_roots(), asked)(images, *more)
    getattr(of_roots(), asked)(images[:3], *[one[:3] for one in more])


def test_a_network_that_overflows_is_refused_and_one_that_rules_out_a_class_is_not(some_images):
    network = architectures.fully_connected((1, 4, 4), hidden=3, n_classes=2)
    with torch.no_grad():
        for value in network.parameters():
            value.fill_(1e30)
    with pytest.raises(ValueError, match="the network gives NaN or infinite outputs for 6 of 6 images"):
        Posterior.of(network).predict(some_images.float())
    masked = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    masked.register_forward_hook(lambda module, inputs, output: output.index_fill(1, torch.tensor([1]), -torch.inf))
    assert (Posterior.of(masked).predict(some_images.float())[:, 1] == 0).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden": 10**8},
        {"hidden": 10**18},
        {"hidden": "a"},
        {"more": 1},
        {"architecture": "x"},
        {"image_shape": [1, 4]},
    ],
    ids=str,
)
def test_a_file_of_another_network_than_it_names_is_refused_before_it_takes_memory(tmp_path, wrong):
    network = architectures.fully_connected((1, 4, 4), hidden=3, n_classes=2)
    network.settings |= wrong
    Posterior.of(network).save(tmp_path / "one")
    with pytest.raises(ValueError, match="path is .*(samples do not fit|cannot be built)") as caught:
        Posterior.load(tmp_path / "one")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("record", ["[1]", "3", "null", "{"])
def test_a_record_that_is_none_is_a_damage(tmp_path, dense_posterior, record):
    safetensors.torch.save_file(dense_posterior.samples, tmp_path / "one", {"record": record, "network": "{}"})
    with pytest.raises(ValueError, match="is damaged"):
        Posterior.load(tmp_path / "one", dense_posterior.network)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="path is '.*/one', which is no file"):
        Posterior.load(tmp_path / "one")


def test_statistics_that_are_nan_or_of_another_size_are_refused(tmp_path):
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    posterior = Posterior.of(network)
    posterior.network[0].running_mean[0] = math.nan
    posterior.save(tmp_path / "one")
    with pytest.raises(ValueError, match="0.running_mean of .* has values that are NaN"):
        Posterior.load(tmp_path / "one", network)
    posterior.network[0].running_mean = torch.zeros(3)
    posterior.save(tmp_path / "one")
    with pytest.raises(ValueError, match="their buffers, such as batch norm's, differ"):
        Posterior.load(tmp_path / "one", network)


@pytest.mark.parametrize("given", [None, "a", nn.Linear, nn.Sequential(), nn.Flatten()], ids=str)
def test_what_has_no_parameters_is_no_posterior(given):
    with pytest.raises(ValueError, match="network (is .*; it must be a torch.nn.Module|has no parameters)"):
        Posterior.of(given)


@pytest.mark.parametrize("index", ["a", None, 0.5, [0], slice(0, 0.5), slice(None, None, -1)], ids=repr)
def test_what_chooses_no_samples_gets_a_sentence(dense_posterior, index):
    with pytest.raises(ValueError, match="index is .*; it must be a"):
        dense_posterior[index]


class Versioned(nn.Module):
    """A network whose state dicts have a version, without which it reads none, as torchvision's MNASNet."""

    def __init__(self):
        super().__init__()
        self.norm, self.layer = nn.BatchNorm2d(1), nn.Linear(16, 3)

    def forward(self, x):
        return self.layer(self.norm(x).flatten(1))

    def _load_from_state_dict(self, state, prefix, metadata, *others):
        if metadata.get("version") is None:
            raise ValueError("version should be set")
        super()._load_from_state_dict(state, prefix, metadata, *others)


def test_a_network_that_asks_for_versions_is_saved_and_read_again(tmp_path, some_images):
    network = Versioned().double()
    network.norm.running_mean += 2
    posterior = Posterior.of(network)
    posterior.save(tmp_path / "one")
    back = Posterior.load(tmp_path / "one", Versioned().double())
    assert torch.equal(back.logits(some_images), posterior.logits(some_images))


def test_values_are_put_into_a_network_by_their_names_and_what_is_tied_stays_so():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    network[2].weight = network[0].weight
    fill(network, {"0.weight": torch.ones(2, 2), "1.running_mean": torch.full((2,), 3.0), "elsewhere": torch.ones(1)})
    assert network[2].weight.tolist() == [[1, 1], [1, 1]]
    assert network[1].running_mean.tolist() == [3, 3]
    given = {"0.weight": torch.zeros(2, 2), "2.bias": torch.ones(2)}
    assign(network, given)
    assert network[0].weight is network[2].weight
    assert network[0].weight.data_ptr() == given["0.weight"].data_ptr()
    assert network[2].bias.tolist() == [1, 1]
    assert not network[2].bias.requires_grad


def test_what_is_known_of_a_network_goes_with_its_samples_and_not_into_files(dense_posterior):
    dense_posterior.known["graph"] = lambda: None  # which cannot be pickled
    assert dense_posterior[:2].known is dense_posterior.known
    assert pickle.loads(pickle.dumps(dense_posterior)).known == {}
    assert copy.deepcopy(dense_posterior).known == {}
    other = dense_posterior.of_network(dense_posterior.network)
    assert other.known == {}
    assert other.samples is dense_posterior.samples
