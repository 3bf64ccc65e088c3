"""Softmax, products of matrices and attention, in both readings, beside their formulas written in loops."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from around import IMAGES, TARGETS, Around, Function, assert_way
from oracles import random_posterior, shared_by_definition
from relevance import explanations
from relevance.explanations.rules import Composite, Epsilon
from relevance.networks.posterior import Posterior

# Torch maps its own attention over samples one by one.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


def softmax_by_hand(inner, inputs, outputs, relevance):
    """R_i = S_i (R_i - A_i sum_k R_k) along the last dimension (Achtibat et al. 2024, Prop. 3.1)."""
    found = torch.zeros_like(inputs)
    for row, (scores, weights, arrived) in enumerate(zip(inputs, outputs, relevance, strict=True)):
        for i in range(len(scores)):
            found[row, i] = scores[i] * (arrived[i] - weights[i] * sum(arrived))
    return found


@pytest.mark.parametrize(
    "inner",
    [nn.Softmax(-1), Function(lambda x: x.softmax(-1)), Function(lambda x: functional.softmax(x, dim=2))],
    ids=["module", "method", "function"],
)
def test_softmax_is_the_formula(inner):
    assert_way(inner, (3, 4), softmax_by_hand)


def test_masked_scores_get_nothing():
    mask = torch.ones(3, 4).triu(2).bool()

    def oracle(inner, inputs, outputs, relevance):
        return torch.where(mask, 0.0, softmax_by_hand(inner, inputs, outputs, relevance))

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mask", mask)

        def forward(self, x):
            return x.masked_fill(self.mask, float("-inf")).softmax(-1)

    assert_way(Masked(), (3, 4), oracle)


def products_by_hand(first, second, outputs, relevance):
    """R_A,ji = A_ji sum_p V_ip R_jp / (2 O_jp) and R_V,ip = V_ip sum_j A_ji R_jp / (2 O_jp) (Prop. 3.3)."""
    of_first, of_second = torch.zeros_like(first), torch.zeros_like(second)
    for j in range(first.shape[0]):
        for i in range(first.shape[1]):
            for p in range(second.shape[1]):
                part = first[j, i] * second[i, p] / (2 * outputs[j, p]) * relevance[j, p]
                of_first[j, i] += part
                of_second[i, p] += part
    return of_first, of_second


def matrices(x):
    return x[:, :6].unflatten(1, (2, 3)), x[:, 6:].unflatten(1, (3, 4))


@pytest.mark.parametrize(
    "product",
    [lambda a, b: a @ b, torch.matmul, torch.bmm, lambda a, b: torch.einsum("nji,nip->njp", a, b)],
    ids=["@", "matmul", "bmm", "einsum"],
)
def test_a_product_of_two_values_is_the_formula(product):
    def oracle(inner, inputs, outputs, relevance):
        first, second = (one[0] for one in matrices(inputs[None]))
        return torch.cat([one.flatten() for one in products_by_hand(first, second, outputs, relevance)])

    assert_way(Function(lambda x: product(*matrices(x))), (18,), oracle)


@pytest.mark.parametrize(
    "product",
    [
        lambda x, w: x @ w,
        lambda x, w: torch.einsum("nij,jk->nik", x, w),
        lambda x, w: w.mT @ x.mT,
        lambda x, w: torch.einsum("jk,nij->nik", w, x),
    ],
    ids=["@", "einsum", "from the left", "einsum from the left"],
)
def test_a_product_with_a_matrix_of_parameters_is_an_affine_layer(product):
    def oracle(inner, inputs, outputs, relevance):
        layer = nn.Linear(12, outputs.numel()).double()
        with torch.no_grad():
            columns = [inner(one.reshape(1, 3, 4)).flatten() for one in torch.eye(12, dtype=torch.float64)]
            layer.weight.copy_(torch.stack(columns, 1))
            layer.bias.zero_()
            return shared_by_definition(Epsilon(1e-9), layer, inputs.flatten(), relevance).reshape(inputs.shape)

    def inner():
        return Function(product, nn.Parameter(torch.randn(4, 2)))

    assert_way(inner(), (3, 4), oracle)
    kept = explanations.kept_by_layer(random_posterior(Around(inner(), (3, 4)), 1), IMAGES, TARGETS)
    assert list(kept)[1] in {"inner.matmul()", "inner.einsum()"}


class Attention(nn.Module):
    """Attention of one head, in plain calls."""

    def __init__(self, bias=True):
        super().__init__()
        self.qkv, self.out = nn.Linear(4, 12, bias=bias), nn.Linear(4, 4, bias=bias)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        return self.out(((q * 0.5) @ k.transpose(1, 2)).softmax(-1) @ v)


class OfTorch(nn.Module):
    """The same by torch's own module or function, with the parameters of the first."""

    def __init__(self, inner, how, heads=1):
        super().__init__()
        self.qkv, self.out, self.how = inner.qkv, inner.out, how
        self.attention = nn.MultiheadAttention(4, heads, batch_first=how != "sequence first").double()
        with torch.no_grad():
            self.attention.in_proj_weight.copy_(inner.qkv.weight)
            self.attention.in_proj_bias.copy_(inner.qkv.bias)
            self.attention.out_proj.weight.copy_(inner.out.weight)
            self.attention.out_proj.bias.copy_(inner.out.bias)

    def forward(self, x):
        if self.how == "sequence first":
            x = x.transpose(0, 1)
            return self.attention(x, x, x)[0].transpose(0, 1)
        if self.how == "module":
            return self.attention(x, x, x, need_weights=False)[0]
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.how == "function":
            return self.out(functional.scaled_dot_product_attention(q, k, v))
        raise AssertionError


