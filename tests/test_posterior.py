from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call

from relevance import chunks, explanations, networks
from relevance.device import chosen_device
from relevance.posterior import Posterior


def by_hand(posterior, images):
    return torch.stack(
        [
            functional_call(posterior.network, {name: value[s] for name, value in posterior.samples.items()}, (images,))
            for s in range(len(posterior))
        ]
    )


def test_logits_are_those_of_each_sample(dense_posterior, some_images):
    assert torch.allclose(dense_posterior.logits(some_images), by_hand(dense_posterior, some_images), atol=1e-12)


@pytest.mark.parametrize("n_values", [1, 300, 800])
def test_logits_do_not_depend_on_how_samples_and_images_are_cut(dense_posterior, some_images, monkeypatch, n_values):
    """A row has 63 values: one image at a time, two halves of three, and two samples of six images."""
    whole = dense_posterior.logits(some_images)
    monkeypatch.setitem(chunks.VALUES_AT_ONCE, "cpu", n_values)
    wanted = {1: (1, 1), 300: (3, 1), 800: (6, 2)}[n_values]
    assert chunks.at_once(dense_posterior.network, dense_posterior.samples, some_images) == wanted
    assert torch.allclose(dense_posterior.logits(some_images), whole, atol=1e-12)


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
    with pytest.raises(ValueError, match="6 samples were asked for; this posterior has 5"):
        dense_posterior[:6]
    with pytest.raises(ValueError, match="n_samples is 6; it must be a whole number of at least 1 and at most 5"):
        dense_posterior.thinned(6)
    with pytest.raises(IndexError, match="this posterior has 5"):
        dense_posterior[5]
    with pytest.raises(ValueError, match="holds no samples"):
        dense_posterior[3:3]


def test_a_network_is_a_posterior_of_one_sample_that_training_does_not_change(some_images):
    network = networks.fully_connected((1, 4, 4), hidden=3, n_classes=2).double()
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


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(2, 1, 5, 5), r"images has shape \[2, 1, 5, 5\]; it must have shape \[N, 1, 4, 4\]"),
        (torch.rand(1, 4, 4), r"images has shape \[1, 4, 4\]"),
        (torch.full((2, 1, 4, 4), 1.5), r"images has values from 1.5 to 1.5; they must lie in \[0, 1\]"),
        (torch.full((2, 1, 4, 4), -0.1), r"images has values from -0.1"),
        (torch.full((2, 1, 4, 4), float("nan")), "images has values that are NaN or infinite"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.int64), "images is a tensor of torch.int64"),
        ([[0.0]], "images is a list"),
    ],
)
def test_bad_images_get_a_sentence(dense_posterior, images, message):
    with pytest.raises(ValueError, match=message):
        dense_posterior.predict(images)


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


def test_the_dense_network_has_the_paper_s_layer_indices():
    network = networks.fully_connected((1, 28, 28), hidden=512)
    dense = [index for index, layer in enumerate(network) if isinstance(layer, nn.Linear)]
    assert dense == [1, 3, 5]
    assert [(network[i].in_features, network[i].out_features) for i in dense] == [(784, 512), (512, 512), (512, 10)]
    assert isinstance(network[2], nn.LeakyReLU)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 16, 17)])
def test_the_convolutional_network_has_the_paper_s_layer_indices(shape, tmp_path):
    network = networks.convolutional(shape, hidden=6)
    assert [index for index, layer in enumerate(network) if isinstance(layer, (nn.Conv2d, nn.Linear))] == [0, 3, 7]
    assert (network[0].out_channels, network[3].out_channels, network[7].out_features) == (32, 6, 10)
    images = torch.rand(2, *shape)
    posterior = Posterior.of(network)
    assert posterior.predict(images).shape == (2, 10)
    posterior.save(tmp_path / "one")
    assert torch.equal(Posterior.load(tmp_path / "one").predict(images), posterior.predict(images))
    with pytest.raises(ValueError, match="the smaller side of image_shape is 15"):
        networks.convolutional((1, 15, 28))


