"""The three doors: what comes in predicts what its source does, and what does not fit is refused with a sentence."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.func import functional_call

from oracles import MOST, errors_off
from relevance import attacks, explanations
from relevance.networks import architectures, doors
from relevance.networks.posterior import Posterior

SHAPE = (1, 4, 4)
IMAGES = torch.rand((3, *SHAPE), generator=torch.Generator().manual_seed(1))


class Small(nn.Module):
    """A reader's own network, with convolutions, batch norm and a flattening by a function."""

    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.fc1, self.fc2 = nn.Linear(12, width), nn.Linear(width, 4)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(torch.relu(self.norm(self.conv(x))).flatten(1))))


def small(seed):
    torch.manual_seed(seed)
    network = Small()
    with torch.no_grad():
        network.norm.running_mean.uniform_(-0.5, 0.5)
        network.norm.running_var.uniform_(0.5, 2)
    return network.eval()


MODULES = [small(seed) for seed in range(3)]
LOGITS = torch.stack([module(IMAGES) for module in MODULES]).detach()
SITES = {name: torch.stack([dict(module.named_parameters())[name].detach() for module in MODULES])
         for name, _ in MODULES[0].named_parameters()}  # fmt: skip
DENSE = architectures.fully_connected(SHAPE, hidden=4, n_classes=4)


def of_sites(network, sites, images):
    """What a network gives with each draw, by calls of its own."""
    return torch.stack([
        functional_call(network, {name: value[draw] for name, value in sites.items()}, (images,))
        for draw in range(len(next(iter(sites.values()))))
    ]).detach()  # fmt: skip


def refused(match, door, *arguments, **settings):
    """Whether a door refuses, with a sentence that is short enough."""
    with pytest.raises(ValueError, match=match) as error:
        door(*arguments, **settings)
    assert len(str(error.value)) <= 300


# From state dicts ---------------------------------------------------------------------------------------------------------------


def test_state_dicts_modules_and_files_give_the_same(tmp_path):
    states = [module.state_dict() for module in MODULES]
    torch.save(states[0], tmp_path / "a.pth")
    torch.save({"epoch": 3, "state_dict": states[1]}, tmp_path / "b.ckpt")
    safetensors.torch.save_file(states[2], tmp_path / "c.safetensors")
    files = [tmp_path / "a.pth", str(tmp_path / "b.ckpt"), tmp_path / "c.safetensors"]
    for given in (states, MODULES, nn.ModuleList(MODULES), iter(MODULES), files):
        posterior = doors.from_states(Small(), given, check=(IMAGES, LOGITS), device="cpu")
        assert len(posterior) == 3
        assert torch.allclose(posterior.logits(IMAGES), LOGITS, atol=1e-6)
        assert posterior.record["method"] == "given as states"
        assert posterior.record["check"]["images"] == 3


@pytest.mark.parametrize("kind", ["state", "module", "file"])
def test_one_state_is_a_deterministic_network(kind, tmp_path):
    torch.save(MODULES[1].state_dict(), tmp_path / "a.pth")
    given = {"state": MODULES[1].state_dict(), "module": MODULES[1], "file": tmp_path / "a.pth"}[kind]
    network = Small()
    posterior = doors.from_states(network, given, device="cpu")
    assert len(posterior) == 1
    assert torch.allclose(posterior.logits(IMAGES), LOGITS[1:2], atol=1e-6)
    # What the states have in common is the network's; the given one stays as it was.
    assert torch.equal(posterior.network.norm.running_mean, MODULES[1].norm.running_mean)
    assert not network.norm.running_mean.any()


def test_statistics_of_batch_norm_that_differ_become_samples():
    posterior = doors.from_states(Small(), MODULES, device="cpu")
    assert posterior.samples["norm.running_mean"].shape == (3, 3)
    assert not any(name.endswith("num_batches_tracked") for name in posterior.samples)
    target = posterior.predict(IMAGES).argmax(1)
    maps = torch.stack([explanations.gradient(Posterior.of(module), IMAGES, target) for module in MODULES]).mean(0)
    assert torch.allclose(explanations.gradient(posterior, IMAGES, target), maps, atol=1e-6)


