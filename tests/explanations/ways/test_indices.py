"""What only puts values elsewhere hands relevance back to where they came from."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from around import Function, assert_way, moved
from relevance import explanations
from relevance.networks.posterior import Posterior

SHAPE = (4, 3, 4)
MODULES = {
    "Flatten": nn.Flatten(), "partial Flatten": nn.Flatten(2), "Unflatten": nn.Unflatten(1, (2, 2)),
    "PixelShuffle": nn.PixelShuffle(2), "ChannelShuffle": nn.ChannelShuffle(2), "ZeroPad2d": nn.ZeroPad2d((1, 2, 0, 1)),
    "ReflectionPad2d": nn.ReflectionPad2d(1), "ReplicationPad2d": nn.ReplicationPad2d(2),
    "CircularPad2d": nn.CircularPad2d(1), "Unfold": nn.Unfold(2, padding=1),
}  # fmt: skip


def shuffled(x):
    n, c, h, w = x.size()
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)


def windows(x):
    b, c, h, w = x.shape
    x = x.view(b, c, 1, h, 2, w // 2).permute(0, 2, 4, 3, 5, 1).reshape(b * 2, h * (w // 2), c)
    x = x.view(b, 2, h * (w // 2), c)
    return x.permute(0, 3, 1, 2)


def padded_to_even(x):
    h = x.shape[-2]
    return functional.pad(x, (0, 0, 0, h % 2)) if h % 2 else x


def by_parts(x):
    first, second = x.chunk(2, dim=1)
    return torch.cat((second, first), 1)


CALLS = {
    "flatten": lambda x: torch.flatten(x, 1), "flatten of a tensor": lambda x: x.flatten(2),
    "view": lambda x: x.view(x.size(0), -1), "reshape": lambda x: x.reshape(x.shape[0], -1, 2),
    "reshape of torch": lambda x: torch.reshape(x, (-1, 48)), "permute": lambda x: x.permute(0, 2, 3, 1),
    "transpose": lambda x: torch.transpose(x, 1, 2), "swapaxes": lambda x: torch.swapaxes(x, -1, -2),
    "movedim": lambda x: x.movedim(1, -1), "squeeze": lambda x: x.unsqueeze(2).squeeze(2), "mT": lambda x: x.mT,
    "unflatten": lambda x: x.unflatten(1, (2, 2)), "roll": lambda x: torch.roll(x, shifts=(-1, 2), dims=(2, 3)),
    "flip": lambda x: x.flip(1), "rot90": lambda x: torch.rot90(x, 1, (2, 3)), "slices": lambda x: x[..., 0::2, 1:],
    "one": lambda x: x[:, 0], "new dimension": lambda x: x[:, None, 1:3], "narrow": lambda x: x.narrow(1, 1, 2),
    "select": lambda x: x.select(1, 2), "expand": lambda x: x.unsqueeze(2).expand(-1, -1, 3, -1, -1),
    "repeat": lambda x: x.repeat(1, 2, 1, 1), "repeat_interleave": lambda x: x.repeat_interleave(2, dim=1),
    "chunk": by_parts, "split": lambda x: torch.split(x, [1, 3], 1)[1], "unbind": lambda x: torch.unbind(x, 1)[2],
    "three parts": lambda x: x.chunk(3, 2)[1] if x.dim() == 4 else x, "shuffle": shuffled, "windows": windows,
    "by its size": padded_to_even, "list of sizes": lambda x: x.reshape(*x.shape[:2], x.shape[2] * x.shape[3]),
    "stack": lambda x: torch.stack([x[:, 0], x[:, 1], x[:, 0]], dim=2), "pad": lambda x: functional.pad(x, (1, 0, 2, 1)),
    "circular pad": lambda x: functional.pad(x, (1, 1, 1, 1), mode="circular"),
    "pixel_shuffle": lambda x: functional.pixel_shuffle(x, 2), "iterated": lambda x: torch.cat(list(x.split(2, 1)), 1),
    "maximum": lambda x: x.max(dim=2)[0], "extreme": lambda x: torch.amax(x, (2, 3)), "topk": lambda x: x.topk(2, 1)[0],
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_modules_hand_relevance_back(name):
    assert_way(MODULES[name], SHAPE, moved)


@pytest.mark.parametrize("name", CALLS)
def test_calls_hand_relevance_back(name):
    assert_way(Function(CALLS[name]), SHAPE, moved)


class WithToken(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how
        self.token = nn.Parameter(torch.randn(1, 1, 3))

    def forward(self, x):
        token = self.token.expand(x.shape[0], -1, -1)
        return torch.cat([token, x], dim=1) if self.how == "cat" else torch.stack([token.expand_as(x), x], dim=1)


@pytest.mark.parametrize("how", ["cat", "stack"])
def test_a_class_token_keeps_its_part(how):
    inner = WithToken(how)
    assert_way(inner, (4, 3), moved)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.Unflatten(1, (4, 3)), inner, nn.Flatten())
    network.append(nn.Linear(network.double()(torch.zeros(1, 16, dtype=torch.float64)).shape[1], 3).double())
    images, target = torch.rand(2, 1, 4, 4, dtype=torch.float64), torch.tensor([0, 2])
    kept = explanations.kept_by_layer(Posterior.of(network), images, target)
    assert set(kept) == {"1", f"3.{how}()", "5"}
    assert kept[f"3.{how}()"].abs().min() > 1e-6


def test_padding_with_a_number_keeps_its_part():
    assert_way(nn.ConstantPad1d(1, 0.5), (2, 4), moved)
    assert_way(Function(lambda x: functional.pad(x, (1, 1), value=2.0)), (2, 4), moved)


def test_what_is_put_elsewhere_among_the_images_is_refused():
    class Rolled(nn.Module):
        def forward(self, x):
            return x.roll(1, 0)

    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), Rolled())
    with pytest.raises(ValueError, match="act on each image by itself"):
        explanations.lrp(Posterior.of(network), torch.rand(2, 1, 4, 4), torch.tensor([0, 2]))