def test_bad_networks_get_a_sentence():
    with pytest.raises(ValueError, match="activation is 'tanh'; it may be one of: leaky_relu, relu, softplus"):
        networks.fully_connected((1, 28, 28), activation="tanh")
    with pytest.raises(ValueError, match="hidden is 0"):
        networks.fully_connected((1, 28, 28), hidden=0)
    with pytest.raises(ValueError, match="architecture is 'transformer'"):
        networks.build({"architecture": "transformer"})


def test_accuracy_needs_a_label_for_each_image(dense_posterior, some_images):
    for labels in (torch.tensor([0]), torch.zeros(6, 1, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"it must have shape \[6\]"):
            dense_posterior.accuracy(some_images, labels)
    with pytest.raises(ValueError, match="the number of images is 0"):
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


def test_devices_are_named_or_refused(monkeypatch):
    assert chosen_device("cpu") == torch.device("cpu")
    for wanted in ("gpu", "mps", "meta"):
        with pytest.raises(ValueError, match=f"device is '{wanted}'; it may be cpu, cuda or cuda:N"):
            chosen_device(wanted)
    monkeypatch.setenv("RELEVANCE_DEVICE", "cuda:99")
    with pytest.raises(ValueError, match="RELEVANCE_DEVICE is 'cuda:99', but this machine has"):
        chosen_device(None)


def test_resnet20_is_the_published_one():
    """20 layers, 0.27 million parameters, with two shortcuts of 1 x 1 convolutions (He et al. 2016, Sec. 4.2)."""
    network = networks.resnet20((3, 32, 32))
    main = [name for name, part in network.named_modules()
            if isinstance(part, (nn.Conv2d, nn.Linear)) and "shortcut" not in name]  # fmt: skip
    assert len(main) == 20
    counted = sum(value.numel() for name, value in network.named_parameters())
    assert counted == 272_474  # 269,722 of the paper's without normalisation's factors, and the shortcuts
    shapes = []
    hooks = [part.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
             for part in network if isinstance(part, networks.ResidualBlock)]  # fmt: skip
    assert network.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert shapes == [(16, 32, 32)] * 3 + [(32, 16, 16)] * 3 + [(64, 8, 8)] * 3
    for hook in hooks:
        hook.remove()
    again = networks.build(network.settings)
    assert again.settings == network.settings
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in network.state_dict().items()}


def test_a_residual_network_normalises_inside_explains_and_is_saved(tmp_path):
    torch.manual_seed(0)
    network = networks.resnet20((1, 8, 8), hidden=2, n_classes=3, mean=[0.3], scale=[0.2])
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.5, 2)
    posterior = Posterior.of(network.eval())
    images = torch.rand(3, 1, 8, 8)
    target = torch.tensor([0, 1, 2])
    assert torch.allclose(network[0](images), (images - 0.3) / 0.2)
    maps = explanations.lrp(posterior, images, target, rule=explanations.Epsilon(1e-6))
    assert maps.shape == images.shape
    assert maps.isfinite().all()
    # Relevance of a normalised pixel is the pixel's own; guided backpropagation does not cut it there.
    guided = explanations.guided_backprop(posterior, images, target)
    assert guided.min() < 0
    kept = explanations.kept_by_layer(posterior, images, target, rule=explanations.Epsilon(1e-6))
    logits = posterior.logits(images)[0].gather(1, target[:, None]).squeeze(1)
    assert torch.allclose(sum(kept.values()) + maps.flatten(1).sum(1), logits, atol=1e-3)
    posterior.save(tmp_path / "resnet.safetensors")
    loaded = Posterior.load(tmp_path / "resnet.safetensors", device="cpu")
    assert torch.equal(loaded.logits(images), posterior.logits(images))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_shape": (8, 8)}, r"image_shape is \(8, 8\); it must be \(C, H, W\)"),
        ({"mean": [0.1, 0.2]}, "mean has 2 values; it must have 1, one for each channel"),
        ({"scale": [0]}, "scale is 0; it must be a finite number above 0"),
        ({"activation": "tanh"}, "activation is 'tanh'"),
    ],
)
def test_bad_settings_of_a_residual_network_get_a_sentence(settings, message):
    with pytest.raises(ValueError, match=message):
        networks.resnet20(**({"image_shape": (1, 8, 8)} | settings))
