"""Torchvision's architectures and a reader's own: their maps against other libraries' and closed forms, their files."""

from __future__ import annotations

import urllib.error

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from relevance import attacks, explanations
from relevance.datasets import reading
from relevance.explanations.graph import RelevanceGraph
from relevance.explanations.rules import AlphaBeta, Epsilon, Gamma
from relevance.explanations.smoothing import SoftLeakyReLU, softened
from relevance.networks import pretrained
from relevance.networks.posterior import Posterior
from relevance.studies.dombrowski import own_models

SIZES = {"alexnet": 64, "resnet18": 32, "densenet121": 32, "vgg16": 32}
TARGET = torch.tensor([1, 3])


def narrowed(name):
    """One of torchvision's networks with few classes, and few neurons in the dense layers that hold most of its weights."""
    reading.import_torchvision()
    from torchvision import models

    with torch.device("meta"):
        model = models.get_model(name, weights=None, num_classes=5)
        if name in {"vgg16", "alexnet"}:
            sizes = iter((24, 16, 5))
            before = model.classifier[0 if name == "vgg16" else 1].in_features
            for index, layer in enumerate(model.classifier):
                if isinstance(layer, nn.Linear):
                    model.classifier[index] = nn.Linear(before, before := next(sizes))
    pretrained._draw(model.to_empty(device="cpu"), 0)
    return model


@pytest.fixture(scope="module", params=SIZES)
def case(request):
    """One architecture with random weights, in float64, with statistics of batch norm as if trained; and two images."""
    shape = (3, SIZES[request.param], SIZES[request.param])
    model = narrowed(request.param).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in [*model.named_buffers(), *model.named_parameters()]:
            if name.endswith(("running_mean", "running_var", "bias")):
                value.add_(0.2 * torch.rand(value.shape, generator=generator, dtype=value.dtype))
    posterior = pretrained.wrap(model, shape, mean=pretrained.IMAGENET_MEAN, std=pretrained.IMAGENET_STD, device="cpu")
    posterior.network.double()  # what normalises is float32
    return posterior, torch.rand((2, *shape), generator=generator, dtype=torch.float64)


def near(found, wanted, share=1e-6):
    """Whether maps are equal but for a share of the largest value."""
    assert wanted.abs().max() > 0
    return (found - wanted).abs().max() <= share * wanted.abs().max()


def without_biases(posterior):
    """The same network with zero for whatever is added: then relevance is conserved."""
    samples = {name: value if not name.endswith("bias") else 0 * value for name, value in posterior.samples.items()}
    bare = Posterior(posterior.network, samples)
    for name, buffer in bare.network.named_buffers():
        if name.endswith(("running_mean", "normalise.mean")):
            buffer.zero_()
    return bare


def plain(posterior):
    """An ordinary network, for autograd and captum."""
    from peers import network_of

    return network_of(posterior)


def test_gradients_are_autograd_s_and_captum_s(case):
    from captum.attr import GuidedBackprop

    posterior, images = case
    network, leaf = plain(posterior), images.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(network(leaf).gather(1, TARGET[:, None]).sum(), leaf)
    assert near(explanations.gradient(posterior, images, TARGET), wanted)
    assert near(explanations.gradient_x_input(posterior, images, TARGET), wanted * images)
    path = explanations.integrated_gradients(without_biases(posterior), images, TARGET, n_steps=2)
    # Without anything added, the logit grows in proportion along the path from black, and any quadrature is exact.
    assert near(path, explanations.gradient_x_input(without_biases(posterior), images, TARGET))
    guided = explanations.guided_backprop(posterior, images, TARGET)
    if type(network.model).__name__ in {"VGG", "AlexNet"}:
        # ResNet-18 uses a ReLU twice and DenseNet-121 calls one, which captum's hooks do not take.
        for module in network.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
        assert near(guided, GuidedBackprop(network).attribute(images.clone().requires_grad_(), target=TARGET))
    else:
        assert torch.isfinite(guided).all()
        assert not near(guided, wanted)


