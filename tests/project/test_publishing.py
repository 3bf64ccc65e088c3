"""What other sites read of the project: the citation, Zenodo's metadata, and the workflow that publishes the pages."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml

import relevance
from oracles import ROOT
from relevance.pages.press import citation

WORKFLOW = ROOT / ".github/workflows/pages.yml"


@pytest.fixture
def told():
    return yaml.safe_load((ROOT / citation.FILE).read_text())


@pytest.mark.parametrize(
    ("schema", "path"), [("citation-file-format", ROOT / citation.FILE), ("github-workflows", WORKFLOW)]
)
def test_a_file_is_of_the_form_that_its_readers_publish(schema, path):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_citation_names_the_library_s_version(told):
    assert told["version"] == relevance.__version__


def test_zenodo_is_told_what_the_citation_says(told):
    zenodo = json.loads((ROOT / ".zenodo.json").read_text())
    # As the API of its depositions names them: developers.zenodo.org, "Deposit metadata".
    assert zenodo.pop("upload_type") == told["type"] == "software"
    assert zenodo.pop("access_right") == "open"
    assert zenodo.pop("language") == "eng"
    assert zenodo.pop("description").startswith("<p>")
    assert zenodo.pop("title") == told["title"]
    assert zenodo.pop("version") == told["version"]
    assert zenodo.pop("publication_date") == told["date-released"].isoformat()
    assert zenodo.pop("keywords") == told["keywords"]
    assert zenodo.pop("creators") == [{"name": name} for name in citation.read(ROOT).authors]
    code, text = told["license"]
    assert zenodo.pop("license") == code
    assert text.replace("CC-BY-", "CC BY ") in zenodo.pop("notes")
    related = [(one["identifier"], one["relation"]) for one in zenodo.pop("related_identifiers")]
    assert related == [(one["doi"], "cites") for one in told["references"]]
    assert zenodo == {}


def test_the_workflow_runs_all_that_must_pass_and_may_do_no_more_than_publish():
    text = WORKFLOW.read_text()
    workflow = yaml.safe_load(text)
    book, publish = workflow["jobs"]["book"], workflow["jobs"]["publish"]
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in book
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert publish["needs"] == "book"
    assert {"run": ".ci/run"} in book["steps"]
    assert book["steps"][-1]["with"]["path"] == "_build/html"
    used = [step["uses"] for job in (book, publish) for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", one) for one in used)
    assert "://" not in text
