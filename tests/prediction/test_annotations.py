"""What becomes an annotation, and how it is written, whatever the order in which images come."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from camexp.cam.boxes import Part, connected_parts
from camexp.config import PredictOptions
from camexp.config.predict import ObjectOptions
from camexp.errors import UserError
from camexp.prediction.annotations.coco import part_run_lengths, run_lengths
from camexp.prediction.annotations.masks import class_mask, palette
from camexp.prediction.annotations.objects import AnnotatedImage, WeakLabel, find_objects
from camexp.prediction.annotations.writer import Annotations, names_below
from camexp.prediction.results import Explanation
from camexp.prediction.writing import State, Writing

# pycocotools under NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

FORMATS = ["coco", "yolo", "voc", "masks"]


def explanation(path="a.png", size=(30, 40), classes=("cat", "dog"), seed=0, maps=None, probabilities=(0.75, 0.25)):
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 1, (len(classes), 5, 6)).astype(np.float32) if maps is None else np.asarray(maps, np.float32)
    probabilities = np.array(probabilities, np.float32)
    labels = np.arange(len(raw))
    return Explanation(
        Path(path), np.zeros((*size, 3), np.uint8), np.log(probabilities), probabilities, raw, labels, classes
    )


def options(output, given=".", formats=FORMATS, threshold=0.5, **objects) -> PredictOptions:
    return PredictOptions.read(
        {"ckpt": "a.ckpt", "input": given, "output": str(output), "annotations": formats, "cam": {},
         "threshold": {"value": threshold}, "objects": objects}
    )  # fmt: skip


@pytest.mark.parametrize("density", [0, 0.02, 0.5, 0.97, 1])
def test_run_lengths_are_decoded_by_pycocotools(density):
    for shape in ((1, 1), (1, 9), (9, 1), (13, 8)):
        mask = np.random.default_rng(3).random(shape) < density
        counts = run_lengths(mask)
        encoded = coco_mask.frPyObjects({"size": list(shape), "counts": counts}, *shape)
        assert np.array_equal(coco_mask.decode(encoded), mask) and sum(counts) == mask.size


@pytest.mark.parametrize("density", [0.1, 0.5, 1])
def test_run_lengths_of_parts_too(density):
    for shape in ((1, 1), (1, 9), (9, 1), (13, 8)):
        above = np.random.default_rng(4).random(shape) < density
        total = np.zeros(shape, int)
        for part in connected_parts(above):
            counts = part_run_lengths(part, shape)
            mask = coco_mask.decode(coco_mask.frPyObjects({"size": list(shape), "counts": counts}, *shape))
            assert sum(counts) == mask.size and mask.sum() == part.area
            total += mask
        assert np.array_equal(total, above)


def expected_masks(raw, size, threshold):
    """The parts of one map, by torch's own interpolation and a flood fill."""
    large = F.interpolate(torch.from_numpy(raw)[None, None].double(), size, mode="bilinear")[0, 0].numpy()
    large = (large - large.min()) / (large.max() - large.min())
    left = {tuple(place) for place in np.argwhere(large >= threshold)}
    while left:
        mask, border = np.zeros(size, bool), [left.pop()]
        while border:
            y, x = border.pop()
            mask[y, x] = True
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            border += near
        yield mask


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.3, 0.731, 1.0])
def test_objects_are_the_parts_above_the_threshold(seed, threshold):
    image = explanation(seed=seed)
    for parts, min_area in (("all", 0.0), ("largest", 0.0), ("all", 0.02)):
        found, without = find_objects(image, threshold, ObjectOptions(parts=parts, min_area=min_area))
        assert not without
        for label in (0, 1):
            masks = sorted(expected_masks(image.maps[label], image.size, threshold), key=lambda mask: -mask.sum())
            masks = [mask for mask in masks if mask.sum() >= min_area * mask.size]
            masks = masks[:1] if parts == "largest" else masks
            mine = [one for one in found if one.label == label]
            assert [one.part.area for one in mine] == [mask.sum() for mask in masks]
            assert {whole(one, image.size).tobytes() for one in mine} == {mask.tobytes() for mask in masks}
            for one in mine:
                rows, columns = np.nonzero(whole(one, image.size))
                assert one.part.box == (columns.min(), rows.min(), columns.max(), rows.max())
                assert one.score == image.probabilities[label]


def whole(one: WeakLabel, size) -> np.ndarray:
    mask = np.zeros(size, bool)
    x0, y0, x1, y1 = one.part.box
    mask[y0 : y1 + 1, x0 : x1 + 1] = one.part.mask
    return mask


def test_improbable_classes_are_left_out():
    found, without = find_objects(explanation(), 0.5, ObjectOptions(min_probability=0.5))
    assert {one.label for one in found} == {0} and not without


