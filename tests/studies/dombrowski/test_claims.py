"""Verdicts on the second source, on planted tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from relevance.studies import records
from relevance.studies.dombrowski import claims
from relevance.studies.dombrowski.smoothing import AWARE, UNAWARE

N = 120


def manipulations(successes, model="deterministic"):
    """Rows in which a share of the images is manipulated, by method."""
    rows = []
    for method, share in successes.items():
        target = np.where(np.arange(N) < share * N, 0.9, 0.1)
        for change in ("manipulated", "noise"):
            rows.append(pd.DataFrame({
                "model": model, "method": method, "image": range(N), "change": change, "correlation_target": target,
                "correlation_origin": 0.5, "output_change": 0.0, "label_kept": True, "before": 0.1, "l2": 1.0}))  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def test_all_methods_some_or_none():
    assert claims.all_methods(manipulations({"gradient": 1.0, "LRP": 0.9})).verdict == "higher in all 2 (one run)"
    assert claims.all_methods(manipulations({"gradient": 0.0, "LRP": 0.1})).verdict == "lower in all 2 (one run)"
    found = claims.all_methods(manipulations({"gradient": 1.0, "LRP": 0.1}))
    assert found.verdict == "higher in 1 of 2, lower in 1 (one run)"
    assert found.cells["standing"].to_dict() == {"gradient": "higher", "LRP": "lower"}
    assert found.evidence == "Images manipulated, of 120, beside a half: gradient 100%, LRP 10%."
    assert claims.all_methods(manipulations({"gradient": 0.5})).verdict == "undecided (one run)"
    few = manipulations({"gradient": 1.0})
    assert claims.all_methods(few[few["image"] < 99]).verdict == "not judged: too few images"


def test_the_posterior_is_compared_method_by_method():
    single = manipulations({"gradient": 1.0, "LRP": 1.0})
    bayes = manipulations({"gradient": 0.0, "LRP": 0.0}, "Bayesian, 10")
    up = bayes.assign(
        correlation_origin=0.5 + np.where(bayes["method"] == "LRP", 0.2, 0.0) + 1e-3 * (bayes["image"] % 7)
    )
    better = pd.concat([single, up], ignore_index=True)
    assert claims.posterior_resists(better).verdict == "higher in 1 of 2, equivalent in 1 (one run)"
    worse = pd.concat([single, bayes.assign(correlation_origin=0.3)], ignore_index=True)
    assert claims.posterior_resists(worse).verdict == "lower in all 2 (one run)"
    assert claims.posterior_resists(single)[:2] == ("not judged: no such setting", "This run has no Bayesian network.")


def smoothed(values):
    noise = np.random.default_rng(0).uniform(0, 0.01, N)
    parts = []
    for (name, parameter, how), value in values.items():
        setting = {"defence": name, "parameter": parameter, "manipulation": how}
        parts.append(pd.DataFrame({**setting, "image": range(N), "similarity": value + noise}))
    return pd.concat(parts, ignore_index=True)


def test_smoothing_is_judged_for_each_attacker():
    plain = {("none", 0.0, how): 0.5 for how in (UNAWARE, AWARE)}
    found = {**plain, ("softplus", 1.0, UNAWARE): 0.8, ("softplus", 1.0, AWARE): 0.3,
             ("softplus", 9.0, UNAWARE): 0.6, ("softplus", 9.0, AWARE): 0.7}  # fmt: skip
    assert claims.smoothing_helps(UNAWARE)(smoothed(found)).verdict == "higher in all 2 (one run)"
    judged = claims.smoothing_helps(AWARE)(smoothed(found))
    assert judged.verdict == "higher in 1 of 2, lower in 1 (one run)"
    assert judged.cells["standing"].to_dict() == {"1": "lower", "9": "higher"}


def test_each_defence_has_the_setting_that_half_of_the_images_choose():
    plain = {("none", 0.0, AWARE): 0.5, ("softplus", 1.0, AWARE): 0.6, ("softplus", 9.0, AWARE): 0.7,
             ("SmoothGrad", 0.1, AWARE): 0.5, ("NoiseGrad", 0.1, AWARE): 0.5, ("posterior", 50.0, AWARE): 0.9}  # fmt: skip
    rows = smoothed(plain)
    more = pd.concat([rows, rows.assign(image=rows["image"] + N)], ignore_index=True)
    assert claims.posterior_beats_smoothing(more).verdict == "higher in all 3 (one run)"
    # On the images that do not choose, softplus is better yet.
    judging = (more["image"] % 2 == 1) & (more["defence"] == "softplus")
    better = more.assign(similarity=more["similarity"].where(~judging, 0.95))
    found = claims.posterior_beats_smoothing(better)
    assert found.cells["standing"].to_dict() == {
        "softplus": "lower", "SmoothGrad": "higher", "NoiseGrad": "higher",
    }  # fmt: skip
    assert "softplus 0.95 [0.95, 0.95]" in found.evidence
    # Half of these images would be too few.
    assert claims.posterior_beats_smoothing(rows).verdict == "not judged: too few images"


def test_every_claim_on_the_second_source_has_a_verdict():
    rows = claims.claimed()
    assert (rows["verdict"].str.len() > 0).all()
    assert (rows["evidence"].str.len() > 20).all()
    assert set(rows.index) == {claim.text for claim in claims.CLAIMS}


def test_there_is_no_verdict_on_a_posterior_of_unmixed_chains(monkeypatch):
    monkeypatch.setattr(records, "is_unmixed", lambda *_: False)
    given = claims.claimed()
    monkeypatch.setattr(records, "is_unmixed", lambda *_: True)
    found = claims.claimed()["verdict"]
    gated = given.index.isin([one.text for one in claims.CLAIMS if "posterior" in one.judge.__name__])
    assert found[gated].str.startswith("not judged").all()
    assert (found[~gated] == given["verdict"][~gated]).all()
