from __future__ import annotations

import torch

from relevance import explanations, metrics


def test_the_table_has_a_row_for_each_map_and_image(dense_posterior, some_images, some_labels):
    slopes = explanations.gradient(dense_posterior, some_images, some_labels)
    maps = {"gradient": slopes, "gradient x input": slopes * some_images, "constant": torch.ones_like(slopes)}
    rows = metrics.table(
        dense_posterior,
        some_images,
        some_labels,
        maps,
        model="some",
        contributions=["gradient x input", "constant"],
        baseline="black",
        size=2,
    )
    assert len(rows) == 18
    assert rows["infidelity"].between(0, 1 + 1e-9).all()
    # The control and a constant map are the same thing.
    assert rows.loc[rows["map"] == "constant", "deletion gain"].abs().max() < 1e-12
    curve = metrics.deletion(
        dense_posterior, some_images, some_labels, slopes, measure="magnitude", n_orders=10, baseline="black"
    )
    area = metrics.deletion_area(curve)
    torch.testing.assert_close(torch.tensor(rows.loc[rows["map"] == "gradient", "deletion area"].to_numpy()), area)
