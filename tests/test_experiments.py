from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from relevance import attacks, experiments, explanations, figures, report, robustness
from relevance.experiments import Settings
from relevance.explanations import Epsilon

SETTINGS = Settings(epsilon=0.05, rule=Epsilon(0.1), top_percent=25)


@pytest.fixture
def outcomes(dense_posterior, some_images, some_labels):
    models = {"deterministic": dense_posterior[0], "5 samples": dense_posterior}
    return experiments.attack_and_explain_all(models, some_images, some_labels, SETTINGS)


@pytest.fixture
def table(outcomes):
    return experiments.robustness_table(outcomes)


def test_an_outcome_explains_the_clean_class_before_and_after(dense_posterior, some_images, some_labels):
    outcome = experiments.attack_and_explain(dense_posterior, some_images, some_labels, Settings(0.5, Epsilon(0.1), 25))
    attacked = attacks.fgsm(dense_posterior, some_images, some_labels, 0.5)
    target = dense_posterior.predict(some_images).argmax(1)
    assert not torch.equal(dense_posterior.predict(attacked).argmax(1), target)  # or the test would show nothing
    assert torch.equal(outcome.attacked, attacked)
    for images, maps in ((some_images, outcome.before), (attacked, outcome.after)):
        assert torch.allclose(maps, explanations.lrp(dense_posterior, images, target, rule=Epsilon(0.1)))
    assert torch.equal(outcome.lrp_robustness, robustness.lrp_robustness(outcome.before, outcome.after, 25))


def test_an_attack_has_failed_if_the_class_was_right_and_stayed(outcomes):
    outcome = outcomes["5 samples"]
    for index in range(6):
        clean = outcome.before_probabilities[index].argmax()
        attacked = outcome.after_probabilities[index].argmax()
        assert outcome.failed[index] == (clean == attacked == outcome.labels[index])


def test_the_table_has_a_row_for_each_model_and_image(table, outcomes):
    assert len(table) == 12
    assert not table.duplicated(["model", "image"]).any()
    first = table[(table["model"] == "5 samples") & (table["image"] == 2)].iloc[0]
    outcome = outcomes["5 samples"]
    assert first["n_samples"] == 5
    assert first["lrp_robustness"] == outcome.lrp_robustness[2].item()
    assert first["softmax_robustness"] == outcome.softmax_robustness[2].item()
    assert first["attack_linf"] == pytest.approx(0.05)
    assert first["label"] == 2
    assert not table["gradient_is_zero"].any()


def made_up(first, second, name="10 samples", n_samples=10):
    rows = [
        {
            "model": model,
            "n_samples": count,
            "image": image,
            "lrp_robustness": score,
            "excess_lrp_robustness": score - 0.2,
        }
        for model, count, scores in (("deterministic", 1, first), (name, n_samples, second))
        for image, score in enumerate(scores)
    ]
    return pd.DataFrame(rows).assign(
        **{"clean_class": 0, "attacked_class": 0, "label": 0, "gradient_is_zero": False},
        **{"softmax_robustness": 0.5, "unrelated_lrp_robustness": 0.2, "ceiling_lrp_robustness": 1.0},
    )


def test_differences_are_paired_by_image_whatever_the_order_of_rows():
    scores = np.linspace(0.1, 0.6, 20)
    table = made_up(scores, scores + 0.1).sample(frac=1, random_state=0)
    found = experiments.paired_differences(table, "deterministic").loc["10 samples"]
    assert found["mean"] == pytest.approx(0.1)
    assert found["low"] == pytest.approx(0.1)
    assert found["direction"] == 1
    with pytest.raises(ValueError, match="baseline is 'nobody'; it may be one of: 10 samples, deterministic"):
        experiments.paired_differences(table, "nobody")


