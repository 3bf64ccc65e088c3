from __future__ import annotations

from relevance.pages.interactive import scene_figure
from relevance.pages.interactive.scene import Choice


def test_the_figure_has_a_panel_for_each_thing(scene):
    figure = scene_figure.scene(scene.view(Choice()), scene.study.data.classes, 20)
    assert [axis.get_title() for axis in figure.axes] == [*scene_figure.SCENE_TITLES, "probability"]
