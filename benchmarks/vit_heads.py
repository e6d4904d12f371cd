"""Heads and tokens of a vision transformer side by side: which keep the map on the object.

``python benchmarks/vit_heads.py OUTPUT --weights dino.pth [--name NAME] --data FOLDER --boxes boxes.csv`` freezes a
pretrained network. Without weights one of timm's smallest learns the embedded data set first, all of it, with a linear
head, and is then frozen for the others. What OUTPUT holds already is not trained again. Every figure is at the best
threshold on its own images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from runs import spread
from safetensors.torch import save_file
from training_methods import MAPS, measured, trained

from camexp import load

HEADS = {
    "linear, gap": ["model.head.kind=gap"],
    "linear, lse": ["model.head.kind=gap", "model.head.pool=lse"],
    "linear, attention": ["model.head.kind=gap", "model.head.pool=attention"],
    "convolution, gap": ["model.head.kind=cam"],
    "convolution, tap": ["model.head.kind=cam", "model.head.pool=tap"],
    "convolution, attention": ["model.head.kind=cam", "model.head.pool=attention"],
}
FIRST = ["model.head.kind=gap", "trainer.max_epochs=60", "optimizer.lr=1e-3", "precision=32-true"]


def learnt(folder: Path, network: list[str]) -> Path:
    """The weights of a network that learnt the embedded data set."""
    file = folder / "weights.safetensors"
    if not file.exists():
        trained(folder, [*network, *FIRST, "model.weights=null", "model.freeze=none"])
        weights = load(folder / "checkpoints" / "last.ckpt").trunk.features.state_dict()
        save_file({name: one.contiguous() for name, one in weights.items()}, file)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--name", default="test_vit", help="of timm's network")
    parser.add_argument("--blocks", type=int, default=6, help="how many it has")
    parser.add_argument("--weights", help="of that network")
    parser.add_argument("--data", help="a folder of photographs, one folder a class; without it, dataset=shapes")
    parser.add_argument("--boxes", help="their boxes")
    parser.add_argument("--seeds", default="0,1,2")
    asked = parser.parse_args()
    train, evaluate = ["dataset=shapes", "transform.size=128", "model.width=1"], []
    if asked.data:
        evaluate = ["dataset=imagefolder", f"dataset.root={asked.data}"]
        train, evaluate = [*evaluate], [*evaluate, f"boxes={asked.boxes}"]
    network = [*train, "model=vit", f"model.name={asked.name}"]
    weights = asked.weights or learnt(asked.output / "learnt", network)
    last, earlier = asked.blocks - 1, round(0.6 * asked.blocks) - 1
    tokens = {
        "after the last norm": [],
        "last block": [f"model.out_layers=[blocks.{last}]"],
        "an earlier block": [f"model.out_layers=[blocks.{earlier}]"],
        "an earlier block and the last norm": [f"model.out_layers=[blocks.{earlier},norm]"],
    }
    print("| tokens | head | MaxBoxAccV2, cam | MaxBoxAccV2, pc1 | validation accuracy |\n|---|---|---|---|---|")
    for place, (where, layers) in enumerate(tokens.items()):
        for head, options in HEADS.items():
            found = []
            for seed in asked.seeds.split(","):
                folder = asked.output / f"{place}_{''.join(filter(str.isalnum, head))}" / seed
                trained(folder, [
                    *network, *options, *layers, f"model.weights={weights}", "model.freeze=trunk", f"seed={seed}",
                ])  # fmt: skip
                found.append([measured(folder, cam, [*evaluate, "cam.affinity=null"]) for cam in MAPS])
            cells = [spread([one[number]["MaxBoxAccV2"] for one in found]) for number in range(len(MAPS))]
            print(
                f"| {where} | {head} | {' | '.join(cells)} | {spread([one[0]['top1'] for one in found])} |", flush=True
            )


if __name__ == "__main__":
    main()
