"""The comparison: every cell's proof is there, and its numbers are those of the installed libraries and of RESULTS.md."""

from __future__ import annotations

import importlib.metadata
import inspect
import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")


def rows(text: str, heading: str) -> list[list[str]]:
    table = text.partition(heading)[2].lstrip("\n").partition("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]


TABLE = {row[0]: row[1:] for row in rows(PAGE, "measuring many of them.\n")[2:]}
PROOFS = {row[0]: row[1] for row in rows(PAGE, "## The proofs\n")[2:]}


def test_every_proof_is_used_and_every_use_has_one():
    used = set(re.findall(r"\[([a-z]{1,2})\](?!\()", " ".join(" ".join(cells) for cells in TABLE.values())))
    assert used == set(PROOFS) and len(used) > 25


def test_every_claim_has_a_proof():
    plain = ("what it is", "licence")  # what the projects call themselves
    for name, cells in TABLE.items():
        assert len(cells) == 5, name
        for cell in cells:
            empty = cell.startswith(("–", "no", "Python arguments", "2026", "2020")) or cell in ("anything", "none")
            assert name in plain or empty or re.search(r"\[[a-z]{1,2}\]", cell), (name, cell)


def number(cell: str) -> int:
    match = re.search(r"\d+", cell)
    assert match is not None
    return int(match[0])


def test_how_many_methods_there_are():
    torchcam = pytest.importorskip("torchcam.methods")
    ours, theirs, gradcams = TABLE["map methods"][:3]
    assert number(ours) == len(list((ROOT / "camexp" / "conf" / "cam").glob("*.yaml")))
    if importlib.metadata.version("torchcam").startswith("0.5."):
        classes = [one for _, one in inspect.getmembers(torchcam, inspect.isclass)]
        assert number(theirs) == len([one for one in classes if hasattr(one, "compute_cams")])
    pytest.importorskip("pytorch_grad_cam")
    if importlib.metadata.version("grad-cam") == "1.5.7":
        told = importlib.metadata.metadata("grad-cam")
        # with the package importlib_metadata, which other tests may import, the text is a header
        about = told.get_payload() or told["Description"]
        table = about.partition("| What it does")[2].partition("\n## ")[0]
        assert number(gradcams) == len(re.findall(r"^\| [A-Z]", table, re.MULTILINE))


def test_the_times_are_those_of_the_results():
    section = RESULTS.partition("## `python benchmarks/cam.py")[2].partition("\n## ")[0]
    times = {
        name: float(time.replace(",", ""))
        for name, time in re.findall(r"^\| ([\w, ()-]+) \| ([\d,.]+) \|", section, re.MULTILINE)
    }
    ours, torchcams, gradcams = TABLE["5 classes, VGG-19, a CPU"][:3]
    said = [float(one) for cell in (ours, torchcams, gradcams) for one in re.findall(r"\d+\.\d+", cell)]
    names = ("camexp float32, top5", "camexp auto (bfloat16), top5", "torch-cam, top5", "grad-cam, top5")
    for name, ratio in zip(names, said, strict=True):
        assert ratio == pytest.approx(times[name] / times["plain forward pass, float32"], abs=0.006), name
        assert f"{ratio:.2f}" in README
    ours, theirs = (TABLE["time a map for 1,000 thresholds"][place] for place in (0, 4))
    measured = re.search(r"camexp, one pass \| ([\d., ]+) \|", RESULTS)[1].split(",")
    assert float(re.search(r"[\d.]+", ours)[0]) == pytest.approx(sum(map(float, measured)) / len(measured), abs=0.05)
    searched = re.search(r"as the public evaluator \| ([\d., ]+) \|", RESULTS)[1].split(",")
    assert number(theirs) == pytest.approx(sum(map(float, searched)) / len(searched), abs=1)


def test_the_readme_says_the_same():
    assert re.search(r"\| map methods \| 11 .*\| 12 \| \*\*19\*\* \|", README)
    assert "2.2 ms a map" in README and "| measured on a GPU | **no** |" in README
