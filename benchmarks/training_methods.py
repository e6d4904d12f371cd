"""Methods of the ``regularise`` group, or poolings of the head, side by side, with several seeds: mean and spread.

``python benchmarks/training_methods.py OUTPUT --data FOLDER --boxes boxes.csv --weights vgg16.safetensors`` on
photographs with ``experiment=localise``, a frozen VGG-16; ``python benchmarks/training_methods.py OUTPUT`` on the
embedded data set, whose network trains from scratch. ``--option model.head.pool`` compares the head's poolings. What
OUTPUT holds already is not trained again, so that it may be interrupted. Every figure is at the best threshold on its
own images; last.ckpt is measured.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from runs import call, spread

STORED = {
    "none": ["regularise=none"],
    "adl": ["regularise=adl"],
    "bridging_gap": ["regularise=bridging_gap"],
    "da_wsol": ["regularise=da_wsol"],
    "has, on features": ["regularise=has", "regularise.where=features"],
    "cutmix, on features": ["regularise=cutmix", "regularise.where=features"],
}
IMAGES = {"has": ["regularise=has"], "cutmix": ["regularise=cutmix"]}
POOLINGS = {pool: [f"model.head.pool={pool}"] for pool in ("gap", "tap", "lse", "gem", "attention")}
MAPS = {"cam": ["cam=cam", "cam.affinity=null"], "pc1, affinity": ["cam=pc1", "cam.affinity=auto"]}
COLUMNS = {  # of metrics.json; percent
    "MaxBoxAccV2": "MaxBoxAccV2", "MaxBoxAcc": "MaxBoxAcc", "PxAP": "PxAP", "PxIoU": "PxIoU",
    "peak on object": "pointing_game", "accuracy": "top1",
}  # fmt: skip


def trained(folder: Path, options: list[str]) -> float:
    """Train into that folder, unless that is done; returns the seconds it took."""
    record = folder / "seconds.json"
    if not record.exists():
        quiet = ["report=false", "inspect.every_n_steps=0", "checkpoint.every_n_steps=0", f"hydra.run.dir={folder}"]
        seconds = call("train", *options, *quiet)
        record.write_text(json.dumps(seconds))
    return float(json.loads(record.read_text()))


def measured(folder: Path, cam: str, options: list[str]) -> dict[str, float]:
    """What evaluate says of a run's last checkpoint and one kind of map."""
    output = folder / ("eval_" + "".join(letter for letter in cam if letter.isalnum()))
    if not (output / "metrics.json").exists():
        call(
            "evaluate", f"ckpt={folder}/checkpoints/last.ckpt", *MAPS[cam], *options, "report=false", f"output={output}"
        )
    (figures,) = json.loads((output / "metrics.json").read_text())["methods"].values()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--data", help="a folder of photographs, one folder a class; without it, dataset=shapes")
    parser.add_argument("--boxes", help="their boxes")
    parser.add_argument("--weights", help="ImageNet weights of VGG-16")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--option", default="regularise", choices=("regularise", "model.head.pool"))
    parser.add_argument("--methods", help="some of the rows, as none;has, on features")
    arguments = parser.parse_args()
    train, evaluate = ["dataset=shapes"], []
    methods = {name: options for name, options in STORED.items() if "on features" not in name} | IMAGES
    if arguments.data:
        where = ["dataset=imagefolder", f"dataset.root={arguments.data}"]
        train = ["experiment=localise", *where, f"model.weights={arguments.weights}"]
        evaluate = [*where, f"boxes={arguments.boxes}"]
        methods = STORED | IMAGES
    if arguments.option == "model.head.pool":
        methods = POOLINGS
    if arguments.methods:
        methods = {name: methods[name] for name in arguments.methods.split(";")}

    rows: dict[str, dict[str, list[dict[str, float]]]] = {name: {cam: [] for cam in MAPS} for name in methods}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for seed in arguments.seeds.split(","):
        for name, options in methods.items():
            folder = arguments.output / "".join(letter if letter.isalnum() else "_" for letter in name) / seed
            seconds[name].append(trained(folder, [*train, *options, f"seed={seed}"]))
            for cam in MAPS:
                rows[name][cam].append(measured(folder, cam, evaluate))
            figures = {cam: round(100 * found[-1]["MaxBoxAccV2"], 1) for cam, found in rows[name].items()}
            print(f"{name}, seed {seed}: {seconds[name][-1]:.0f} s, MaxBoxAccV2 {figures}", flush=True)

    some = rows[next(iter(rows))]["cam"][0]
    columns = {title: key for title, key in COLUMNS.items() if key in some}
    titles = [arguments.option, "map", *columns, "seconds"]
    print(f"\n| {' | '.join(titles)} |\n" + "|---" * len(titles) + "|")
    for name, by_map in rows.items():
        for cam, found in by_map.items():
            cells = [spread([one[key] for one in found]) for key in columns.values()]
            print(f"| `{name}` | {cam} | {' | '.join(cells)} | {spread(seconds[name], 1, 0)} |")


if __name__ == "__main__":
    main()