def test_relevance_without_biases_is_gradient_times_input_and_is_conserved(case):
    posterior, images = case
    bare = without_biases(posterior)
    relevance = explanations.lrp(bare, images, TARGET, rule=Epsilon(0.0))
    assert near(relevance, explanations.gradient_x_input(bare, images, TARGET), 1e-5)
    logits = bare.logits(images)[0].gather(1, TARGET[:, None]).squeeze(1)
    assert torch.allclose(relevance.flatten(1).sum(1), logits, rtol=1e-3)


def test_every_rule_accounts_for_the_logit(case):
    """What arrives at the pixels and what the layers kept is the seed."""
    posterior, images = case
    logits = posterior.logits(images)[0].gather(1, TARGET[:, None]).squeeze(1)
    for rule in (Epsilon(0.1), AlphaBeta(1, 0)):
        arrived = explanations.lrp(posterior, images, TARGET, rule=rule).flatten(1).sum(1)
        kept = torch.stack(list(explanations.kept_by_layer(posterior, images, TARGET, rule=rule).values())).sum(0)
        assert torch.allclose(arrived + kept, logits, rtol=1e-8)


@pytest.mark.slow
def test_patterns_and_gamma_go_through(case):
    posterior, images = case
    assert torch.isfinite(explanations.lrp(posterior, images, TARGET, rule=Gamma(0.1))).all()
    patterns = explanations.fit_patterns(posterior, images)
    graph = RelevanceGraph(posterior.network)
    visits = graph.forward(images, {key: value[0] for key, value in posterior.samples.items()})
    for step in graph.steps.values():
        if step.affine is not None:  # w . a is 1 for every neuron that has a pattern
            weight = visits[step.name].layer.weight
            total = (weight * patterns[step.layer][0]).reshape(len(weight), -1).sum(1)
            assert torch.allclose(total[total != 0], torch.ones(1, dtype=total.dtype), atol=1e-6)
    assert explanations.pattern_attribution(posterior, images, TARGET, patterns=patterns).abs().max() > 0


def test_a_softened_network_comes_nearer_as_beta_grows(case):
    posterior, images = case
    logits = posterior.logits(images)
    gaps = [(softened(posterior, beta).logits(images) - logits).abs().max() for beta in (10.0, 1e3, 1e5)]
    assert gaps[0] > 10 * gaps[1] > 0
    assert gaps[1] > gaps[2]
    soft = softened(posterior, 10.0)
    called = [node.target for node in torch.fx.Tracer().trace(soft.network).nodes if node.op == "call_function"]
    assert functional.relu not in called
    assert not any(isinstance(module, nn.ReLU) for module in soft.network.modules())
    assert any(isinstance(module, SoftLeakyReLU) for module in soft.network.modules())
    assert soft.image_shape == posterior.image_shape


@pytest.mark.slow
def test_one_step_brings_a_map_nearer_to_its_target(case):
    posterior, images = case
    rows = own_models.compare({"it": posterior}, images, epsilon=1e-4)
    assert 0 < rows.loc["it", own_models.LOSS] < 1
    assert rows.loc["it", "parameters [10^6]"] > 2


