from __future__ import annotations

import math

import pytest

from relevance.studies.zeng import source

pytestmark = pytest.mark.stochastic


# Settings


def test_the_source_has_fourteen_settings_of_pgd():
    assert len(source.PGD_SETTINGS) == 14
    assert len(source.settings()) == 10
    assert [one.name for one in source.PGD_SETTINGS[-2:]] == ["PGD-linf 16/255"] * 2
    assert {one.n_steps for one in source.PGD_SETTINGS} == {20, 40}
    assert source.settings(["distillation"])["distillation"].temperature == 100


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_a_scaled_radius_changes_each_pixel_as_much_as_the_source_s(shape):
    size = math.prod(shape)
    found = source.scaled_epsilon(1.5, "l2", shape)
    assert found / math.sqrt(size) == pytest.approx(1.5 / math.sqrt(3072))
    assert source.scaled_epsilon(8 / 255, "linf", shape) == 8 / 255