@pytest.mark.parametrize(
    ("cam", "why"),
    [
        (np.full((5, 6), 0.3), "the same everywhere"),
        (np.full((5, 6), np.nan), "not finite"),
        (np.where(np.eye(5), np.inf, 0), "not finite"),
    ],
)
def test_maps_without_a_shape_have_no_object(cam, why):
    found, without = find_objects(explanation(maps=[cam, cam]), 0.0, ObjectOptions())
    [(told, classes)] = without.items()
    assert not found and classes == ["cat", "dog"] and why in told


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_any_order_of_the_threads_writes_the_same(tmp_path):
    paths = [Path(f"in/{'sub ' if number % 2 else ''}/{number}.png") for number in range(24)]
    images = [explanation(path, (20 + n, 50 - n), seed=n) for n, path in enumerate(paths)]
    for name in ("forwards", "shuffled"):
        order = np.arange(24) if name == "forwards" else np.random.default_rng(1).permutation(24)
        annotations = Annotations(
            tmp_path / name, ["cat", "dog"], options(tmp_path / name, "in", parts="all"), paths=paths
        )
        with Writing(tmp_path / name, [annotations], range(24)) as writing:

            def add(index: int, writing: Writing = writing) -> None:
                writing.skip(index, paths[index], "") if index == 5 else writing.add(index, images[index], [])

            with ThreadPoolExecutor(1 if name == "forwards" else 8) as pool:
                list(pool.map(add, order.tolist()))
        writing.assemble()
        (tmp_path / name / "state.json").unlink()
    one, other = (tree(tmp_path / name) for name in ("forwards", "shuffled"))
    assert one == other and len(one) == 3 * 23 + 6
    content = json.loads(one["annotations/coco/instances.json"])
    assert [image["file_name"] for image in content["images"]] == [
        f"{'sub ' if n % 2 else ''}/{n}.png".lstrip("/") for n in range(24) if n != 5
    ]
    assert [one["id"] for one in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
    assert [one["image_id"] for one in content["annotations"]] == sorted(
        one["image_id"] for one in content["annotations"]
    )
    assert annotations.images == 23 and annotations.objects == len(content["annotations"])


def test_what_is_done_before_an_error_is_written(tmp_path):
    paths = [Path(f"{number}.png") for number in range(5)]
    annotations = Annotations(tmp_path, ["cat", "dog"], options(tmp_path), paths=paths)
    with pytest.raises(RuntimeError, match="broken"), Writing(tmp_path, [annotations], range(5)) as writing:
        for index in (4, 1, 0):  # 2 and 3 never come
            writing.add(index, explanation(paths[index]), [])
        raise RuntimeError("broken")
    writing.assemble()
    content = json.loads((tmp_path / "annotations/coco/instances.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["0.png", "1.png", "4.png"]
    assert (tmp_path / "annotations/yolo/train.txt").read_text().split() == [f"./images/{n}.png" for n in (0, 1, 4)]
    assert [path.name for path in tmp_path.rglob(".*")] == [".annotations.jsonl"]  # what a later process goes on from
    with Writing(tmp_path, [annotations], range(5), State.read(tmp_path)) as writing:
        for index in (2, 3, 4):
            writing.add(index, explanation(paths[index]), [])
    writing.assemble()
    content = json.loads((tmp_path / "annotations/coco/instances.json").read_text())
    assert [image["file_name"] for image in content["images"]] == [f"{n}.png" for n in range(5)]
    assert (tmp_path / "annotations/yolo/train.txt").read_text().split() == [f"./images/{n}.png" for n in range(5)]
    assert not list(tmp_path.rglob(".*"))


def test_without_images_nothing_is_written(tmp_path):
    annotations = Annotations(tmp_path, ["cat"], options(tmp_path), paths=[Path("a.png")])
    with Writing(tmp_path, [annotations], range(1)) as writing:
        writing.skip(0, Path("a.png"), "broken")
    writing.assemble()
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_names_that_text_can_hardly_hold(tmp_path):
    odd = [os.fsdecode(b"br\xe9ken.png"), "tab\there & <there>.png", "\x01.png"]
    classes = ["cat\nlike", os.fsdecode(b"c\xe9")]
    annotations = Annotations(tmp_path, classes, options(tmp_path), paths=[Path(name) for name in odd])
    with Writing(tmp_path, [annotations], range(3)) as writing:
        for index, name in enumerate(odd):
            writing.add(index, explanation(name, classes=classes), [])
    writing.assemble()
    root = tmp_path / "annotations"
    assert [image["file_name"] for image in json.loads((root / "coco/instances.json").read_text())["images"]] == odd
    assert (root / "yolo/classes.txt").read_bytes() == b"cat like\nc\xe9\n"
    assert len(yaml.safe_load((root / "yolo/data.yaml").read_text())["names"]) == 2
    found = {ElementTree.parse(path).findtext("filename") for path in (root / "voc/Annotations").iterdir()}
    assert found == {"br\ufffdken.png", "tab\there & <there>.png", "\ufffd.png"}
    assert len(list((root / "masks").glob("*.png"))) == 3


def test_names_are_relative_to_the_folder_that_was_given(tmp_path):
    inside = tmp_path / "photos" / "a b"
    inside.mkdir(parents=True)
    paths = [inside / "1.jpg", inside / "2.jpg"]
    assert names_below(paths, str(tmp_path / "photos")) == ["a b/1.jpg", "a b/2.jpg"]
    assert names_below(paths, [str(tmp_path / "photos")]) == ["a b/1.jpg", "a b/2.jpg"]
    assert (
        names_below(paths, str(inside / "*.jpg"))
        == names_below(paths, [str(one) for one in paths])
        == ["1.jpg", "2.jpg"]
    )
    assert names_below(paths[:1], str(paths[0])) == ["1.jpg"]


def test_files_that_would_be_one_are_refused(tmp_path):
    same = [Path("in/a.jpg"), Path("in/a.png")]
    for formats in (["yolo"], ["coco", "masks"], ["voc"]):
        with pytest.raises(UserError, match=r"in/a.jpg and in/a.png.*one file.*annotations=coco"):
            Annotations(tmp_path, ["cat"], options(tmp_path, formats=formats), paths=same)
    Annotations(tmp_path, ["cat"], options(tmp_path, formats=["coco"]), paths=same)
    with pytest.raises(UserError, match=r"a.jpg twice"):
        Annotations(
            tmp_path, ["cat"], options(tmp_path, formats=["coco"]), paths=[Path("a.jpg"), Path("a.jpg").absolute()]
        )
    with pytest.raises(UserError, match=r"new\\nline.png"):
        Annotations(tmp_path, ["cat"], options(tmp_path, formats=["yolo"]), paths=[Path("new\nline.png")])
    assert not list(tmp_path.iterdir())


def test_masks_show_the_most_probable_class_in_the_colours_of_pascal_voc():
    part = Part((0, 0, 1, 1), np.ones((2, 2), bool), 4)
    right = Part((1, 0, 2, 0), np.ones((1, 2), bool), 2)
    image = AnnotatedImage("a.jpg", (2, 3), [WeakLabel(2, 0.6, right), WeakLabel(0, 0.3, part)])
    assert class_mask(image, 3).tolist() == [[1, 3, 3], [1, 1, 0]]
    many = AnnotatedImage("a.jpg", (2, 3), [WeakLabel(999, 0.6, part)])
    assert class_mask(many, 1000).max() == 1000
    assert Image.fromarray(class_mask(many, 1000)).mode == "I;16"
    colours = np.frombuffer(palette(), np.uint8).reshape(256, 3).tolist()
    assert colours[15] == [192, 128, 128] and colours[20] == [0, 64, 128] and colours[255] == [224, 224, 192]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"annotations": ["coco", "voc"]}, "annotations=[coco,voc] needs a threshold: give threshold.from=DIR"),
        ({"annotations": "coca", "threshold": {"value": 0.3}}, "annotations=coca is not known: expected coco, yolo, voc or masks"),
        ({"annotations": ["coco", 3], "threshold": {"value": 0.3}}, "annotations=['coco', 3] is not known"),
        ({"annotations": None}, "annotations=None is not known"),
        ({"annotations": "coco", "threshold": {"value": 0.3, "from": "x"}}, "threshold.from=x and threshold.value=0.3 are two"),
        ({"threshold": {"value": 0.3}}, "threshold.value=0.3 is of annotations, and none are asked for: add annotations=coco"),
        ({"threshold": {"from": "x"}}, "threshold.from=x is of annotations"),
        ({"annotations": "coco", "threshold": {"value": 30}}, "threshold.value=30 is out of range: expected null or a number from 0 to 1"),
        ({"objects": {"parts": "some"}}, "objects.parts=some is not known: expected one of largest, all"),
        ({"objects": {"min_area": 2}}, "objects.min_area=2 is out of range: expected a number from 0 to 1"),
        ({"objects": {"min_probability": -1}}, "objects.min_probability=-1 is out of range"),
    ],
)  # fmt: skip
def test_wrong_options(given, sentence):
    with pytest.raises(UserError) as error:
        PredictOptions.read({"ckpt": "a.ckpt", "input": ".", "cam": {}, **given})
    assert sentence in str(error.value)


def test_one_word_is_a_list_of_it():
    given = {"ckpt": "a.ckpt", "input": ".", "cam": {}, "threshold": {"value": 0.3}}
    assert PredictOptions.read({**given, "annotations": "voc"}).annotations == ["voc"]
    assert PredictOptions.read({**given, "annotations": ["voc", "coco", "voc"]}).annotations == ["voc", "coco"]
