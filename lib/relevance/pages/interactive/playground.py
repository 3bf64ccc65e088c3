"""The playground in a notebook: choose what to look at, and see image, maps, prediction and scores change.

Where the press prints pages there is no kernel behind them: :func:`playground` then gives the same views computed for a
grid of choices (:mod:`relevance.pages.interactive.scene_page`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import ipywidgets

from relevance.base.environment import printing
from relevance.pages.interactive import scene_figure
from relevance.pages.interactive.jobs import Newest, Training
from relevance.pages.interactive.scene import ATTACKS, MODELS, Choice, Scene, View
from relevance.pages.web import picture
from relevance.studies import names
from relevance.studies.carbone.study import Study
from relevance.studies.names import BAYESIAN

LABEL = {"description_width": "8.5rem"}


def playground(studies: Mapping[str, Study], *, n_images: int = 10, largest: float = 0.3, **grid: Any) -> Any:
    """Return the playground: widgets where there is a kernel, a page's own controls where the press prints.

    Args:
        studies: what to call it -> a study, with its data set and its models; the first is shown first, and is the one that
            the page has.
        n_images: how many images of each a reader can choose from.
        largest: of the attack's sizes, in units of the pixel range.
        grid: for :func:`scene_page.page`: the choices that the printed page has.
    """
    if printing():
        from relevance.pages.interactive.scene_page import page

        return page(Scene(next(iter(studies.values())), n_images), **grid)
    return Playground(studies, n_images=n_images, largest=largest)


class Playground(ipywidgets.VBox):
    """Widgets for the choices of a scene, and the view of it, redrawn in the background when one of them changes.

    Models that are not in the store yet are trained in a process of their own, with its progress shown and a button that
    stops it.

    Attributes:
        choice: what is chosen now.
        view: what is shown; None before anything is.
        seconds: from the last change to its picture.
    """

    def __init__(self, studies: Mapping[str, Study], *, n_images: int = 10, largest: float = 0.3) -> None:
        self._studies, self._n_images = dict(studies), n_images
        self._scenes: dict[str, Scene] = {}
        self._training: Training | None = None
        self.view: View | None = None
        self.seconds = 0.0
        self._controls = _controls(list(studies), n_images, largest)
        self._picture, self._said = ipywidgets.HTML(), ipywidgets.HTML()
        self._status = ipywidgets.HTML()
        self._done = ipywidgets.FloatProgress(max=1.0, layout=ipywidgets.Layout(width="16rem", visibility="hidden"))
        self._stop = ipywidgets.Button(description="Stop", disabled=True, tooltip="Stop the training")
        self._stop.on_click(lambda _: self.stop())
        for control in self._controls.values():
            control.observe(lambda _: self.redraw(), names="value")
        self._newest = Newest(self._show, self._say_error)
        half = (len(self._controls) + 1) // 2
        columns = [ipywidgets.VBox(list(self._controls.values())[part]) for part in (slice(half), slice(half, None))]
        below = ipywidgets.HBox([self._done, self._stop, self._status])
        chosen = ipywidgets.HBox(columns, layout=ipywidgets.Layout(flex_flow="row wrap"))
        super().__init__([chosen, self._picture, self._said, below])
        self.redraw()

    @property
    def choice(self) -> Choice:
        """What is chosen now."""
        return Choice(**{name: control.value for name, control in self._controls.items() if name != "data"})

    def set(self, **choices: Any) -> None:
        """Change choices by name: ``data``, or a field of :class:`scene.Choice`."""
        for name, value in choices.items():
            self._controls[name].value = value

    def redraw(self) -> None:
        """Have what is chosen drawn."""
        self._newest.ask((self._controls["data"].value, self.choice, time.perf_counter()))

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until the picture is that of the choices; return whether it is so after ``timeout`` seconds."""
        return self._newest.settle(timeout)

    def stop(self) -> None:
        """Stop a training; models that are finished are kept."""
        if self._training is not None:
            self._training.stop()

    def close(self) -> None:
        """End the work and the widgets."""
        self.stop()
        self._newest.close()
        super().close()

    def _show(self, asked: tuple[str, Choice, float]) -> None:
        name, choice, since = asked
        scene = self._scene(name)
        if scene is None:
            self._status.value = "Stopped. Change a choice to go on: what is trained is kept."
            return
        self._fit(scene)
        if choice.layer not in scene.layers:
            choice = replace(choice, layer="")
        self.view = view = scene.view(replace(choice, n_samples=min(choice.n_samples, scene.study.n_draws)))
        classes = scene.study.data.classes
        said = view.sentence(classes)
        self._picture.value = picture(scene_figure.scene(view, classes, choice.top_percent), said)
        self._said.value = f'<p role="status">{escape(said)}</p>'
        self.seconds = time.perf_counter() - since
        self._status.value = f"{self.seconds:.2f} s"

    def _scene(self, name: str) -> Scene | None:
        """Return the scene of a study, its models trained; None if the training was stopped."""
        study = self._studies[name]
        if name not in self._scenes:
            if not study.is_trained and not self._trained(study):
                return None
            self._scenes[name] = Scene(study, self._n_images)
        return self._scenes[name]

    def _trained(self, study: Study) -> bool:
        def progress(title: str, share: float) -> None:
            self._status.value, self._done.value = f"{escape(title)} {share:.0%}", share

        self._status.value = "training the models ..."
        self._done.layout.visibility = "visible"
        self._training = Training(study, progress)
        self._stop.disabled = False
        try:
            return self._training.wait()
        finally:
            self._training, self._stop.disabled = None, True
            self._done.layout.visibility = "hidden"

    def _fit(self, scene: Scene) -> None:
        """Offer what this scene has; a choice stays where the scene has it."""
        self._controls["n_samples"].max = scene.study.n_draws
        layer = self._controls["layer"]
        if tuple(layer.options) != tuple(scene.layers):
            layer.options, layer.value = tuple(scene.layers), scene.layers[-1]

    def _say_error(self, error: Exception) -> None:
        self._status.value = f'<span role="alert">{escape(str(error))}</span>'


def _controls(data: Sequence[str], n_images: int, largest: float) -> dict[str, Any]:
    """Return a widget for each choice."""
    # Made here: a notebook keeps what is made when the library is imported, wanted or not.
    given: dict[str, Any] = {"style": LABEL, "layout": ipywidgets.Layout(width="26rem", max_width="100%")}
    start = Choice()
    return {
        "data": ipywidgets.Dropdown(options=data, description="data and network", **given),
        "image": ipywidgets.IntSlider(0, 0, n_images - 1, description="image", **given),
        "model": ipywidgets.Dropdown(options=MODELS, value=BAYESIAN, description="model", **given),
        "n_samples": ipywidgets.IntSlider(start.n_samples, 1, 100, description="posterior samples", **given),
        "attack": ipywidgets.Dropdown(options=ATTACKS, description="attack", **given),
        "epsilon": ipywidgets.FloatSlider(
            start.epsilon, min=0, max=largest, step=0.01, description="attack size", **given
        ),
        "rule": ipywidgets.Dropdown(options=list(names.RULES), description="rule", **given),
        "layer": ipywidgets.Dropdown(options=[""], description="layer", **given),
        "top_percent": ipywidgets.IntSlider(int(start.top_percent), 1, 100, description="top percent", **given),
    }
