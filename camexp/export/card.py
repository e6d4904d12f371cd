"""The model card: ``README.md`` as the hub reads it, with facts alone; what is not known is said to be unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from camexp.export.check import Compared
from camexp.export.figures import Figures
from camexp.export.pictures import STRIP
from camexp.export.samples import SAMPLES
from camexp.files import atomic_write

CARD = "README.md"
POOLINGS = {
    "gap": "global average pooling", "tap": "thresholded average pooling", "gem": "generalised mean pooling",
    "lse": "log-sum-exp pooling of the maps", "attention": "attention pooling",
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """All that a card tells.

    Attributes:
        name: the card's title.
        to: ``onnx``, ``torch_export`` or ``safetensors``.
        about: ``classes``, ``architecture`` and ``preprocessing``, see :func:`camexp.models.checkpoint_metadata`.
        training: see :func:`camexp.export.training.training_facts`.
        compared: with the checkpoint.
        graph: the graph's options that matter to its user: ``maps``, ``preprocessing``.
        int8: sentences on the 8-bit graph, if it is one.
        strip: what ``maps.jpg`` shows.
    """

    name: str
    to: str
    about: Mapping[str, Any]
    training: Mapping[str, Any]
    figures: Figures
    compared: Sequence[Compared]
    license: str
    graph: Mapping[str, Any]
    int8: str = ""
    strip: str | None = None


def write_card(facts: Facts, folder: Path) -> None:
    """``README.md`` beside the model."""
    with atomic_write(folder / CARD) as temporary:
        temporary.write_text(card(facts), encoding="utf-8")


def card(facts: Facts) -> str:
    """The card's text: YAML for the hub, and Markdown."""
    classes, architecture = list(facts.about["classes"]), facts.about["architecture"]
    kind = f"{POOLINGS[architecture['head'].get('pool', 'gap')]} and a linear layer"
    if architecture["head"].get("kind") != "gap":
        kind = f"a 3×3 convolution to {architecture['head'].get('channels', 1024):,} channels, {kind}"
    if (cells := architecture["head"].get("cells", 1)) > 1:
        kind += f" with class weights of its own in each of {cells}×{cells} cells"
    size = facts.about["preprocessing"]["size"]
    parts = [
        f"# {_plain(facts.name)}",
        f"An image classifier of {len(classes):,} classes whose class activation maps (Zhou et al., "
        "[CVPR 2016](https://arxiv.org/abs/1512.04150)) show where it looked: "
        f"{_code(architecture['trunk'])}, then {kind}. Written by camexp.",
        f"![Maps]({STRIP})\n\n{facts.strip}" if facts.strip else "No picture of its maps was exported.",
        "## Use\n\n" + SAMPLES[facts.to](facts.graph, size),
        f"## Classes\n\n{_classes(classes)}",
        f"## Training\n\n{_training(facts)}",
        f"## Figures\n\n{_figures(facts.figures)}",
        f"## Checked\n\n{_checked(facts)}",
        "## Limits\n\nIt knows its classes and no others, and gives each image one of them. A map shows what the "
        "classifier weighs, which need not be the whole object. How it does on other kinds of images was not measured.",
        f"## Licence\n\n{_licence(facts.license)}",
    ]
    return f"---\n{_front_matter(facts)}---\n\n" + "\n\n".join(parts) + "\n"


def _front_matter(facts: Facts) -> str:
    trunk = re.sub(r"[^a-z0-9-]+", "-", facts.about["architecture"]["trunk"].lower())
    content: dict[str, Any] = {
        "library_name": "camexp",
        "license": facts.license,
        "pipeline_tag": "image-classification",
        "tags": ["class-activation-map", "explainability", "localization", trunk, facts.to.replace("_", "-")],
    }
    accuracies = [row for row in facts.figures.rows if row[1] in ("validation accuracy", "top-1 accuracy")]
    if accuracies:
        content["metrics"] = ["accuracy"]
    if accuracies and facts.figures.own_data:  # an evaluation does not say which data it was of
        data = str(facts.training.get("data", "unknown"))
        content["model-index"] = [{
            "name": facts.name,
            "results": [{
                "task": {"type": "image-classification"},
                "dataset": {"name": data, "type": re.sub(r"[^\w.-]+", "-", data)},
                "metrics": [{"type": "accuracy", "value": round(accuracies[0][2], 4), "name": accuracies[0][1]}],
            }],
        }]  # fmt: skip
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


def _training(facts: Facts) -> str:
    known = facts.training
    if not known:
        return "The checkpoint does not say how it was trained."
    data = known.get("data")
    lines = [f"- data: {_code(data)}" if data else "- data: not known"]
    figures = facts.figures
    if figures.train_images is not None:
        lines.append(f"- images: {figures.train_images:,} for training, {figures.val_images:,} for validation")
    if figures.steps is not None:
        lines.append(f"- optimizer steps: {figures.steps:,}")
    lines += [f"- {key}: {_code(value)}" for key, value in _flat({k: v for k, v in known.items() if k != "data"})]
    return "\n".join(lines)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return rows


def _figures(figures: Figures) -> str:
    if not figures.rows:
        return "No figures were given with the export, and none are known."
    rows = [
        f"| {f'{name} ({_code(method)})' if method else name} | {100 * value:.2f} % |"
        for method, name, value in figures.rows
    ]
    return "\n".join(["| | |", "|---|---|", *rows, "", f"Measured {figures.source}."])


def _checked(facts: Facts) -> str:
    if facts.to == "safetensors":
        return (
            "Read back, it gave the same logits and maps as the checkpoint, bit for bit, at the sizes:\n\n"
            + "\n".join(f"- {'×'.join(map(str, one.shape))}" for one in facts.compared)
        )
    runtime = "onnxruntime" if facts.to == "onnx" else "torch"
    what = "The graph in float32, before it was made 8-bit," if facts.int8 else "The file"
    lines = [f"{what} was run by {runtime} on the CPU beside the checkpoint in float32; the largest differences:", ""]
    lines += [f"- {one}" for one in facts.compared]
    return "\n".join([*lines, "", facts.int8] if facts.int8 else lines)


def _classes(classes: Sequence[str]) -> str:
    listed = ", ".join(f"{index}: {_code(name)}" for index, name in enumerate(classes))
    return (
        listed
        if len(classes) <= 50
        else f"<details><summary>{len(classes):,} classes</summary>\n\n{listed}\n\n</details>"
    )


def _licence(name: str) -> str:
    if name == "unknown":
        return (
            "Not stated. Whoever publishes this should say under which licence the weights, those they began from, "
            "and the images may be used."
        )
    return f"{_code(name)}, as stated by whoever exported it."


def _code(value: Any) -> str:
    """A value as inline code, which no markup inside can leave."""
    return f"`{_plain(str(value)).replace('`', chr(39)).strip() or ' '}`"


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)
