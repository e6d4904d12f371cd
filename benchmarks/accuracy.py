"""Presets side by side by their accuracy, trained with several seeds and numbers of images a class, the rest tested.

``python benchmarks/accuracy.py OUTPUT --data FOLDER --weights vgg16.safetensors`` on photographs, a folder a class;
``--dataset caltech101`` on Caltech-101 as published. VGG-16, frozen, with stored features. Printed is the mean class
recall of last.ckpt as ``evaluate`` has it: mean, and lowest and highest of the seeds. What OUTPUT holds already is not
trained again, so that it may be interrupted.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from runs import call, spread

ACCURATE = ["experiment=accurate"]
PRESETS = {
    "modern": ["experiment=modern", "model=vgg16"],
    "accurate": ACCURATE,
    "accurate, one cell": [*ACCURATE, "model.head.cells=1"],
    "accurate, power 1": [*ACCURATE, "model.head.power=1"],
    "accurate, no norm": [*ACCURATE, "model.head.norm=null"],
    "accurate, no smoothing": [*ACCURATE, "loss.label_smoothing=0"],
}


def measured(folder: Path, options: list[str]) -> dict[str, float]:
    """Train into that folder and evaluate, unless that is done: the figures, and ``seconds`` of the training."""
    record = folder / "figures.json"
    if not record.exists():
        # last.ckpt is measured: validations on the way would only take time
        quiet = [
            "report=false",
            "inspect.every_n_steps=0",
            "checkpoint.every_n_steps=0",
            "+trainer.limit_val_batches=1",
        ]
        call("train", *options, *quiet, f"hydra.run.dir={folder}", "resume=auto")
        seconds = json.loads((folder / "summary.json").read_text())["seconds"]
        call("evaluate", f"ckpt={folder}/checkpoints/last.ckpt", "report=false", f"output={folder}/evaluation")
        (figures,) = json.loads((folder / "evaluation/metrics.json").read_text())["methods"].values()
        record.write_text(json.dumps({**figures, "seconds": seconds}))
    return dict(json.loads(record.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--data", required=True, help="the folder of photographs")
    parser.add_argument("--dataset", default="imagefolder", help="or caltech101")
    parser.add_argument("--weights", default="imagenet", help="of VGG-16")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--images", default="30,10,5", help="to train on, of each class")
    parser.add_argument("--presets", help="some of them, as modern;accurate")
    arguments = parser.parse_args()
    presets = {name: PRESETS[name] for name in arguments.presets.split(";")} if arguments.presets else PRESETS
    common = [f"dataset={arguments.dataset}", f"dataset.root={arguments.data}", f"model.weights={arguments.weights}"]

    counts, found = arguments.images.split(","), {}
    for count in counts:
        for seed in arguments.seeds.split(","):
            for name, options in presets.items():
                folder = (
                    arguments.output / "".join(letter if letter.isalnum() else "_" for letter in name) / count / seed
                )
                own = [*options, *common, f"split.train_per_class={count}", f"seed={seed}"]
                figures = measured(folder, own)
                found.setdefault((name, count), []).append(figures)
                recall, top1 = (100 * figures[key] for key in ("mean_class_recall", "top1"))
                print(f"{name}, {count} a class, seed {seed}: recall {recall:.2f}, top-1 {top1:.2f}", flush=True)

    titles = ["preset", *(f"{count} a class" for count in counts), f"top-1, {counts[0]}", f"seconds, {counts[0]}"]
    print(f"\n| {' | '.join(titles)} |\n" + "|---" * len(titles) + "|")
    for name in presets:
        cells = [spread([one["mean_class_recall"] for one in found[name, count]]) for count in counts]
        cells.append(spread([one["top1"] for one in found[name, counts[0]]]))
        cells.append(spread([one["seconds"] for one in found[name, counts[0]]], 1, 0))
        print(f"| `{name}` | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