class Own(nn.Module):
    """What a reader may bring: called activations, changes in place, a concatenation, a mean over the pixels."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.last = nn.Linear(8, 3, bias=False)

    def forward(self, x):
        x = functional.relu(self.norm(self.first(x)), inplace=True)
        inner = self.second(functional.max_pool2d(x, 2))
        inner += functional.avg_pool2d(x, 2)
        joined = torch.cat([inner.relu(), functional.adaptive_avg_pool2d(x, 4)], 1)
        return self.last(functional.dropout(joined.mean((2, 3)), training=self.training))


def pictures(folder, sizes=((8, 8), (20, 12), (9, 30))):
    generator = np.random.default_rng(0)
    for index, (width, height) in enumerate(sizes):
        array = generator.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(array).save(folder / f"{index}.png")
    return folder


def test_a_reader_s_model_and_folder_go_the_same_way(tmp_path):
    torch.manual_seed(0)
    model = Own()
    model.norm.running_mean += 0.1
    posterior = pretrained.wrap(model, (3, 8, 8), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), device="cpu")
    assert model.training  # it is left as it was
    assert not posterior.network.training
    images, names = pretrained.images_of(pictures(tmp_path), (3, 8, 8), device="cpu")
    assert names == ["0.png", "1.png", "2.png"]
    target = posterior.predict(images).argmax(1)
    assert posterior.logits(images).shape == (1, 3, 3)
    normalised = (images - torch.tensor((0.5, 0.4, 0.3))[:, None, None]) / torch.tensor((0.2, 0.3, 0.4))[:, None, None]
    assert torch.allclose(posterior.logits(images)[0], model.eval()(normalised), atol=1e-6)
    # Each part of the seed is at the pixels, or was kept by a bias: here, the batch norm's.
    bare = without_biases(posterior)
    relevance = explanations.lrp(bare, images, target, rule=Epsilon(0.0))
    assert near(relevance, explanations.gradient_x_input(bare, images, target), 1e-4)
    patterns = explanations.fit_patterns(posterior, images)
    for found in (
        explanations.guided_backprop(posterior, images, target),
        explanations.pattern_attribution(posterior, images, target, patterns=patterns),
        explanations.lrp(posterior, images, target, rule=AlphaBeta(2, 1)),
    ):
        assert found.shape == images.shape
        assert torch.isfinite(found).all()
    before = explanations.gradient(posterior, images, target)
    attacked = attacks.target_map(
        posterior, images, target, 0.02, target_maps=before.roll(1, 0), explain=explanations.gradient, progress=False
    )
    after = explanations.gradient(posterior, attacked, target)
    lost = [(maps - before.roll(1, 0)).square().flatten(1).sum(1) for maps in (before, after)]
    assert (lost[1] <= lost[0]).all()
    assert lost[1].sum() < 0.99 * lost[0].sum()
    rows = own_models.compare({"own": posterior}, images)
    assert rows.loc["own", "weights"] == "a model that was given"
    # A step so small hardly moves a map, either way.
    assert rows.loc["own", own_models.LOSS] == pytest.approx(1, abs=0.1)


def test_a_folder_is_read_at_one_size(tmp_path):
    """Cropped about the centre, in folders or not; what has the size already is left as it is."""
    exact = np.arange(3 * 64, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(exact).save(tmp_path / "b.png")
    (tmp_path / "cats").mkdir()
    # White in the middle half, black on both sides: the crop is white.
    wide = np.zeros((8, 16, 3), dtype=np.uint8)
    wide[:, 4:12] = 255
    Image.fromarray(wide).save(tmp_path / "cats" / "a.png")
    (tmp_path / ".hidden.png").write_bytes(b"no")
    (tmp_path / "notes.txt").write_text("no image")
    images, names = pretrained.images_of(tmp_path, (3, 8, 8), device="cpu")
    assert names == ["b.png", "cats/a.png"]
    assert torch.equal(images[0], torch.from_numpy(exact).permute(2, 0, 1) / 255)
    assert torch.equal(images[1], torch.ones(3, 8, 8))
    assert pretrained.images_of(tmp_path, (1, 4, 6), device="cpu")[0].shape == (2, 1, 4, 6)
    # Half of the sides of what there was, enlarged.
    (inner, _), _ = pretrained.images_of(tmp_path, (3, 8, 8), kept=0.5, device="cpu")
    assert inner.min() > images[0].min()
    (tmp_path / "c.png").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="c.png cannot be read"):
        pretrained.images_of(tmp_path, (3, 8, 8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no image; it may hold .bmp"):
        pretrained.images_of(tmp_path / "empty")
    with pytest.raises(ValueError, match="which is no folder"):
        pretrained.images_of(tmp_path / "nowhere")


@pytest.fixture
def nothing_here(tmp_path, monkeypatch):
    """No weights on this machine, and no network."""
    monkeypatch.setenv("RELEVANCE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def refused(*given, **settings):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refused)
    return tmp_path


def test_without_a_network_a_sentence_says_what_is_missing(nothing_here):
    with pytest.raises(FileNotFoundError) as caught:
        pretrained.load("resnet18")
    said = str(caught.value)
    assert said.startswith(
        "The published weights of ResNet-18 could not be downloaded from https://download.pytorch.org/"
    )
    assert f"put resnet18-f37072fd.pth into {nothing_here / 'data'} (the variable RELEVANCE_DATA)" in said
    assert str(nothing_here / "torch" / "hub" / "checkpoints") in said
    assert "\n" not in said


def test_published_weights_are_found_and_read_as_torchvision_reads_them(nothing_here):
    """In a folder of the data, with the names that the published DenseNet still has."""
    folder = nothing_here / "data" / "weights"
    folder.mkdir(parents=True)
    other = pretrained.load("densenet121", None, image_shape=(3, 32, 32), seed=7, device="cpu")
    state = {name.removeprefix("model."): value for name, value in plain(other).state_dict().items()}
    del state["normalise.mean"], state["normalise.scale"]
    old = dict(state)
    for part in ("norm", "conv"):
        old = {
            name.replace(f".{part}1.", f".{part}.1.").replace(f".{part}2.", f".{part}.2."): v for name, v in old.items()
        }
    assert set(old) != set(state)
    torch.save(old, folder / "densenet121-a639ec97.pth")
    assert pretrained.published_file("densenet121") == folder / "densenet121-a639ec97.pth"
    assert pretrained.published_file("vgg16") is None
    found = pretrained.load("densenet121", image_shape=(3, 32, 32), device="cpu")
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(found.logits(images), other.logits(images))
    assert found.record["weights"] == "densenet121-a639ec97.pth"
    safetensors.torch.save_file(state, nothing_here / "own.safetensors")
    again = pretrained.load("densenet121", nothing_here / "own.safetensors", image_shape=(3, 32, 32), device="cpu")
    assert torch.equal(again.logits(images), other.logits(images))
    (folder / "resnet18-f37072fd.pth").write_bytes(b"not weights")
    with pytest.raises(ValueError, match="resnet18-f37072fd.pth cannot be read as weights"):
        pretrained.load("resnet18")
    with pytest.raises(ValueError, match="own.safetensors does not fit ResNet-18"):
        pretrained.load("resnet18", nothing_here / "own.safetensors")


def test_all_four_are_loaded_at_their_full_size(nothing_here):
    images = torch.rand(2, 3, 64, 64)
    for name, n_parameters in {
        "alexnet": 61_100_840,
        "resnet18": 11_689_512,
        "densenet121": 7_978_856,
        "vgg16": 138_357_544,
    }.items():
        posterior = pretrained.load(name, None, image_shape=(3, 64, 64), device="cpu")
        assert sum(value.numel() for value in posterior.samples.values()) == n_parameters
        assert posterior.network.settings["n_classes"] == 1000
        assert posterior.logits(images[:1]).std() > 0.1
        # The weights are there once.
        first = next(iter(posterior.samples))
        assert posterior.network.get_parameter(first).data_ptr() == posterior.samples[first].data_ptr()


# Of each family the smallest, beside the four: with gates, versions, a square of its own, attention and layer norm.
OTHERS = {"squeezenet1_0": 64, "mnasnet0_5": 32, "mobilenet_v2": 32, "mobilenet_v3_small": 32, "efficientnet_b0": 32,
          "regnet_y_400mf": 32, "shufflenet_v2_x0_5": 32, "googlenet": 32, "swin_v2_t": 32, "vit_b_32": 32}  # fmt: skip


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", OTHERS)
def test_others_are_loaded_saved_and_read_again(name, nothing_here):
    """By random weights, by their own file, and by a state dict as torchvision publishes them; each as torchvision has it."""
    reading.import_torchvision()
    from torchvision import models

    shape = (3, OTHERS[name], OTHERS[name])
    posterior = pretrained.load(name, None, image_shape=shape, n_classes=4, device="cpu")
    images = torch.rand(2, *shape)
    logits = posterior.logits(images)
    assert logits.shape == (1, 2, 4)
    assert logits.isfinite().all()
    posterior.save(nothing_here / "posterior")
    back = Posterior.load(nothing_here / "posterior", posterior.network, device="cpu")
    assert torch.equal(back.logits(images), logits)
    model = plain(posterior).model
    torch.save(model.state_dict(), nothing_here / "own.pth")
    settings = {"image_size": OTHERS[name]} if name.startswith("vit") else {}
    settings |= {"init_weights": False} if name == "googlenet" else {}
    torchvision_s = models.get_model(name, weights=None, num_classes=4, **settings).eval()
    torchvision_s.load_state_dict(torch.load(nothing_here / "own.pth", weights_only=True))
    mean, std = (torch.tensor(one)[:, None, None] for one in (pretrained.IMAGENET_MEAN, pretrained.IMAGENET_STD))
    assert torch.allclose(torchvision_s((images - mean) / std), logits[0], rtol=1e-4, atol=1e-5)
    if not name.startswith(("swin", "vit", "googlenet")):  # which have weights for 224 pixels alone, or of other pixels
        read = pretrained.load(name, nothing_here / "own.pth", image_shape=shape, device="cpu")
        assert torch.equal(read.logits(images), logits)
        safetensors.torch.save_file(model.state_dict(), nothing_here / "own.safetensors")
        again = pretrained.load(name, nothing_here / "own.safetensors", image_shape=shape, device="cpu")
        assert torch.equal(again.logits(images), logits)


def test_googlenet_s_weights_are_of_other_pixels(nothing_here):
    """Which the network makes of those that it gets; what torchvision publishes is read so."""
    state = plain(
        pretrained.load("googlenet", None, image_shape=(3, 32, 32), n_classes=3, device="cpu")
    ).model.state_dict()
    torch.save(state, nothing_here / "own.pth")
    read = pretrained.load("googlenet", nothing_here / "own.pth", image_shape=(3, 32, 32), device="cpu")
    assert read.network.model.transform_input
    assert read.logits(torch.rand(1, 3, 32, 32)).isfinite().all()


def test_there_are_eighty_classifiers_and_their_files_are_looked_for(nothing_here):
    names = pretrained.classifiers()
    assert len(names) == 80
    assert set(pretrained.ARCHITECTURES) <= set(names)
    assert all(pretrained.published_file(name) is None for name in names)


def test_random_weights_of_other_layers_are_those_of_their_seed():
    first, same, other = (
        pretrained.load("vit_b_32", None, image_shape=(3, 32, 32), n_classes=3, seed=seed, device="cpu")
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(value, same.samples[name]) for name, value in first.samples.items())
    name = "model.encoder.pos_embedding"
    assert not torch.equal(first.samples[name], other.samples[name])


def test_random_weights_are_those_of_their_seed():
    first, same, other = (
        pretrained.load("resnet18", None, image_shape=(3, 32, 32), n_classes=3, seed=seed, device="cpu")
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(value, same.samples[name]) for name, value in first.samples.items())
    assert not torch.equal(first.samples["model.conv1.weight"], other.samples["model.conv1.weight"])
    assert first.image_shape == (3, 32, 32)
    assert len(first) == 1


class Batchwise(nn.Module):
    def __init__(self, size=2):
        super().__init__()
        self.layer = nn.Linear(12, size)

    def forward(self, x):
        return self.layer(x.flatten(1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: pretrained.load("vgg90", None),
            "name is 'vgg90'; it may be one of torchvision's classifiers, such as alexnet, densenet121, resnet18, vgg16, which",
        ),
        (
            lambda: pretrained.load("alexnet", None, image_shape=(3, 32, 32)),
            "it must have 3 channels and at least 63x63 pixels, which AlexNet takes",
        ),
        (
            lambda: pretrained.load("vit_b_32", None, image_shape=(3, 64, 32)),
            "at least 1x1 pixels, as many each way, which vit_b_32 takes",
        ),
        (lambda: pretrained.load("resnet18", None, image_shape=(3, 8)), "it must be .C, H, W."),
        (lambda: pretrained.load("resnet18", None, n_classes=1), "n_classes is 1"),
        (lambda: pretrained.wrap("resnet18", (3, 8, 8)), "model is 'resnet18'; it must be a torch.nn.Module"),
        (lambda: pretrained.wrap(Batchwise(), (3, 8, 8)), "Batchwise cannot take an image of shape .3, 8, 8."),
        (lambda: pretrained.wrap(Batchwise(1), (3, 2, 2)), "it must give logits .1, K. of two or more classes"),
        (
            lambda: pretrained.wrap(Batchwise(), (3, 2, 2), mean=(0.5,) * 3),
            "std is None; it must be a list of 3 numbers",
        ),
        (
            lambda: pretrained.wrap(Batchwise(), (3, 2, 2), mean=(0.5,), std=(1,) * 3),
            r"mean is \(0.5,\); it must be a list of 3 numbers",
        ),
        (
            lambda: pretrained.wrap(
                nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), Batchwise()), (3, 2, 2)
            ),
            "layer 0 of Sequential has no running statistics",
        ),
    ],
)
def test_what_cannot_be_used_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_file_that_is_not_there_is_said():
    with pytest.raises(
        FileNotFoundError, match="weights is 'nowhere.pth', which is no file; it may be 'published', None"
    ):
        pretrained.load("resnet18", "nowhere.pth")


def test_lite0_is_loaded_by_its_hash_or_named(nothing_here, monkeypatch):
    """Without its package a sentence; another file of its name is refused; random weights of any size need neither."""
    monkeypatch.setattr(pretrained, "LITE0_PACKAGE", "no_such_package")
    with pytest.raises(FileNotFoundError, match="come with the group photographs") as caught:
        pretrained.load(pretrained.LITE0)
    assert len(str(caught.value)) <= 300 + len(str(nothing_here))
    random = pretrained.load(pretrained.LITE0, None, image_shape=(3, 33, 48), n_classes=5, device="cpu")
    assert random.logits(torch.rand(2, 3, 33, 48)).shape == (1, 2, 5)
    folder = nothing_here / "data"
    folder.mkdir()
    state = {name.removeprefix("model."): value[0] for name, value in random.samples.items()}
    torch.save(state, folder / pretrained.LITE0_FILE)
    assert pretrained.published_file(pretrained.LITE0) == folder / pretrained.LITE0_FILE
    with pytest.raises(ValueError, match="has the SHA-256 [0-9a-f]{16}...; the published one has 579344248a93e230"):
        pretrained.load(pretrained.LITE0)


@pytest.mark.skipif(
    pretrained.published_file(pretrained.LITE0) is None,
    reason="the weights of EfficientNet-Lite0, of the group photographs, are not installed",
)
def test_lite0_with_its_published_weights_knows_a_palace():
    """On a photograph that scikit-learn brings along; the normalisation is the published one."""
    from relevance.datasets import photographs

    found = pretrained.load(pretrained.LITE0, device="cpu")
    assert found.record["weights"] == pretrained.LITE0_FILE
    image = photographs.photographs(["palace"], device="cpu")
    names = pretrained.imagenet_classes()
    assert len(names) == 1000
    assert names[found.predict(image).argmax(1).item()] == "palace"
    normalise = found.network.get_submodule("normalise")
    assert torch.allclose(normalise(torch.full((1, 3, 1, 1), 127 / 255)), torch.zeros(1), atol=1e-6)
    assert torch.allclose(normalise(torch.ones(1, 3, 1, 1)), torch.ones(1), atol=1e-6)
