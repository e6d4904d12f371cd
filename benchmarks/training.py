"""25 epochs of the recipe: train.py beside a plain Lightning loop in float32 with the trunk in it.

``python benchmarks/training.py --data FOLDER --weights vgg16.safetensors``. Both sides see the same images in
the same split, with the same batch size, optimizer, L2 and dropout, and are checked after every epoch.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from timing import arguments, machine, publish
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.models import vgg16, vgg19

from camexp.images import image_extensions

ROOT = Path(__file__).resolve().parents[1]


def subset(data: Path, classes: int, images: int, folder: Path) -> None:
    """Links to the first images of the first classes: four fifths in train, one fifth in val."""
    for source in sorted(path for path in data.iterdir() if path.is_dir())[:classes]:
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in image_extensions())[:images]
        for number, file in enumerate(files):
            target = folder / ("val" if number % 5 == 4 else "train") / source.name
            target.mkdir(parents=True, exist_ok=True)
            (target / file.name).symlink_to(file.resolve())


class PlainLoop(pl.LightningModule):
    """What one writes without a framework: the frozen trunk runs for every image in every epoch."""

    def __init__(self, trunk: nn.Module, classes: int):
        super().__init__()
        self.trunk = trunk.eval().requires_grad_(False)
        self.conv, self.linear = nn.Conv2d(512, 1024, 3, padding=1), nn.Linear(1024, classes, bias=False)
        for layer in (self.conv, self.linear):
            nn.init.trunc_normal_(layer.weight, std=0.01, a=-0.02, b=0.02)
        self.hits, self.accuracy = [], 0.0

    def forward(self, images: Tensor) -> Tensor:
        pooled = F.relu(self.conv(self.trunk(images))).mean((2, 3))
        return self.linear(F.dropout(pooled, 0.5, self.training))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, labels = batch
        l2 = 0.5 * 0.01 * (self.conv.weight.square().sum() + self.linear.weight.square().sum())
        return F.cross_entropy(self(images), labels) + l2

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.hits.append((self(batch[0]).argmax(1) == batch[1]).float())

    def on_validation_epoch_end(self) -> None:
        self.accuracy = float(torch.cat(self.hits).mean())
        self.hits.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam([*self.conv.parameters(), *self.linear.parameters()], lr=1e-3, betas=(0.5, 0.999))


def plain(folder: Path, asked: Any) -> tuple[float, float]:
    """Seconds and the last validation accuracy of the plain loop."""
    from camexp.models.trunks import build_trunk
    from camexp.models.weights import load_weights

    pl.seed_everything(0, verbose=False)
    trunk = (vgg16 if asked.trunk == "vgg16" else vgg19)(weights=None).features[:-1]
    read = build_trunk(asked.trunk)
    load_weights(read, asked.weights, asked.trunk)
    trunk.load_state_dict(read.features.state_dict())
    to_tensor = transforms.Compose(
        [
            transforms.Resize((224, 224)),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    sets = [ImageFolder(folder / name, to_tensor) for name in ("train", "val")]
    workers = {"num_workers": 1, "persistent_workers": True}
    loaders = [DataLoader(one, batch_size=32, shuffle=one is sets[0], **workers) for one in sets]  # type: ignore[arg-type]
    module = PlainLoop(trunk, len(sets[0].classes))
    names = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    quiet: dict[str, Any] = dict.fromkeys(names, False)
    trainer = pl.Trainer(
        max_epochs=asked.epochs, accelerator="gpu" if asked.device == "cuda" else "cpu", devices=1,
        num_sanity_val_steps=0, **quiet,
    )  # fmt: skip
    start = time.perf_counter()
    trainer.fit(module, *loaders)
    return time.perf_counter() - start, module.accuracy


def ours(folder: Path, asked: Any, run: str, *options: str) -> tuple[float, float]:
    """Seconds and the last validation accuracy of train.py, all it writes included."""
    (folder / "all").mkdir(exist_ok=True)
    command = [
        sys.executable, str(ROOT / "train.py"), "dataset=imagefolder", f"dataset.root={folder / 'all'}",
        f"model={asked.trunk}", f"model.weights={asked.weights}", f"trainer.max_epochs={asked.epochs}",
        f"trainer.gpus={int(asked.device == 'cuda')}", f"hydra.run.dir={folder / run}", *options,
    ]  # fmt: skip
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
    summary = json.loads((folder / run / "summary.json").read_text())
    return summary["seconds"], summary["final"]["val/accuracy"]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="one folder of photographs a class")
    parser.add_argument("--weights", default="imagenet", help="the trunk's, as model.weights")
    parser.add_argument("--trunk", default="vgg16", choices=("vgg16", "vgg19"))
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--images", type=int, default=50, help="a class, a fifth of them for validation")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--without-cache", action="store_true", help="time train.py without the cache as well")
    asked = parser.parse_args()
    if asked.weights != "imagenet":
        asked.weights = str(Path(asked.weights).resolve())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subset(asked.data, asked.classes, asked.images, folder)
        for part in ("train", "val"):  # train.py splits one folder itself, by the same shares
            for file in (folder / part).rglob("*.*"):
                target = folder / "all" / file.parent.name / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(file.resolve())
        results = {
            "camexp, features kept, precision=auto": ours(folder, asked, "cached"),
            "camexp again, features there already": ours(folder, asked, "again"),
            "plain Lightning loop, float32": plain(folder, asked),
        }
        if asked.without_cache:
            name = "camexp, features.cache=off precision=32-true"
            results[name] = ours(folder, asked, "uncached", "features.cache=off", "precision=32-true")
    reference = results["plain Lightning loop, float32"][0]
    print(f"{'':46} {'seconds':>9} {'faster':>7} {'accuracy':>9}")
    for what, (seconds, accuracy) in results.items():
        print(f"{what:46} {seconds:9.1f} {reference / seconds:7.2f} {accuracy:9.3f}")
    print("target: at least 18 times faster with the features computed on the way")
    publish(
        {
            "benchmark": "training",
            **machine(asked.device, "pytorch-lightning", "torchvision"),
            "trunk": asked.trunk,
            "images": asked.classes * asked.images,
            "epochs": asked.epochs,
            "seconds_and_accuracy": results,
            "faster": {what: reference / seconds for what, (seconds, _) in results.items()},
        },
        asked.json,
    )


if __name__ == "__main__":
    main()
