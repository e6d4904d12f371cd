"""Small folders in the layouts in which CUB-200-2011, ImageNet and wsolevaluation's lists come."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import paint

BIRDS = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
TONES = ((200, 60, 50), (50, 70, 200))
SIZE = (60, 40)
BOXES = ([12, 8, 41, 29], [4, 10, 33, 35])  # x0, y0, x1, y1 of the images of each class


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def cub200(root: Path, each: int = 4) -> dict[str, str]:
    """Its archive: the even ones of each class are to train on. Returns the options that name it."""
    folder, number = root / "CUB_200_2011", 0
    tables: dict[str, list[str]] = {name: [] for name in ("images", "image_class_labels", "train_test_split", "boxes")}
    for label, (bird, tone) in enumerate(zip(BIRDS, TONES, strict=True), 1):
        for image in range(each):
            number += 1
            name = f"{bird}/{bird[4:]}_{image:04d}.jpg"
            paint(folder / "images" / name, tone, SIZE, seed=image)
            x0, y0, x1, y1 = BOXES[label - 1]
            tables["images"].append(f"{number} {name}")
            tables["image_class_labels"].append(f"{number} {label}")
            tables["train_test_split"].append(f"{number} {1 - image % 2}")
            tables["boxes"].append(f"{number} {x0:.1f} {y0:.1f} {x1 - x0:.1f} {y1 - y0:.1f}")
    for name, lines in tables.items():
        write(folder / f"{'bounding_boxes' if name == 'boxes' else name}.txt", *lines)
    write(folder / "classes.txt", *(f"{label} {bird}" for label, bird in enumerate(BIRDS, 1)))
    return {"root": str(root)}


WNIDS = ("n01440764", "n01443537")


def annotation(path: Path, wnid: str, *boxes: list[int]) -> None:
    objects = "".join(
        f"<object><name>{wnid}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
        "</bndbox></object>"
        for x0, y0, x1, y1 in boxes
    )
    write(path, f"<annotation><filename>{path.stem}</filename>{objects}</annotation>")


def imagenet(root: Path, each: int = 3, labels: str = "xml") -> dict[str, str]:
    """Its archive; the classes of the validation images by ``xml``, ``csv`` or ``devkit``."""
    images, annotations = root / "ILSVRC/Data/CLS-LOC", root / "ILSVRC/Annotations/CLS-LOC"
    solution, truth = ["ImageId,PredictionString"], []
    for label, (wnid, tone) in enumerate(zip(WNIDS, TONES, strict=True)):
        for number in range(each):
            paint(images / "train" / wnid / f"{wnid}_{number}.JPEG", tone, SIZE, seed=number)
            name = f"ILSVRC2012_val_{label * each + number + 1:08d}"
            paint(images / "val" / f"{name}.JPEG", tone, SIZE, seed=10 + number)
            box = BOXES[label]
            if labels == "xml":
                annotation(annotations / "val" / f"{name}.xml", wnid, box, [0, 0, 5, 5])
            solution.append(f"{name},{' '.join([wnid, *map(str, box)] * 2)} ")
            truth.append(str(2 - label))  # the devkit numbers them otherwise
        annotation(annotations / "train" / wnid / f"{wnid}_0.xml", wnid, BOXES[label])
    if labels == "csv":
        write(root / "LOC_val_solution.csv", *solution)
    if labels == "devkit":
        data = root / "ILSVRC/devkit/data"
        write(data / "map_clsloc.txt", f"{WNIDS[1]} 1 goldfish", f"{WNIDS[0]} 2 tench")
        write(data / "ILSVRC2015_clsloc_validation_ground_truth.txt", *truth)
    return {"root": str(root)}


def wsol(root: Path, each: int = 4, masks: bool = False, named: bool = False, name: str = "") -> dict[str, str]:
    """Images and lists of all three parts; with ``masks`` as of OpenImages, else with boxes as of CUB."""
    images, lists = root / "dataset" / name, root / "metadata" / name
    for place, part in enumerate(("train", "val", "test")):
        ids, labels, sizes, where = [], [], [], []
        for label, (bird, tone) in enumerate(zip(BIRDS, TONES, strict=True)):
            for number in range(each):
                image = f"{part}/{bird}/{number}.jpg" if masks else f"{bird}/{part}{number}.jpg"
                paint(images / image, tone, SIZE, seed=100 * place + number)
                ids.append(image)
                labels.append(f"{image},{label}")
                sizes.append(f"{image},{SIZE[0]},{SIZE[1]}")
                x0, y0, x1, y1 = BOXES[label]
                if masks and part != "train":
                    where += mask_files(images, image, (x0 + number, y0, x1, y1))
                elif not masks:
                    where.append(f"{image},{x0 + number},{y0},{x1},{y1}")
                    if number == 1:
                        where.append(f"{image},1,1,9,7")  # a second box
        folder = lists / ({"train": "train-weaksup", "val": "train-fullsup"}.get(part, part) if named else part)
        write(folder / "image_ids.txt", *ids)
        write(folder / "class_labels.txt", *labels)
        if where:
            write(folder / "localization.txt", *where)
        if not masks:
            write(folder / "image_sizes.txt", *sizes)
    return {"root": str(images), "metadata": str(lists)}


def mask_files(images: Path, name: str, box: tuple[int, int, int, int]) -> list[str]:
    """Two objects and what to ignore, at half again the image's size, as OpenImages has them."""
    stem, size = name.removesuffix(".jpg"), (SIZE[1] * 3 // 2, SIZE[0] * 3 // 2)
    x0, y0, x1, y1 = (value * 3 // 2 for value in box)
    regions = {
        f"{stem}_m0_a.png": (x0, y0, x1, y1),
        f"{stem}_m0_b.png": (1, 1, 6, 5),
        f"{stem}_ignore.png": (0, 0, 20, 30),
    }
    for file, (left, top, right, bottom) in regions.items():
        mask = np.zeros(size, np.uint8)
        mask[top : bottom + 1, left : right + 1] = 255
        Image.fromarray(mask).convert("1").save(images / file)
    first, second, ignore = regions
    return [f"{name},{first},{ignore}", f"{name},{second},"]


def torchvision(root: Path, each: int = 4) -> dict[str, str]:
    """OxfordIIITPet's archive: a box of each image is the animal in its trimap, one pixel around it the border."""
    folder = root / "oxford-iiit-pet"
    lists: dict[str, list[str]] = {"trainval": [], "test": []}
    for label, (breed, tone) in enumerate(zip(("Abyssinian", "great_pyrenees"), TONES, strict=True)):
        for number in range(2 * each):
            name = f"{breed}_{number}"
            paint(folder / "images" / f"{name}.jpg", tone, SIZE, seed=number)
            x0, y0, x1, y1 = BOXES[label]
            trimap = np.full((SIZE[1], SIZE[0]), 2, np.uint8)
            trimap[y0 - 1 : y1 + 2, x0 - 1 : x1 + 2] = 3
            trimap[y0 : y1 + 1, x0 : x1 + 1] = 1
            (folder / "annotations/trimaps").mkdir(parents=True, exist_ok=True)
            Image.fromarray(trimap).save(folder / "annotations/trimaps" / f"{name}.png")
            lists["test" if number % 2 else "trainval"].append(f"{name} {label + 1} {label + 1} 1")
    for part, lines in lists.items():
        write(folder / "annotations" / f"{part}.txt", *lines)
    return {"name": "OxfordIIITPet", "root": str(root)}


def encoded(tone: tuple[int, int, int], seed: int) -> bytes:
    """A small PNG of about one colour."""
    pixels = np.clip(np.array(tone) + np.random.default_rng(seed).normal(0, 30, (SIZE[1], SIZE[0], 3)), 0, 255)
    file = BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def huggingface(root: Path, each: int = 4) -> dict[str, str]:
    """A folder of Parquet files, as data sets lie on the hub: the metadata say which column holds images and classes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"image": {"_type": "Image"}, "label": {"names": ["bird", "cat"], "_type": "ClassLabel"}}
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    for part, first in (("train", 0), ("validation", 100), ("test", 200)):
        rows = [(label, number) for number in range(first, first + each) for label in (0, 1)]
        images = [{"bytes": encoded(TONES[label], number), "path": f"{label}_{number}.png"} for label, number in rows]
        table = pa.table({"image": images, "label": pa.array([label for label, _ in rows], pa.int64())})
        (root / "table/data").mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata(told), root / f"table/data/{part}-00000-of-00001.parquet")
    return {"path": str(root / "table"), "root": str(root / "cache")}


def shard(path: Path, *samples: Mapping[str, bytes | str]) -> Path:
    """A tar of the samples' members, ``name.ending`` → content, written by hand: the tests' second opinion is webdataset."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in (member for sample in samples for member in sample.items()):
            content = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, BytesIO(content))
    return path


def webdataset(root: Path, shards: int = 3, each: int = 4, part: str = "train") -> dict[str, str]:
    """Shards of two classes in turn."""
    for number in range(shards):
        samples = []
        for image in range(2 * each):
            name = f"{number * 2 * each + image:05d}"
            content = encoded(TONES[image % 2], 100 * number + image)
            samples.append({f"{name}.cls": str(image % 2), f"{name}.png": content})
        shard(root / f"{part}-{number:03d}.tar", *samples)
    return {"urls": str(root / f"{part}-{{000..{shards - 1:03d}}}.tar"), "root": str(root / "fetched")}
