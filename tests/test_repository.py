"""What the repository says in several places agrees: pyproject.toml, the workflows, pre-commit, the oldest set."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from camexp.commands.table import COMMANDS
from tests.conftest import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest there

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
JOBS = WORKFLOWS["ci"]["jobs"]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
OLDEST = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(r"^([\w.-]+)==([\w.+]+)$", (ROOT / ".ci" / "oldest.txt").read_text(), re.MULTILINE)
}


def requirements(*extras: str) -> list[Requirement]:
    """The direct requirements of the package with some extras, those that extras name by the package itself included."""
    texts, waiting = list(PROJECT["dependencies"]), list(extras)
    while waiting:
        for text in PROJECT["optional-dependencies"][waiting.pop()]:
            if (one := Requirement(text)).name == PROJECT["name"]:
                waiting += one.extras
            else:
                texts.append(text)
    return [Requirement(text) for text in texts]


def steps(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def uses_python(job: dict[str, Any]) -> str:
    [version] = [step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    return str(version)


def test_ci_runs_on_every_python_that_is_promised():
    matrix = JOBS["test"]["strategy"]["matrix"]
    classifiers = [text.rpartition(" :: ")[2] for text in PROJECT["classifiers"] if ":: Python :: 3." in text]
    assert matrix["python"] == sorted(classifiers, key=Version)
    promised = SpecifierSet(PROJECT["requires-python"])
    assert all(version in promised for version in classifiers)
    before = Version(classifiers[0])
    assert f"{before.major}.{before.minor - 1}.99" not in promised  # none older is promised and left untested
    assert uses_python(JOBS["test"]) == "${{ matrix.python }}" and {"ubuntu-latest", "macos-latest"} <= {*matrix["os"]}


def test_one_job_of_ci_has_the_builds_that_the_fake_gpu_needs():
    [extra] = JOBS["test"]["strategy"]["matrix"]["include"]
    assert (extra["os"], extra["torch"]) == ("ubuntu-latest", "cuda")
    assert "matrix.torch == 'cpu'" in JOBS["test"]["env"]["PIP_EXTRA_INDEX_URL"]


def test_ci_runs_what_everybody_runs():
    assert steps(JOBS["test"]) == steps(JOBS["oldest"]) == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert steps(JOBS["lint"])[-1].startswith("pre-commit run --all-files")


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_only_read(name):
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    writing = {job for job, content in WORKFLOWS[name]["jobs"].items() if "permissions" in content}
    assert writing == ({"publish"} if name == "release" else set())


def test_the_oldest_set_is_the_lower_bounds():
    assert "constraint" in str(JOBS["oldest"]["env"]).lower() and ".ci/oldest.txt" in str(JOBS["oldest"]["env"])
    assert f">={uses_python(JOBS['oldest'])}" == PROJECT["requires-python"]
    for requirement in requirements("test"):
        [lower] = [one.version for one in requirement.specifier if one.operator in (">=", "==")]
        name = canonicalize_name(requirement.name)
        assert name in OLDEST, f"{name} is missing: docs/compatibility.md says how .ci/oldest.txt is written anew"
        chosen = OLDEST[name]
        # a bound is 4, the release that it means 4.0.0
        assert chosen.release[: len(Version(lower).release)] == Version(lower).release, requirement


def test_precommit_formats_as_dev_does():
    pinned = {
        Version(text.removeprefix("ruff=="))
        for repo in HOOKS
        for hook in repo["hooks"]
        for text in hook.get("additional_dependencies", [])
        if text.startswith("ruff==")
    }
    [allowed] = [one.specifier for one in requirements("dev") if one.name == "ruff"]
    assert len(pinned) == 1 and pinned <= {*allowed.filter(pinned)}


def test_the_citation_says_no_other_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["title"] == PROJECT["name"] and citation["license"] == PROJECT["license"]
    assert "version" not in citation  # it stands in one place
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_a_form_names_files_and_commands_that_exist(name):
    text = (ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text(encoding="utf-8")
    fields = [field["id"] for field in yaml.safe_load(text)["body"]]
    assert len(fields) == len({*fields})
    files, commands = re.findall(r"\b[A-Z]+\.md\b", text), re.findall(r"`camexp (\w+)`", text)
    assert files and all((ROOT / file).is_file() for file in files)
    assert {*commands} <= {*COMMANDS} and ("doctor" in commands) == (name == "bug")