def test_images_are_normalised_where_the_door_is_told_to():
    mean, std = [0.3], [0.2]
    source = torch.stack([module((IMAGES - 0.3) / 0.2) for module in MODULES]).detach()
    posterior = doors.from_states(
        Small(), MODULES, image_shape=SHAPE, mean=mean, std=std, check=(IMAGES, source), device="cpu"
    )
    assert posterior.image_shape == SHAPE
    vectors = torch.stack([nn.utils.parameters_to_vector(module.parameters()) for module in MODULES[:1]])
    alike = doors.from_vectors(
        MODULES[0], vectors, image_shape=SHAPE, mean=mean, std=std, check=(IMAGES, source[:1]), device="cpu"
    )
    assert alike.image_shape == SHAPE
    refused("only one of them normalises", doors.from_states, Small(), MODULES, check=(IMAGES, source))
    refused("image_shape is None, with a mean", doors.from_states, Small(), MODULES, mean=mean)


def test_a_prefix_is_stripped_and_named_where_it_would_help():
    states = [{f"module.{name}": value for name, value in module.state_dict().items()} for module in MODULES]
    assert len(doors.from_states(Small(), states, prefix="module.", device="cpu")) == 3
    refused(r"states.0. lacks .* \(prefix='module.' makes them fit\)", doors.from_states, Small(), states)
    refused("states.0. has names without the prefix 'net.'", doors.from_states, Small(), states, prefix="net.")
    refused("prefix is 3; it must be a text", doors.from_states, Small(), states, prefix=3)


def changed(name, value):
    return [MODULES[0].state_dict(), {**MODULES[1].state_dict(), name: value}]


@pytest.mark.parametrize(
    ("states", "match"),
    [
        ([], "states is empty"),
        ([{}], "states.0. is empty"),
        (None, "states is None; it must be state dicts, modules or paths"),
        ([3], "states.0. is 3; it must be a state dict"),
        ([nn.Linear(2, 2).state_dict()], "states.0. lacks conv.weight, conv.bias and 9 more.* has weight, bias, which the net"),
        (changed("fc3.weight", torch.zeros(2)), "states.1. has fc3.weight, which the network has not"),
        (changed("fc1.weight", torch.zeros(4, 11)), r"fc1.weight of states.1. has shape \[4, 11\]; it must have shape \[4, 12\]"),
        (changed("fc1.bias", torch.zeros(4).double()), r"fc1.bias of states.1. is of torch.float64.*network.double\(\)"),
        (changed("fc1.bias", torch.zeros(4).half()), "fc1.bias of states.1. is of torch.float16; it must be of torch.float32"),
        (changed("fc1.bias", torch.tensor([0, 0, math.nan, 0])), "fc1.bias of states.1. has values that are NaN"),
        (changed("norm.running_var", torch.full((3,), math.inf)), "norm.running_var of states.1. has values that are NaN or inf"),
        (changed("fc1.bias", "zeros"), "fc1.bias of states.1. is 'zeros'; it must be a tensor or an array"),
        (changed("fc1.bias", torch.zeros(4).to_sparse()), "fc1.bias of states.1. is a sparse tensor"),
    ],
)  # fmt: skip
def test_states_that_do_not_fit_are_refused(states, match):
    refused(match, doors.from_states, Small(), states)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="which is no file"):
        doors.from_states(Small(), tmp_path / "missing.pth")
    torch.save(MODULES[0], tmp_path / "pickled.pth")  # a whole module: code would have to run
    (tmp_path / "text.safetensors").write_text("nothing")
    for name in ("pickled.pth", "text.safetensors"):
        refused("cannot be read as weights", doors.from_states, Small(), tmp_path / name)


def test_tied_parameters_stay_one():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(16, 16), nn.Linear(16, 16)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(torch.relu(self.a(x.flatten(1))))

    tied = Tied()
    posterior = doors.from_states(Tied(), tied, check=(IMAGES, tied(IMAGES).detach()[None]), device="cpu")
    assert "b.weight" not in posterior.samples
    state = {**tied.state_dict(), "b.weight": torch.zeros(16, 16)}
    refused("states.0. has two values for a.weight and b.weight", doors.from_states, Tied(), state)