READINGS = {"shared": Epsilon(1e-9), "constant": Composite(Epsilon(1e-9), attention="constant")}


@pytest.mark.parametrize("how", ["module", "sequence first", "function"])
@pytest.mark.parametrize("reading", READINGS)
def test_torch_s_attention_is_plain_attention(how, reading):
    torch.manual_seed(0)
    plain = Attention().double()
    around = Around(plain.float(), (3, 4)).double()
    maps = []
    for inner in (plain.double(), OfTorch(plain, how)):
        around.inner = inner
        posterior = Posterior.of(around)
        maps.append(explanations.lrp(posterior, IMAGES, TARGETS, rule=READINGS[reading]))
    assert torch.allclose(*maps, rtol=1e-8, atol=1e-10)
    assert maps[0].abs().max() > 1e-3


@pytest.mark.parametrize("how", ["module", "sequence first", "function"])
def test_attention_can_be_mapped_over_samples_and_differentiated_again(how):
    torch.manual_seed(0)
    inner = OfTorch(Attention().double(), how, heads=2 if how != "function" else 1)
    network = Around(inner.float(), (3, 4)).double()
    posterior = random_posterior(network, 2, seed=3)
    for rule in READINGS.values():
        found = explanations.lrp(posterior, IMAGES, TARGETS, rule=rule, per_sample=True)
        for index in range(2):
            alone = explanations.lrp(posterior[index], IMAGES, TARGETS, rule=rule)
            assert torch.allclose(found[index], alone, rtol=1e-8, atol=1e-10)
        leaf = IMAGES.clone().requires_grad_()
        (slope,) = torch.autograd.grad(explanations.lrp(posterior, leaf, TARGETS, rule=rule).square().sum(), leaf)
        step = 1e-6 * torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
        up, down = (
            explanations.lrp(posterior, at, TARGETS, rule=rule).square().sum() for at in (IMAGES + step, IMAGES - step)
        )
        assert (slope * step).sum().item() == pytest.approx((up - down).item() / 2, rel=1e-5)


def test_conservative_attention_is_the_formula():
    """A is a constant: R_V,ip = V_ip sum_j A_ji R_jp / O_jp, and nothing goes to Q and K (Ali et al. 2022)."""
    torch.manual_seed(0)
    network = Around(Attention(), (3, 4)).double()
    posterior = Posterior.of(network)
    found = explanations.lrp(posterior, IMAGES, TARGETS, rule=READINGS["constant"])
    epsilon = Epsilon(1e-9)
    for image, label, given in zip(IMAGES, TARGETS, found, strict=True):
        with torch.no_grad():
            hidden = network.first(image.flatten()).reshape(3, 4)
            q, k, v = network.inner.qkv(hidden).chunk(3, -1)
            weights = (q * 0.5 @ k.T).softmax(-1)
            mixed = weights @ v
            outputs = network.inner.out(mixed)
            logits = network.head(outputs.flatten())
        relevance = torch.eye(3, dtype=torch.float64)[label] * logits
        relevance = shared_by_definition(epsilon, network.head, outputs.flatten(), relevance).reshape(3, 4)
        relevance = torch.stack(
            [shared_by_definition(epsilon, network.inner.out, one, r) for one, r in zip(mixed, relevance, strict=True)]
        )
        of_values = torch.zeros(3, 4, dtype=torch.float64)
        for i in range(3):
            for p in range(4):
                of_values[i, p] = v[i, p] * sum(weights[j, i] * relevance[j, p] / mixed[j, p] for j in range(3))
        below = torch.cat([torch.zeros(3, 8, dtype=torch.float64), of_values], 1)
        relevance = torch.stack(
            [shared_by_definition(epsilon, network.inner.qkv, one, r) for one, r in zip(hidden, below, strict=True)]
        )
        wanted = shared_by_definition(epsilon, network.first, image.flatten(), relevance).reshape(image.shape)
        assert torch.allclose(given, wanted, rtol=1e-6, atol=1e-9)