def test_the_summary_has_means_and_accuracies():
    table = made_up([0.2, 0.4], [0.6, 1.0])
    table.loc[0, ["clean_class", "attacked_class"]] = [0, 1]
    found = experiments.summary(table)
    assert found.loc["deterministic", "accuracy"] == 1
    assert found.loc["deterministic", "accuracy under attack"] == 0.5
    assert found.loc["10 samples", "LRP robustness"] == pytest.approx(0.8)
    assert list(found.index) == ["deterministic", "10 samples"]


class FakeOutcome:
    def __init__(self, failed, scores):
        self.failed = torch.tensor(failed)
        self.lrp_robustness = torch.tensor(scores, dtype=torch.float64)


def test_the_representative_image_is_usual_among_failed_attacks():
    first = FakeOutcome([True, True, True, True, False], [0.1, 0.5, 0.9, 0.5, 0.5])
    second = FakeOutcome([True, True, True, False, True], [0.2, 0.6, 0.7, 0.6, 0.6])
    assert experiments.representative({"a": first, "b": second}) == 1
    assert "On 3 of 5 images all models are right" in report.failed_attacks({"a": first, "b": second}, 1)


def test_without_a_failed_attack_that_is_said():
    none = FakeOutcome([False, False, False], [0.9, 0.5, 0.1])
    shown = experiments.representative({"a": none})
    assert shown == 1
    assert "no failed attack can be shown" in report.failed_attacks({"a": none}, shown)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"epsilon": -1}, "epsilon is -1"), ({"top_percent": 0}, "top_percent is 0; it must be a finite number above 0")],
)
def test_bad_settings_get_a_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{"epsilon": 0.1, "rule": Epsilon(), "top_percent": 20, **change})


class FakePosterior:
    def __init__(self, **diagnostics):
        found = {"n_samples": 100, "acceptance_rate": 0.8, "step_sizes": [0.01], "rhat_median": 1.01,
                 "rhat_95": 1.02, "rhat_max": 1.03,
                 "ess_median": 80.0, "ess_min": 40.0, "converged": True}  # fmt: skip
        self.record = {"diagnostics": found | diagnostics, "settings": {"n_chains": 1, "warmup": 50}}


class FakeData:
    name = "digits"


SCORED = Settings(0.1, Epsilon(), 20)


def answer(table, **diagnostics):
    return report.answer(table, FakeData(), FakePosterior(**diagnostics), SCORED).data


@pytest.mark.parametrize(
    ("shift", "verdict", "words"),
    [
        (0.1, "is **more robust** than", "a difference of +0.100 (95 % interval +0.100 to +0.100) over 20 images"),
        (-0.1, "is **less robust** than", "a difference of \N{MINUS SIGN}0.100"),
        (0.0, "**cannot be told apart** in robustness from", "a difference of 0.000"),
    ],
)
def test_the_answer_follows_the_numbers(shift, verdict, words):
    scores = np.linspace(0.3, 0.6, 20)
    text = answer(made_up(scores, scores + shift))
    assert verdict in text
    assert words in text
    assert f"{0.45 + shift:.3f} against 0.450" in text
    assert "under a one-step attack of size 0.1 on" in text
    assert "convergence check" not in text
    assert "have not passed this book's convergence check" in answer(made_up(scores, scores), converged=False)


def test_the_verdict_is_withheld_where_the_scaled_score_says_otherwise():
    scores = np.linspace(0.3, 0.6, 20)
    table = made_up(scores, scores + 0.1)
    table.loc[table["model"] == "10 samples", "unrelated_lrp_robustness"] = 0.5
    text = answer(table)
    assert "**in opposite directions by two scores**" in text
    # (0.55 - 0.5) / (1 - 0.5) beside (0.45 - 0.2) / (1 - 0.2).
    assert "as a share of the room above unrelated maps, it is \N{MINUS SIGN}0.212" in text
    table["ceiling_lrp_robustness"] = 0.1
    assert "**by only one of two scores**" in answer(table)