def test_buffers_of_whole_numbers_may_not_differ():
    class Indexed(nn.Linear):
        def __init__(self, places):
            super().__init__(16, 3)
            self.register_buffer("places", torch.tensor(places))

        def forward(self, x):
            return super().forward(x.flatten(1)[:, self.places])

    order = list(range(16))
    same = doors.from_states(Indexed(order), [Indexed(order[::-1]), Indexed(order[::-1])], device="cpu")
    assert same.network.places.tolist() == order[::-1]
    refused(
        "states differ in places, which is of torch.int64",
        doors.from_states,
        Indexed(order),
        [Indexed(order), Indexed(order[::-1])],
    )


# From flat vectors --------------------------------------------------------------------------------------------------------------


def flat(modules):
    return torch.stack([nn.utils.parameters_to_vector(module.parameters()).detach() for module in modules])


def test_vectors_of_all_parameters():
    network = copy.deepcopy(DENSE)
    vectors = torch.randn((5, sum(value.numel() for value in network.parameters())))
    wanted = []
    for vector in vectors:
        nn.utils.vector_to_parameters(vector, network.parameters())
        wanted.append(network(IMAGES).detach().clone())
    for given in (vectors, vectors.numpy()):
        posterior = doors.from_vectors(DENSE, given, check=(IMAGES, torch.stack(wanted)), device="cpu")
        assert len(posterior) == 5
        assert posterior.image_shape == SHAPE


def test_vectors_leave_out_what_requires_no_gradient():
    network = copy.deepcopy(DENSE)
    network[1].requires_grad_(False)
    size = sum(value.numel() for value in network.parameters() if value.requires_grad)
    vectors = torch.randn(2, size)
    posterior = doors.from_vectors(network, vectors, device="cpu")
    assert torch.equal(posterior.samples["1.weight"], network[1].weight.detach().expand(2, 4, 16))
    assert torch.equal(posterior.samples["3.weight"], vectors[:, :16].reshape(2, 4, 4))
    refused(
        rf"shape \[2, {size - 1}\]; it must have shape \[S, {size}\].*require a gradient",
        doors.from_vectors,
        network,
        vectors[:, 1:],
    )


def test_vectors_of_one_layer_take_the_rest_from_the_module():
    vectors = torch.randn(3, 20)
    posterior = doors.from_vectors(DENSE, vectors, layer="5", device="cpu")
    features = DENSE[:5](IMAGES).detach()
    wanted = torch.stack([features @ row[:16].reshape(4, 4).T + row[16:] for row in vectors])
    assert torch.allclose(posterior.logits(IMAGES), wanted, atol=1e-6)
    refused(
        r"it must have shape \[S, 20\], a column for each of the 20 parameters that layer 5 has",
        doors.from_vectors,
        DENSE,
        vectors[:, 1:],
        layer="5",
    )
    refused("layer is '4'; it may be one of: 1, 3, 5", doors.from_vectors, DENSE, vectors, layer="4")


SIZE = sum(value.numel() for value in DENSE.parameters())


@pytest.mark.parametrize(
    ("vectors", "match"),
    [
        (None, "vectors is None; it must be a tensor or an array"),
        ([[1.0]], "vectors is a list; it must be a tensor or an array"),
        (torch.zeros(SIZE), rf"vectors has shape \[{SIZE}\]; it must have shape"),
        (torch.zeros(0, SIZE), rf"vectors has shape \[0, {SIZE}\]; it must have shape"),
        (torch.zeros(2, SIZE).double(), "vectors is of torch.float64; it must be of torch.float32"),
        (torch.zeros(2, SIZE).int(), "vectors is of torch.int32; it must be of torch.float32"),
        (torch.zeros(2, SIZE).index_fill(1, torch.tensor(7), math.nan), "vectors has values that are NaN or infinite in draw 0"),
        (np.array([["a"]]), "vectors is an array that torch has no numbers for"),
    ],
)  # fmt: skip
def test_vectors_that_do_not_fit_are_refused(vectors, match):
    refused(match, doors.from_vectors, DENSE, vectors)


