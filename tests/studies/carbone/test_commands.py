from __future__ import annotations

import pytest

from oracles import chapters
from relevance.pages.press.chapters import Chapter
from relevance.studies.carbone import commands


@pytest.mark.parametrize("command", [command for _, command in commands.COMMANDS])
def test_every_released_command_has_a_call_that_its_chapter_takes(command):
    name, parameters = commands.parameters(command)
    chapter: Chapter = chapters()[name]
    assert chapter.resolved(parameters).items() >= parameters.items()
    call = commands.call(command)
    assert call.startswith(("papermill ", "RELEVANCE_DEVICE=cpu papermill "))
    assert all(f" {name} " in call or f'"{name}"' in call for name in parameters)


def test_flags_of_the_released_code_arrive():
    name, parameters = commands.parameters(
        "python attack_networks.py --model=fullBNN --model_idx=2 --attack_method=pgd --n_inputs=77 --n_samples=10 "
        "--rule=gamma --topk=30"
    )
    assert name == "experiments/layers"
    assert parameters["attacks"] == ["PGD"]
    assert parameters["n_images"] == 77
    assert parameters["n_samples"] == [10]
    assert parameters["rules"] == ["gamma"]
    assert parameters["top_percent"] == 30
    assert parameters["dataset"] == "mnist"
    with pytest.raises(ValueError, match="script is 'fly.py'; it may be one of"):
        commands.parameters("python fly.py")
    with pytest.raises(ValueError, match="--rule is 'zplus'; it may be one of"):
        commands.parameters("python compute_lrp.py --model_idx=0 --rule=zplus")