def test_the_answer_is_that_of_the_most_samples_whatever_the_order():
    scores = np.linspace(0.3, 0.6, 20)
    table = pd.concat([
        made_up(scores, scores + 0.2, "100 samples", 100),
        made_up(scores, scores - 0.1, "1 sample", 1).query("model != 'deterministic'"),
    ])  # fmt: skip
    text = answer(table)
    assert "averaged over 100 samples of the posterior is **more robust**" in text
    assert (
        "A single draw of the posterior is less robust than the deterministic network; from it to 100 samples the"
        in text
    )
    assert "difference is +0.300" in text
    assert "A single draw" not in answer(table.query("model != '1 sample'"))
    assert "A single draw" not in answer(table.query("model != '100 samples'"))


def test_images_whose_prediction_stays_are_told_apart():
    scores = np.linspace(0.3, 0.6, 20)
    table = made_up(scores, np.where(np.arange(20) < 12, scores + 0.1, scores - 0.1))
    assert "before and after the attack" not in answer(table)  # all images are such
    table.loc[(table["model"] == "10 samples") & (table["image"] >= 12), "attacked_class"] = 1
    assert (
        "On 12 of them both models predict rightly before and after the attack; there the difference is +0.100"
        in answer(table)
    )
    table.loc[table["image"] >= 5, "clean_class"] = 1
    assert "On 5 of them both models predict rightly before and after the attack: too few" in answer(table)
    single = table[table["model"] == "deterministic"].assign(model="1 sample", attacked_class=1)
    assert "On 5 of them" in answer(pd.concat([table, single]))  # a third model's failures do not count
    assert experiments.surviving(table)["image"].unique().tolist() == [0, 1, 2, 3, 4]


def test_a_comparison_names_each_model_with_its_own_direction():
    scores = np.linspace(0.3, 0.6, 20)
    differences = experiments.paired_differences(made_up(scores, scores - 0.1), "deterministic")
    assert report.comparison(differences, "the deterministic network", "score") == (
        "Compared with the deterministic network over the same 20 images, the mean score is lower with 10 samples, by "
        "\N{MINUS SIGN}0.100 (95 % interval \N{MINUS SIGN}0.100 to \N{MINUS SIGN}0.100)."
    )


def test_what_is_known_of_convergence_is_said():
    assert "The chain passes this book's check" in report.convergence(FakePosterior())
    assert "The chain does **not** pass" in report.convergence(FakePosterior(converged=False))
    assert "it is **not shown**" in report.convergence(FakePosterior(rhat_max=None, converged=False))


def test_a_blind_attack_is_said():
    table = made_up([0.1, 0.2], [0.3, 0.4])
    assert "No image's gradient is zero in every pixel" in report.attack_strength(table)
    table.loc[0, "gradient_is_zero"] = True
    assert "On 1 of 2 (deterministic) images the gradient is exactly zero" in report.attack_strength(table)
    assert "deterministic from 100% to 100%" in report.attack_strength(table)


def test_fidelity_measures_sum_and_likeness(dense_posterior, some_images, some_labels):
    one = dense_posterior[0]
    found = report.fidelity(one, some_images, some_labels, {"0": Epsilon(1e-12), "9": Epsilon(9.0)})
    assert found.loc["0", "correlation with gradient x input"] == pytest.approx(1)
    assert found.loc["9", "correlation with gradient x input"] < 0.999
    maps = explanations.lrp(one, some_images, some_labels, rule=Epsilon(9.0)).flatten(1).sum(1)
    logits = one.logits(some_images)[0].gather(1, some_labels[:, None]).squeeze(1)
    assert found.loc["9", "sum of map / logit"] == pytest.approx((maps / logits).median().item())


def test_figures_are_drawn_and_closed(outcomes, table, some_images, some_labels):
    history = [[{"energy": float(index)} for index in range(10)]]
    drawn = [
        figures.heatmaps(some_images[:3], outcomes["deterministic"].before[:3], ["a", "b", "c"]),
        figures.top_pixels(outcomes["deterministic"], 0),
        figures.failed_attack(outcomes, 5),
        figures.robustness_distributions(table),
        figures.paired_differences(table, "deterministic"),
        figures.chain(history, 4),
    ]
    assert all(isinstance(figure, Figure) for figure in drawn)
    assert not plt.get_fignums()