def test_a_vector_in_another_order_is_refused_by_its_logits():
    vectors = torch.randn(2, SIZE)
    check = (IMAGES, doors.from_vectors(DENSE, vectors, device="cpu").logits(IMAGES))
    refused("check does not agree: draw [01] differs by up to", doors.from_vectors, DENSE, vectors.flip(1), check=check)
    refused("the same draws in another order would", doors.from_vectors, DENSE, vectors.flip(0), check=check)


# From named sites ---------------------------------------------------------------------------------------------------------------


def dense_sites(n_samples=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn((n_samples, *value.shape), generator=generator) for name, value in DENSE.named_parameters()
    }


def test_sites_with_a_prefix_and_others():
    sites = dense_sites()
    given = {"scale": torch.ones(3), **{f"net$$${name}": value for name, value in sites.items()}}
    posterior = doors.from_sites(
        DENSE, given, prefix="net$$$", others=["scale"], check=(IMAGES, of_sites(DENSE, sites, IMAGES)), device="cpu"
    )
    assert len(posterior) == 3
    refused("sites has names without the prefix 'net", doors.from_sites, DENSE, given, prefix="net$$$")
    refused(
        r"sites has scale, which the network has not.*\(others=\[...\] leaves out",
        doors.from_sites,
        DENSE,
        {"scale": torch.ones(3), **sites},
    )
    refused("an item of others is 'other'; it may be one of", doors.from_sites, DENSE, sites, others=["other"])
    refused("others is 'scale'; it must be a list", doors.from_sites, DENSE, sites, others="scale")
    refused("sites has none but others", doors.from_sites, DENSE, {"scale": torch.ones(3)}, others=["scale"])


def test_sites_of_a_part_take_the_rest_from_the_network_only_when_told():
    sites = {name: value for name, value in dense_sites().items() if name.startswith("5")}
    posterior = doors.from_sites(DENSE, sites, partial=True, device="cpu")
    assert torch.equal(posterior.samples["3.bias"], DENSE[3].bias.detach().expand(3, 4))
    refused("sites lacks 1.weight, 1.bias and 2 more", doors.from_sites, DENSE, sites)
    refused("partial is 1; it must be True or False", doors.from_sites, DENSE, sites, partial=1)


def numpy_forward(sites, images):
    """A convolutional network as JAX lays it out, by numpy: NHWC, HWIO, [in, out]."""
    found = []
    pictures = images.numpy().transpose(0, 2, 3, 1)
    for draw in range(len(sites["conv.bias"])):
        one = {name: value[draw] for name, value in sites.items()}
        maps = np.zeros((len(pictures), 2, 2, 3), np.float32)
        for y in range(2):
            for x in range(2):
                maps[:, y, x] = np.einsum("nhwi,hwio->no", pictures[:, y : y + 3, x : x + 3], one["conv.weight"])
        maps = np.maximum((maps + one["conv.bias"]) * one["norm.weight"] + one["norm.bias"], 0)
        hidden = np.maximum(maps.reshape(len(maps), -1) @ one["fc1.weight"] + one["fc1.bias"], 0)
        found.append(hidden @ one["fc2.weight"] + one["fc2.bias"])
    return np.stack(found)


def jax_sites(n_samples=3):
    rng = np.random.default_rng(0)
    shapes = {
        "conv.weight": (3, 3, 1, 3), "conv.bias": (3,), "norm.weight": (3,), "norm.bias": (3,),
        "fc1.weight": (12, 4), "fc1.bias": (4,), "fc2.weight": (4, 4), "fc2.bias": (4,),
    }  # fmt: skip
    return {name: rng.normal(size=(n_samples, *shape)).astype(np.float32) for name, shape in shapes.items()}


def plain():
    """The reader's network with a batch norm that does no more than its weights say."""
    network = Small()
    network.norm.eps = 0.0
    return network


def test_the_layout_of_jax_computes_what_numpy_does():
    sites = jax_sites()
    wanted = numpy_forward(sites, IMAGES)
    posterior = doors.from_sites(plain(), sites, layout="jax", check=(IMAGES, wanted), device="cpu")
    assert np.allclose(posterior.logits(IMAGES).numpy(), wanted, rtol=1e-4, atol=1e-4)
    told = doors.from_sites(plain(), sites, layout="jax", image_shape=SHAPE, device="cpu")
    assert torch.equal(told.logits(IMAGES), posterior.logits(IMAGES))
    refused(
        "image_shape is None, and so is check; layout 'jax' needs one", doors.from_sites, plain(), sites, layout="jax"
    )
    refused("layout is 'tf'; it may be one of: jax, torch", doors.from_sites, plain(), sites, layout="tf")


