"""The chapter on attacks: its tables, figures and sentences."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from relevance import attacks, explanations, figures, gallery, report, robustness
from relevance.explanations import Epsilon


@pytest.fixture
def galleries(dense_posterior, some_images, some_labels):
    given = {"rule": Epsilon(0.1), "top_percent": 25, "n_steps": 3, "seed": 1}
    return {
        "one": gallery.gallery(dense_posterior[0], some_images, some_labels, 0.2, **given),
        "five": gallery.gallery(dense_posterior, some_images, some_labels, 0.2, **given),
    }


def test_a_gallery_holds_what_the_attacks_give(galleries, dense_posterior, some_images, some_labels):
    found = galleries["five"]
    target = dense_posterior.predict(some_images).argmax(1)
    assert torch.equal(found.target, target)
    assert found.attacks == [
        "random corners", "FGSM", "PGD", "top-k", "top-k as written", "target region", "target map",
    ]  # fmt: skip
    assert torch.equal(found.images["clean"], some_images)
    assert torch.equal(found.images["FGSM"], attacks.fgsm(dense_posterior, some_images, some_labels, 0.2))
    for name, images in found.images.items():
        assert (images - some_images).abs().max() <= 0.2 + 1e-12
        maps = explanations.lrp(dense_posterior, images, target, rule=Epsilon(0.1))
        assert torch.allclose(found.maps[name], maps)
    table = found.table()
    overlap = robustness.lrp_robustness(found.maps["clean"], found.maps["top-k"], 25).mean().item()
    assert table.loc["top-k", "overlap"] == pytest.approx(overlap)
    assert (table.loc[["top-k", "top-k as written", "target region", "target map"], "same class"] == 1).all()
    region = attacks.random_region((1, 4, 4), 25, 1)
    reached = [(found.maps[name] * region).flatten(1).sum(1).mean().item() for name in ("clean", "target region")]
    assert table.loc["target region", ["aim, clean", "aim, attacked"]].tolist() == pytest.approx(reached)
    assert reached[1] > reached[0]
    assert table.loc["target map", "aim, attacked"] < table.loc["target map", "aim, clean"]
    assert table["linf"].max() <= 0.2 + 1e-12
    with pytest.raises(ValueError, match="attack is 'none'; it may be one of: FGSM, PGD, random corners"):
        found.scores("none")


def test_differences_are_paired_by_image(galleries):
    found = gallery.differences(galleries, "one", "five")
    pair = [galleries[name].scores("PGD")["lrp_robustness"].to_numpy() for name in ("one", "five")]
    assert found.loc["PGD", "mean"] == pytest.approx(robustness.paired_difference(*pair).mean)
    with pytest.raises(ValueError, match="model is 'ten'; it may be one of: five, one"):
        gallery.differences(galleries, "one", "ten")


def test_sentences_follow_the_tables(galleries):
    said = report.attacks_on_explanations(galleries)
    for name, found in galleries.items():
        overlap = found.table()["overlap"]
        assert f"{name}: least is left by {overlap.idxmin()} ({overlap.min():.0%})" in said
        weak = overlap.drop("random corners")[lambda left, noise=overlap["random corners"]: left >= noise]
        (line,) = [line for line in said.splitlines() if line.startswith(f"- {name}:")]
        assert all(attack in line for attack in weak.index)
        assert ("says nothing for the network" in line) == bool(len(weak))
    compared = pd.DataFrame({"direction": [1, -1, 0], "n_images": 6}, index=["FGSM", "PGD", "top-k"])
    assert report.by_attack(compared, "one", "five") == (
        "Over the same 6 images, five keeps, compared with one, more under FGSM; less under PGD; not distinguishably more "
        "or less under top-k."
    )
    assert report.by_attack(compared.iloc[:1], "one", "five").endswith("compared with one, more under FGSM.")


def test_the_evaluation_is_put_in_words(dense_posterior, some_images, some_labels):
    small = {"n_steps": 2, "n_restarts": 1, "n_queries": 4, "progress": False}
    tables = {
        name: attacks.evaluate(model, some_images, some_labels, 0.2, **small)
        for name, model in (("one", dense_posterior[0]), ("five", dense_posterior))
    }
    said = report.evaluation(tables, {"one": [], "five": ["A.", "B."]})
    worst = tables["five"].loc["worst of all", "accuracy"]
    assert f"five from {tables['five'].loc['none', 'accuracy']:.1%} to {worst:.1%}" in said
    assert "- **one**: no reason for doubt was found." in said
    assert "- **five**: A. B." in said
    both = report.side_by_side(tables, "accuracy")
    assert list(both.index) == list(tables["five"].index)
    assert pd.isna(both.loc["PGD, margin, other draws", "one"])
    assert "nan" not in report.table(both).to_html()

    rows = pd.concat(
        [
            rows.reset_index().assign(
                posterior=name, concerns=concerns, samples=n, images=6, epsilon=0.2, date="2026-01-01", hardware="CPU",
                converged="" if n == 1 else "no", queries=4, versions="torch 2",
                **{"total seconds": 90, "PGD steps": 2},
            )
            for (name, rows), concerns, n in zip(tables.items(), (None, "C."), (1, 5), strict=True)
        ]
    )  # fmt: skip
    text = report.recorded_evaluation(rows).data
    assert "- **one** (1 sample): no doubt." in text
    assert "- **five** (5 samples): C." in text
    assert "The chains of five have **not** converged." in text
    assert (
        "6 test images, size of the ball 0.2; PGD with 2 steps from one random start, 4 squares; 3 minutes together; torch 2."
        in text
    )


def test_figures_draw_the_images_and_the_curves(galleries):
    figure = figures.attack_gallery(galleries, 2, ["FGSM", "top-k"])
    axes = [axis for axis in figure.axes if axis.images]
    assert len(axes) == 12
    drawn = axes[1].images[0].get_array()
    assert drawn.tolist() == pytest.approx(galleries["one"].images["FGSM"][2, 0].numpy())
    overlap = galleries["one"].scores("top-k")["lrp_robustness"][2]
    assert axes[5].get_xlabel() == f"overlap {overlap:.2f}"

    by_epsilon = {"one": pd.DataFrame({"epsilon": [0, 0.5], "accuracy": [1, 0.25]})}
    by_steps = {"one": pd.DataFrame({"step": [0, 1, 2], "loss": [1, 3, 2], "best": [1.0, 3.0, 3.0]})}
    left, right = figures.attack_curves(by_epsilon, by_steps).axes
    assert left.lines[0].get_ydata().tolist() == [1, 0.25]
    assert right.lines[0].get_ydata().tolist() == [0, 1, 1]
