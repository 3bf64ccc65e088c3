"""Cells of the table are what the switches say, and its numbers those of the images."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
import torch

from oracles import louder
from relevance import attacks, explanations, metrics
from relevance.explanations import Epsilon, Gamma
from relevance.studies.carbone import released, why
from relevance.studies.carbone.released import Switches
from relevance.studies.carbone.why import Cell
from relevance.studies.experiment import Settings

SETTINGS = Settings(0.1, Epsilon(0.1), 25)


def test_every_switch_has_a_name_and_a_cell():
    assert list(why.CALLED) == [one.name for one in fields(Switches)]
    on = [{name for name, value in vars(cell.switches).items() if value} for cell in why.grid() + why.on_explanations()]
    assert {name for names in on for name in names} == set(why.CALLED)
    assert len({tuple(vars(cell).values()) for cell in why.grid()}) == len(why.grid())


@pytest.mark.parametrize("objective", ["mean_loss", "margin"])
def test_each_switch_is_on_alone_all_are_and_all_but_one(objective):
    cells = [cell for cell in why.grid() if cell.objective == objective and cell.kind == "FGSM" and not cell.rule]
    full = {cell.name: sum(vars(cell.switches).values()) for cell in cells if not cell.matched}
    names = [why.CALLED[name] for name in why.ON_PREDICTIONS]
    assert full == {"as described": 0, **dict.fromkeys(names, 1), "all": 4, **{f"all but {name}": 3 for name in names}}
    matched = [cell for cell in cells if cell.matched]
    # The control of averaged images is FGSM of its size with everything else alike.
    assert [cell.switches for cell in matched] == [
        Switches(),
        Switches(own_class=True, signed_top=True, own_slope=True),
    ]


@pytest.fixture
def given(dense_posterior, some_images, some_labels):
    return dense_posterior, some_images, some_labels


def test_off_is_the_printed_attack_on_the_class_predicted_before(given):
    posterior, images, labels = given
    rows = why.measured(*given, [Cell()], SETTINGS)
    attacked = attacks.fgsm(posterior, images, labels, 0.1, objective="mean_loss")
    target = posterior.predict(images).argmax(1)
    maps = [explanations.lrp(posterior, some, target, rule=Epsilon(0.1)) for some in (images, attacked)]
    assert rows["lrp_robustness"].tolist() == metrics.lrp_robustness(*maps, 25).tolist()
    assert rows["unrelated_lrp_robustness"].tolist() == metrics.unrelated_robustness(*maps, 25).tolist()
    assert rows["ceiling_lrp_robustness"].tolist() == metrics.lrp_robustness(maps[0], maps[0], 25).tolist()
    assert (
        rows["softmax_robustness"].tolist()
        == metrics.softmax_robustness(posterior.predict(images), posterior.predict(attacked)).tolist()
    )
    assert rows["attacked_class"].tolist() == posterior.predict(attacked).argmax(1).tolist()
    assert rows["mean_change"].tolist() == [1] * 6
    first = rows.iloc[0]
    assert first[["cell", "attack", "size", "rule"]].tolist() == [
        "as described",
        "FGSM on the mean loss",
        "full",
        "epsilon",
    ]


def test_every_switch_acts_where_it_is_told_to(given):
    posterior, images, labels = given
    on = Switches(averaged_images=True, own_class=True, signed_top=True, own_slope=True)
    rows = why.measured(*given, [Cell("all", on)], SETTINGS)
    attack = attacks.Attack("FGSM", 0.1, "mean_loss")
    moved = released.attacked(posterior, images, labels, attack, Epsilon(0.1), on)
    target = posterior.predict(images).argmax(1)
    maps = [released.maps(posterior, some, target, attack, Epsilon(0.1), on) for some in (images, moved)]
    assert rows["lrp_robustness"].tolist() == released.robustness(*maps, 25, on).tolist()
    gamma = why.measured(*given, [Cell("gamma squared", Switches(squared_gamma=True), rule="gamma")], SETTINGS)
    attacked = attacks.fgsm(posterior, images, labels, 0.1, objective="mean_loss")
    maps = [explanations.lrp(posterior, some, target, rule=released.SquaredGamma(0.1)) for some in (images, attacked)]
    assert gamma["lrp_robustness"].tolist() == metrics.lrp_robustness(*maps, 25).tolist()
    assert gamma["rule"].unique() == ["gamma"]
    plain = [explanations.lrp(posterior, some, target, rule=Gamma(0.1)) for some in (images, attacked)]
    described = why.measured(*given, [Cell(rule="gamma")], SETTINGS)
    assert described["lrp_robustness"].tolist() == metrics.lrp_robustness(*plain, 25).tolist()


def test_a_matched_attack_changes_as_much_as_averaged_images(given):
    averaged = Switches(averaged_images=True)
    rows = why.measured(*given, [Cell("a", averaged), Cell("a", matched=True)], SETTINGS)
    change = rows.pivot(index="image", columns="size", values="mean_change")
    assert np.allclose(change["full"], change["matched"], atol=1e-9)
    assert (change["full"] < 1).all()


def test_shrinking_goes_towards_the_image_and_stays_in_it():
    images = torch.full((3, 1, 1, 2), 0.5)
    attacked = images + torch.tensor([[0.2, -0.2], [0.2, 0.0], [0.0, 0.0]]).reshape(3, 1, 1, 2)
    found = why.shrunk(images, attacked, torch.tensor([0.1, 0.3, 0.1]))
    assert torch.allclose(found.flatten(1), torch.tensor([[0.6, 0.4], [1.0, 0.5], [0.5, 0.5]]))


def test_masked_images_do_not_move(given):
    sure, images = louder(given[0], 1e6), given[1]
    rows = why.measured(
        sure[0], images, sure[0].predict(images).argmax(1), [Cell(), Cell(objective="margin")], SETTINGS
    )
    by_objective = rows.groupby("attack")["gradient_is_zero"].mean()
    assert by_objective["FGSM on the mean loss"] == 1
    assert by_objective["FGSM on the margin"] == 0
    frozen = rows[rows["attack"] == "FGSM on the mean loss"]
    assert (frozen["mean_change"] == 0).all()
    assert frozen["lrp_robustness"].tolist() == frozen["ceiling_lrp_robustness"].tolist()
    assert (frozen["softmax_robustness"] == 1).all()
    # Where the printed FGSM changes nothing, changes are shares of its size.
    moved = rows[rows["attack"] == "FGSM on the margin"]
    assert moved["mean_change"].between(0.5, 1).all()


def test_attacks_on_explanations_are_the_paper_s_with_its_steps(given):
    cells = why.on_explanations()
    assert {cell.kind for cell in cells} == {"top-k", "target region", "target map"}
    attack = next(cell for cell in cells if cell.kind == "top-k").attack(0.2)
    assert (attack.n_steps, attack.step_size, attack.top_percent) == (10, 0.5, 20)
    assert next(cell for cell in cells if cell.kind == "target map").attack(0.2).step_size == 0.01
    rows = why.measured(given[0][:1], given[1], given[2], cells, SETTINGS)
    both = rows[rows["cell"] == "all"].pivot(index="image", columns="attack", values="lrp_robustness")
    assert (both["top-k"] == both["target region"]).all()


def made_up(n=40, **columns):
    generator = np.random.default_rng(0)
    place = {"recipe": "a", "cell": "c", "attack": "FGSM", "size": "full", "rule": "epsilon", "seed": 0}
    rows = {"image": range(n), "label": 1, "clean_class": 1, "attacked_class": 1, "lrp_robustness": generator.random(n),
            "unrelated_lrp_robustness": 0.2, "ceiling_lrp_robustness": 1.0, "softmax_robustness": generator.random(n),
            "gradient_is_zero": False, "mean_change": 1.0}  # fmt: skip
    return pd.DataFrame({**place, **rows, **columns})


def test_a_summary_has_the_means_and_correlations_of_its_images():
    half = np.arange(40) % 2
    rows = made_up(attacked_class=1 + half, mean_change=1.0 - half, gradient_is_zero=half == 1)
    row = why.summary(rows).iloc[0]
    assert row["accuracy"] == 1
    assert row["accuracy under attack"] == row["class changed"] == row["zero gradients"] == row["mean change"] == 0.5
    assert row["k-LRP"] == pytest.approx(rows["lrp_robustness"].mean())
    assert row["median"] == pytest.approx(rows["lrp_robustness"].median())
    assert (row["floor"], row["ceiling"], row["images"]) == (0.2, 1.0, 40)
    found = metrics.spearman(rows["softmax_robustness"].to_numpy(), rows["lrp_robustness"].to_numpy())
    assert (row["rho"], row["rho, low"], row["rho, high"]) == (found.rho, found.low, found.high)
    part = rows[half == 0]
    among = metrics.spearman(part["softmax_robustness"].to_numpy(), part["lrp_robustness"].to_numpy()).rho
    assert row["rho, class kept"] == row["rho, moved"] == among
    assert row["above half"] == (rows["softmax_robustness"] > 0.5).mean()


def test_few_images_have_no_correlation():
    assert np.isnan(why.summary(made_up(n=9)).loc[0, "rho"])


def test_tables_put_the_recipes_together(given, own_store):
    posterior, images, labels = given
    rows = why.table({"five": posterior, "one": posterior[0]}, images, labels, [Cell()], SETTINGS)
    assert rows.groupby("recipe", sort=False).size().to_dict() == {"five": 6, "one": 6}
    alone = why.measured(posterior[0], images, labels, [Cell()], SETTINGS)
    assert rows[rows["recipe"] == "one"]["lrp_robustness"].tolist() == alone["lrp_robustness"].tolist()
    with pytest.raises(ValueError, match="switch is 'up'; it may be one of"):
        why.switched("up")