def test_each_slip_of_layout_is_found_and_named():
    sites = jax_sites()
    check = (IMAGES, numpy_forward(sites, IMAGES))
    by_hand = {
        **sites,
        "conv.weight": sites["conv.weight"].transpose(0, 4, 3, 1, 2),
        "fc1.weight": sites["fc1.weight"].swapaxes(1, 2),
    }
    refused(
        r"sites.'conv.weight'. has shape \[3, 3, 3, 1, 3\]; it must have shape \[3, 3, 1, 3, 3\]",
        doors.from_sites,
        plain(),
        sites,
        check=check,
    )
    refused(
        "fc1.weight with its columns from H, W, C, and square weights transposed, would",
        doors.from_sites,
        plain(),
        by_hand,
        check=check,
    )
    by_hand["fc2.weight"] = sites["fc2.weight"].swapaxes(1, 2)
    refused("fc1.weight with its columns from H, W, C would", doors.from_sites, plain(), by_hand, check=check)
    dense = {name: value.mT if value.ndim == 3 else value for name, value in dense_sites().items()}
    refused(r"sites.'1.weight'. has shape \[3, 16, 4\].*layout='jax' transposes", doors.from_sites, DENSE, dense)


def test_a_square_weight_that_is_transposed_in_silence_is_named():
    sites = dense_sites()
    check = (IMAGES, of_sites(DENSE, sites, IMAGES))
    wrong = {**sites, "3.weight": sites["3.weight"].mT}
    refused("agree .3.weight transposed would", doors.from_sites, DENSE, wrong, check=check)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        (
            "5.bias",
            torch.zeros(2, 4),
            r"sites.'5.bias'. has shape \[2, 4\]; it must have shape \[3, 4\], as many draws",
        ),
        ("1.weight", torch.zeros(2, 3, 4, 16), r"it must have shape \[2, 4, 16\].*chains must be one after another"),
        ("5.bias", torch.zeros(()), r"sites.'5.bias'. has shape \[\]; it must have shape"),
        ("5.bias", torch.zeros(3, 4).double(), "sites.'5.bias'. is of torch.float64; it must be of torch.float32"),
        ("5.bias", torch.full((3, 4), math.nan), "sites.'5.bias'. has values that are NaN or infinite in draw 0"),
        ("5.bias", [0.0], "sites.'5.bias'. is a list; it must be a tensor or an array"),
        ("6.bias", torch.zeros(3, 4), "sites has 6.bias, which the network has not"),
    ],
)
def test_sites_that_do_not_fit_are_refused(name, value, match):
    refused(match, doors.from_sites, DENSE, {**dense_sites(), name: value})


@pytest.mark.parametrize("sites", [None, {}, [torch.zeros(2)]])
def test_no_sites_are_refused(sites):
    refused("sites is .*; it must be a mapping", doors.from_sites, DENSE, sites)


def test_empty_draws_are_refused():
    refused(
        r"sites.'1.weight'. has shape \[0, 4, 16\].*at least 1",
        doors.from_sites,
        DENSE,
        {n: v[:0] for n, v in dense_sites().items()},
    )


# What all doors share -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "match"),
    [
        (IMAGES, "check is a tensor of torch.float32; it must be a pair"),
        ((IMAGES,), "check has 1 parts; it must be a pair"),
        ((IMAGES + 1, torch.zeros(3, 3, 4)), "images of check has values from"),
        ((IMAGES[:0], torch.zeros(3, 0, 4)), "images of check has 0 images"),
        ((IMAGES, None), "logits of check is None; it must be a tensor or an array"),
        ((IMAGES, torch.zeros(2, 3, 4)), r"logits of check have shape \[2, 3, 4\]; they must have shape \[3, 3, 4\]"),
        ((IMAGES, torch.full((3, 3, 4), math.nan)), "logits of check has values that are NaN"),
        ((torch.rand(2, 1, 5, 5), torch.zeros(3, 2, 4)), r"images of check has shape \[2, 1, 5, 5\]"),
    ],
)
def test_checks_that_are_none_are_refused(check, match):
    refused(match, doors.from_sites, DENSE, dense_sites(), check=check)


