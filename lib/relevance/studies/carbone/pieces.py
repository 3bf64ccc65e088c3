"""What of a study can be made side by side: first its models, each of which is a piece, then each attack on each of them.

Everything is made by the study itself, a part at a time; who then asks for its whole table finds all of it in the store. Without
a cluster (``RELEVANCE_CLUSTER``) nothing is made beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pandas as pd

from relevance.studies import parallel
from relevance.studies.carbone import when
from relevance.studies.carbone.study import Study
from relevance.studies.experiment import rows
from relevance.studies.names import BAYESIAN, RULES
from relevance.studies.parallel import Call
from relevance.studies.store import NotKept, nothing_computed


def table(study: Study, attacks: Sequence[str], **settings: Any) -> pd.DataFrame:
    """Return :meth:`relevance.studies.carbone.study.Study.table`, whose pieces are made by the cluster first, if there is one.

    Args:
        study: of which models.
        attacks, settings: as there.
    """
    return _after(lambda: make([study], attacks, **settings), lambda: study.table(attacks, **settings))


def crossing(
    study: Study, samplers: Sequence[Mapping[str, Any]], n_trains: Sequence[int], attacks: Sequence[str]
) -> pd.DataFrame:
    """Return :func:`relevance.studies.carbone.when.crossing`, likewise; arguments as there."""
    others: list[dict[str, Any]] = [{"inference": {**study.inference, **one}} for one in samplers]
    others += [{"n_train": n_train} for n_train in n_trains if n_train != study.n_train]
    return _after(
        lambda: make([study, *(replace(study, **one) for one in others)], attacks, layers=study.layers[-1:]),
        lambda: when.crossing(study, samplers, n_trains, attacks),
    )


def _after(make_pieces: Callable[[], None], whole: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return a table, made from the store alone if all of it is there; else after its pieces, if there is a cluster."""
    if parallel.is_shared_out():
        try:
            with nothing_computed():
                return whole()
        except NotKept:
            make_pieces()
    return whole()


def make(
    studies: Sequence[Study],
    attacks: Sequence[str],
    models: Sequence[str] | None = None,
    *,
    executor: Executor | None = None,
    **settings: Any,
) -> None:
    """Have the models of studies trained, then attacked, side by side.

    Args:
        studies: of which models.
        executor: who makes them; if None, the cluster, as for :func:`relevance.studies.parallel.kept_all`.
        attacks, models, settings: as for :meth:`relevance.studies.carbone.study.Study.table`.
    """
    # Without what they have read, which is more than what they are.
    runs = [(replace(one), run) for one in studies for run in range(one.n_runs)]
    chosen = [(one, run, name) for one, run in runs for name in one._counts if models is None or name in models]
    drawn = [(one, run, BAYESIAN) for one, run in runs if not (run and one._by_chain)]
    # Every chain is a piece, and who starts them is here; a chain alone, and what has no chains, is made elsewhere.
    here = [one for one in drawn if one[0].method == "hmc" and one[0].inference.get("n_chains") != 1]
    there = [one for one in drawn if one not in here] + [one for one in chosen if one[0]._counts[one[2]] is None]
    calls = [Call(one._trained, (name, run), is_kept=False) for one, run, name in there]
    with parallel.spread(executor), ThreadPoolExecutor(1) as thread:
        trained = thread.submit(list, parallel.made_elsewhere(calls, executor))
        # One after the other: what draws weights anew sets the seed of the whole process.
        for one, run, name in here:
            one._trained(name, run)
        trained.result()
    attacked = [Call(_attacked, (*one, attack), settings, is_kept=False) for one in chosen for attack in attacks]
    for _ in parallel.made_elsewhere(attacked, executor):
        pass


def _attacked(
    study: Study,
    run: int,
    model: str,
    attack: str,
    *,
    rules: Sequence[str] = ("epsilon",),
    layers: Sequence[str] | None = None,
    n_images: int | None = None,
    top_percent: float = 20,
) -> None:
    """Make what :meth:`relevance.studies.carbone.study.Study.table` does for one model and one attack."""
    count = study._counts[model]
    posterior = study._trained(model, run) if count is None else study.draws(run).thinned(count)
    images, labels = study.data.balanced_test(n_images or study.n_images, study.seed)
    (how,) = study.attacks([attack])
    chosen = {rule: RULES[rule] for rule in rules}
    rows(posterior, images, labels, attack=how, rules=chosen, layers=layers or study.layers, top_percent=top_percent)