def test_conservative_attention_conserves_and_the_other_reports_what_it_keeps():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 12, bias=False), nn.Unflatten(1, (3, 4)), Attention(bias=False), nn.Flatten(),
        nn.Linear(12, 3, bias=False),
    ).double()  # fmt: skip
    posterior = Posterior.of(network)
    logits = posterior.logits(IMAGES)[0].gather(1, TARGETS[:, None])[:, 0]
    rule = Composite(Epsilon(1e-13), attention="constant")
    found = explanations.lrp(posterior, IMAGES, TARGETS, rule=rule)
    assert torch.allclose(found.flatten(1).sum(1), logits, rtol=1e-7)
    kept = explanations.kept_by_layer(posterior, IMAGES, TARGETS, rule=Epsilon(1e-13))
    assert kept["3.softmax()"].abs().min() > 1e-8
    arrived = explanations.lrp(posterior, IMAGES, TARGETS, rule=Epsilon(1e-13)).flatten(1).sum(1)
    assert torch.allclose(arrived + sum(kept.values()), logits, rtol=1e-7)


class Cross(nn.Module):
    """Attention of some tokens to others, with a mask, or with keys of another width."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, kdim=3 if how == "widths" else None, vdim=None,
                                               bias=how != "no bias")  # fmt: skip

    def forward(self, x):
        query, key = x[:, :2], x[:, 2:]
        if self.how == "widths":
            return self.attention(query, key[..., :3], key)[0]
        if self.how == "causal":
            mask = torch.ones(4, 4, dtype=torch.bool).triu(1)
            return (
                functional.scaled_dot_product_attention(x, x, x, is_causal=True)
                + self.attention(x, x, x, attn_mask=mask)[0]
            )
        found, weights = self.attention(query, key, key)
        return torch.cat([found, weights], -1)


@pytest.mark.parametrize("how", ["others", "widths", "causal", "no bias"])
def test_attention_to_others_is_what_the_network_gives(how):
    """What the graph gives is compared with the network each time; here that it is found at all, and adds up."""
    torch.manual_seed(0)
    posterior = random_posterior(Around(Cross(how), (4, 4)), 2, seed=1)
    kept = explanations.kept_by_layer(posterior, IMAGES, TARGETS)
    arrived = explanations.lrp(posterior, IMAGES, TARGETS).flatten(1).sum(1)
    logits = posterior.logits(IMAGES).mean(0).gather(1, TARGETS[:, None])[:, 0]
    size = max(1.0, *(part.abs().max().item() for part in (*kept.values(), arrived)))
    assert torch.allclose(arrived + sum(kept.values()), logits, atol=1e-8 * size)


def test_gated_linear_units_are_products():
    torch.manual_seed(0)
    maps = []
    for inner in (nn.GLU(), Function(functional.glu), Function(lambda x: x[..., :3] * x[..., 3:].sigmoid())):
        posterior = Posterior.of(Around(inner, (2, 6)).double())
        maps.append(explanations.lrp(posterior, IMAGES, TARGETS))
    assert torch.allclose(maps[0], maps[2], atol=1e-12)
    assert torch.allclose(maps[1], maps[2], atol=1e-12)


@pytest.mark.parametrize("norm_first", [True, False])
def test_torch_s_transformer_layer_has_a_map(norm_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=norm_first, activation="gelu").eval()
    posterior = random_posterior(Around(layer, (3, 4)).eval(), 2, seed=1)
    kept = explanations.kept_by_layer(posterior, IMAGES, TARGETS)
    arrived = explanations.lrp(posterior, IMAGES, TARGETS).flatten(1).sum(1)
    logits = posterior.logits(IMAGES).mean(0).gather(1, TARGETS[:, None])[:, 0]
    size = max(1.0, *(part.abs().max().item() for part in (*kept.values(), arrived)))
    assert torch.allclose(arrived + sum(kept.values()), logits, atol=1e-8 * size)
    assert "inner.self_attn.in_proj" in kept


def test_attention_with_keys_of_its_own_gets_a_sentence():
    with pytest.raises(ValueError, match="the network .* cannot be traced by torch.fx .*keys and values of its own"):
        explanations.lrp(Posterior.of(WithOwnKeys()), IMAGES, TARGETS)


class WithOwnKeys(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(4, 2, add_bias_kv=True, batch_first=True), nn.Linear(16, 3)
        self.double()

    def forward(self, x):
        x = x.flatten(1).unflatten(1, (4, 4))
        return self.head(self.attention(x, x, x)[0].flatten(1))