def test_images_that_a_network_of_no_known_shape_cannot_take_are_refused():
    refused("images of check have shape .*, which the network cannot take", doors.from_states, Small(), MODULES,
            check=(torch.rand(2, 1, 3, 3), LOGITS))  # fmt: skip


@pytest.mark.parametrize("network", [None, "network", nn.ReLU()])
def test_networks_that_are_none_are_refused(network):
    for door, draws in (
        (doors.from_states, MODULES),
        (doors.from_vectors, torch.zeros(1, 1)),
        (doors.from_sites, SITES),
    ):
        refused("network (is|has)", door, network, draws)


def test_a_record_is_kept_and_saved(tmp_path):
    posterior = doors.from_sites(DENSE, dense_sites(), record={"method": "nuts", "library": "pyro"}, device="cpu")
    assert (posterior.record["method"], posterior.record["library"]) == ("nuts", "pyro")
    posterior.save(tmp_path / "given.safetensors")
    assert torch.equal(
        Posterior.load(tmp_path / "given.safetensors", device="cpu").logits(IMAGES), posterior.logits(IMAGES)
    )
    refused("record is 3; it must be a mapping", doors.from_sites, DENSE, dense_sites(), record=3)


def test_what_comes_in_is_attacked_and_explained_as_any_posterior():
    posterior = doors.from_vectors(DENSE, torch.randn(4, 20), layer="5", device="cpu")
    target = posterior.predict(IMAGES).argmax(1)
    attacked = attacks.fgsm(posterior, IMAGES, target, epsilon=0.1)
    maps = explanations.lrp(posterior, attacked, target, rule=explanations.Epsilon(0.1))
    each = torch.stack([explanations.lrp(one, attacked, target, rule=explanations.Epsilon(0.1)) for one in posterior])
    assert torch.allclose(maps, each.mean(0), atol=1e-5)


# Mean-field layers --------------------------------------------------------------------------------------------------------------


class MeanField(nn.Module):
    """A dense layer as bayesian-torch writes it, beside what it keeps, and a plain one."""

    def __init__(self):
        super().__init__()
        self.first = nn.Module()
        self.first.mu_weight = nn.Parameter(torch.randn(4, 16))
        self.first.rho_weight = nn.Parameter(torch.randn(4, 16))
        self.first.mu_bias = nn.Parameter(torch.randn(4))
        self.first.rho_bias = nn.Parameter(torch.randn(4))
        self.first.register_buffer("prior_weight_mu", torch.zeros(4, 16))
        self.first.register_buffer("eps_weight", torch.zeros(4, 16))
        self.last = nn.Linear(4, 3)


@pytest.mark.stochastic
def test_mean_field_layers_give_draws_with_their_moments():
    model = MeanField()
    states = doors.mean_field_states(model, 4000, seed=3)
    assert set(states[0]) == {"first.weight", "first.bias", "last.weight", "last.bias"}
    assert all(torch.equal(state["last.weight"], model.last.weight) for state in states)
    draws = torch.stack([state["first.weight"] for state in states]).double()
    mean = model.first.mu_weight.detach().double()
    scale = torch.log1p(model.first.rho_weight.detach().double().exp())
    assert errors_off(draws, mean).abs().max() < MOST
    assert errors_off((draws - mean).square(), scale.square()).abs().max() < MOST
    again = doors.mean_field_states(model, 2, seed=3)
    assert torch.equal(again[1]["first.bias"], states[1]["first.bias"])


def test_models_without_mean_field_layers_are_refused():
    refused("model is a Linear without a pair such as mu_weight", doors.mean_field_states, nn.Linear(2, 2), 3)
    refused("n_samples is 0", doors.mean_field_states, MeanField(), 0)
    refused("seed is -1", doors.mean_field_states, MeanField(), 1, -1)
    refused("model is None", doors.mean_field_states, None, 1)
