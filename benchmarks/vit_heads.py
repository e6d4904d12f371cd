"""Heads and tokens of a pretrained vision transformer side by side: which keep the map on the object.

``python benchmarks/vit_heads.py OUTPUT --weights dino_deitsmall16_pretrain.pth --data FOLDER --boxes boxes.csv``
freezes the network. What OUTPUT holds already is not trained again. Every figure is at the best threshold on its own
images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from runs import spread
from training_methods import MAPS, measured, trained

HEADS = {
    "linear, gap": ["model.head.kind=gap"],
    "linear, lse": ["model.head.kind=gap", "model.head.pool=lse"],
    "linear, attention": ["model.head.kind=gap", "model.head.pool=attention"],
    "convolution, gap": ["model.head.kind=cam"],
    "convolution, tap": ["model.head.kind=cam", "model.head.pool=tap"],
    "convolution, attention": ["model.head.kind=cam", "model.head.pool=attention"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--name", default="vit_small_patch16_224.dino", help="timm's of the network")
    parser.add_argument("--blocks", type=int, default=12, help="how many it has")
    parser.add_argument("--data", required=True, help="a folder of photographs, one folder a class")
    parser.add_argument("--boxes", required=True)
    parser.add_argument("--seeds", default="0,1,2")
    asked = parser.parse_args()
    where = ["dataset=imagefolder", f"dataset.root={asked.data}"]
    network = [*where, "model=vit", f"model.name={asked.name}", f"model.weights={asked.weights}"]
    last, earlier = asked.blocks - 1, round(0.6 * asked.blocks) - 1
    tokens = {
        "after the last norm": [],
        "last block": [f"model.out_layers=[blocks.{last}]"],
        "an earlier block": [f"model.out_layers=[blocks.{earlier}]"],
        "an earlier block and the last norm": [f"model.out_layers=[blocks.{earlier},norm]"],
    }
    print("| tokens | head | MaxBoxAccV2, cam | MaxBoxAccV2, pc1 | accuracy |\n|---|---|---|---|---|")
    for place, (token, layers) in enumerate(tokens.items()):
        for head, options in HEADS.items():
            found = []
            for seed in asked.seeds.split(","):
                folder = asked.output / f"{place}_{''.join(filter(str.isalnum, head))}" / seed
                trained(folder, [*network, *options, *layers, f"seed={seed}"])
                boxes = [*where, f"boxes={asked.boxes}", "cam.affinity=null"]
                found.append([measured(folder, cam, boxes) for cam in MAPS])
            cells = [spread([one[number]["MaxBoxAccV2"] for one in found]) for number in range(len(MAPS))]
            cells.append(spread([one[0]["top1"] for one in found]))
            print(f"| {token} | {head} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