def test_heatmaps_are_centred_on_zero_with_one_scale(outcomes):
    figure = figures.failed_attack(outcomes, 0)
    for axis in (figure.axes[2], figure.axes[3], figure.axes[7]):
        norm = axis.images[0].norm
        assert (norm.vmin, norm.vcenter, norm.vmax) == (-1, 0, 1)
    assert np.abs(figure.axes[2].images[0].get_array()).max() == pytest.approx(1)


def test_the_overlap_picture_has_as_many_pixels_as_the_score_says(outcomes):
    outcome = outcomes["deterministic"]
    for index in range(6):
        kinds = np.asarray(figures.top_pixels(outcome, index).axes[2].images[0].get_array())
        both, lost = (kinds == 3).sum(), (kinds == 1).sum()
        assert both / (both + lost) == pytest.approx(outcome.lrp_robustness[index].item())


def test_a_figure_of_an_image_that_is_not_there_gets_a_sentence(outcomes, table):
    with pytest.raises(ValueError, match="index is 6; it must be a whole number of at least 0 and at most 5"):
        figures.top_pixels(outcomes["deterministic"], 6)
    with pytest.raises(ValueError, match="score is 'beauty'"):
        figures.robustness_distributions(table, "beauty")


def test_one_image_of_each_class_is_found():
    assert figures.first_of_each_class(torch.tensor([2, 0, 2, 1, 0]), 2) == [1, 3]


def test_both_maps_of_a_row_have_the_clean_map_s_scale(outcomes):
    outcome = outcomes["deterministic"]
    figure = figures.failed_attack(outcomes, 1)
    scale = figures.maps._only_top(outcome.before[1], 25).sum(0).abs().max()
    wanted = figures.maps._only_top(outcome.after[1], 25).sum(0) / scale
    assert np.allclose(figure.axes[3].images[0].get_array(), wanted)


def test_ties_are_drawn_apart_from_what_is_on_top(some_images):
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, 0, :2] = torch.tensor([2.0, -1.0])
    outcome = experiments.Outcome(
        *(some_images[:1], torch.tensor([0]), some_images[:1], torch.ones(1, 3) / 3, torch.ones(1, 3) / 3, maps, maps),
        gradient_is_zero=torch.tensor([False]), top_percent=25, n_samples=1,
    )  # fmt: skip
    kinds = np.asarray(figures.top_pixels(outcome, 0).axes[2].images[0].get_array())
    assert (kinds == 3).sum() == 2
    assert (kinds == 4).sum() == 14
    assert outcome.lrp_robustness.item() == pytest.approx((2 + 14 * (2 / 14) ** 2) / 4)


def test_zero_gradients_are_flagged(dense_posterior, some_images, some_labels, monkeypatch):
    def gradient(posterior, images, labels):
        found = torch.ones_like(images)
        found[2] = 0
        found[3, 0, 0, 0] = 0
        return found

    monkeypatch.setattr(attacks, "loss_gradient", gradient)
    outcome = experiments.attack_and_explain(dense_posterior, some_images, some_labels, SETTINGS)
    assert outcome.gradient_is_zero.tolist() == [False, False, True, False, False, False]


def test_the_ceiling_is_the_score_of_a_map_with_itself(table, outcomes):
    ceiling = robustness.lrp_robustness(outcomes["5 samples"].before, outcomes["5 samples"].before, 25)
    assert table.loc[table["model"] == "5 samples", "ceiling_lrp_robustness"].tolist() == ceiling.tolist()
    excess = table["lrp_robustness"] - table["unrelated_lrp_robustness"]
    assert np.allclose(table["excess_lrp_robustness"], excess)
