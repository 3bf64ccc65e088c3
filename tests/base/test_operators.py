"""`import torchvision` by itself, in Pythons that start as those of the environment do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from oracles import ROOT
from relevance.base import operators


def started(folder, code, **variables):
    """Run code in a Python that processes the files of a folder when it starts."""
    given = {**os.environ, "PYTHONPATH": str(ROOT / "lib"), **variables}
    lines = f"import site; site.addsitedir({str(folder)!r}); {code}"
    return subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, env=given, check=False)


@pytest.fixture
def as_installed(tmp_path):
    """A folder with the file that the installer writes."""
    script = (ROOT / "requirements" / "install.sh").read_text()
    (line,) = re.findall(r"'(import contextlib; .*)' \\\n", script)
    (tmp_path / "relevance-torchvision.pth").write_text(f"{line}\n")
    return tmp_path


IMPORTED = (
    "import torchvision, torchvision.models as m, torchvision.datasets; "
    "print(m.resnet18(num_classes=2).fc.out_features, torchvision.__spec__.loader.__class__.__name__)"
)


def test_torchvision_is_imported_by_itself(as_installed):
    done = started(as_installed, IMPORTED)
    assert done.stdout.split() == ["2", "SourceFileLoader"], done.stderr
    assert done.stderr == ""


def test_nothing_is_imported_and_nothing_said_where_it_is_not_asked_for(as_installed):
    done = started(as_installed, "import sys; print('torch' in sys.modules, 'torchvision' in sys.modules)")
    assert (done.stdout.strip(), done.stderr) == ("False False", "")
    # In an environment that the library has left.
    done = started(as_installed, "print('started')", PYTHONPATH=str(as_installed))
    assert (done.stdout.strip(), done.stderr) == ("started", "")


def test_whoever_calls_a_missing_operator_is_told(as_installed):
    code = (
        "import torch, torchvision as t; print(t.extension._has_ops()); t.ops.nms(torch.rand(2, 4), torch.rand(2), 0.5)"
    )
    done = started(as_installed, code)
    if done.stdout.strip() == "True":
        pytest.skip("torchvision fits the torch that is installed")
    assert "Couldn't load custom C++ ops" in done.stderr


def test_a_failure_of_another_kind_stays_one():
    class Failing:
        def create_module(self, spec):
            return None

        def exec_module(self, module):
            raise RuntimeError("no memory")

    module = type(sys)("torchvision")
    module.__spec__ = find_spec("json")
    with pytest.raises(RuntimeError, match="no memory"):
        operators._Declaring(Failing()).exec_module(module)


def test_there_is_one_finder_for_torchvision_alone():
    operators.declare_when_missing()
    operators.declare_when_missing()
    (finder,) = [one for one in sys.meta_path if isinstance(one, operators._Finder)]
    assert finder.find_spec("json") is None
