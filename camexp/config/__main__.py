"""Write the options' defaults and help into ``conf/``: ``python -m camexp.config``, after a change to them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from camexp.config import (
    COMMAND_OPTIONS,
    CAMOptions,
    ModelOptions,
    Options,
    SplitOptions,
    TrainerOptions,
    TrainOptions,
    TransformOptions,
)
from camexp.config.describe import yaml_lines

CONF = Path(__file__).parents[1] / "conf"
WRITTEN: dict[str, type[Options]] = {
    **{f"{command}.yaml": options for command, options in COMMAND_OPTIONS.items()},
    "cam/cam.yaml": CAMOptions,
    "model/vgg19.yaml": ModelOptions,
    "split/stratified.yaml": SplitOptions,
    "trainer/default.yaml": TrainerOptions,
    "transform/resize.yaml": TransformOptions,
}
SCHEMA = "train.schema.json"  # with it an editor completes and checks presets: conf/experiment/*.yaml
BEGIN = "# Written by python -m camexp.config, from "


def written(text: str, options: type[Options]) -> str:
    """A YAML file with its options as they are now: all that stands between the mark and ``hydra:``, or the end."""
    before, mark, rest = text.partition(BEGIN)
    if not mark:
        raise ValueError(f"the line {BEGIN!r} is missing")
    source = f"{options.__name__} in {options.__module__.replace('.', '/')}.py\n"
    after = re.search(r"^hydra:", rest, re.MULTILINE)
    block = "\n".join(yaml_lines(options)) + "\n"
    return before + mark + source + block + ("\n" + rest[after.start() :] if after else "")


def schema() -> dict[str, Any]:
    """The options of ``train.py`` as JSON schema; nothing is required, for a preset changes a few of them."""
    content = TrainOptions.model_json_schema()
    for one in (content, *content["$defs"].values()):
        one.pop("required", None)
    return content


def main() -> None:
    for name, options in WRITTEN.items():
        path = CONF / name
        path.write_text(written(path.read_text(encoding="utf-8"), options), encoding="utf-8")
    (CONF / SCHEMA).write_text(json.dumps(schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
