"""One box in every format."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from scipy.io import savemat

from camexp.data import ImageSet, find_imagefolder
from camexp.data.box_formats import match, read_boxes
from camexp.data.wsol import find_wsol
from camexp.errors import UserError
from camexp.evaluation.ground_truth import GroundTruth, dataset_truth, load_truth
from camexp.evaluation.heatmaps import Heatmaps, read_heatmap
from tests.conftest import paint
from tests.data import layouts

BOX = [3.0, 4.0, 20.0, 30.0]


def write(kind: str, folder: Path) -> Path:
    """The box of red/red_0.png in one of the formats."""
    folder.mkdir(exist_ok=True)
    if kind == "csv":
        path = folder / "boxes.csv"
        path.write_text("label,image,x0,y0,x1,y1\nred,red/red_0.png,3,4,20,30\nred,red/red_0.png,0,0,1,1\n")
    elif kind == "wsol":
        (folder / "localization.txt").write_text("red/red_0.png,3,4,20,30\nred/red_0.png,0,0,1,1\n")
        path = folder
    elif kind == "coco":
        path = folder / "instances.json"
        path.write_text(json.dumps({
            "images": [{"id": 7, "file_name": "red_0.png"}],
            "annotations": [{"image_id": 7, "bbox": [3, 4, 18, 27]}, {"image_id": 7, "bbox": [0, 0, 2, 2]}],
        }))  # fmt: skip
    elif kind == "voc":
        box = "<object><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
        (folder / "red_0.xml").write_text(
            f"<annotation><filename>red_0.png</filename>{box.format(4, 5, 21, 31)}{box.format(1, 1, 2, 2)}</annotation>"
        )
        path = folder
    else:
        path = folder / "Annotations"
        (path / "red").mkdir(parents=True)
        savemat(path / "red" / "annotation_0001.mat", {"box_coord": np.array([[4, 30, 3, 20]])})
    return path


@pytest.mark.parametrize("kind", ["csv", "wsol", "coco", "voc"])
def test_formats(kind, colours, tmp_path):
    truth = load_truth(str(write(kind, tmp_path / "truth")), None, find_imagefolder(str(colours)))
    (place,) = truth.boxes
    assert truth.images.paths[place].name == "red_0.png"
    assert truth.boxes[place].tolist() == [BOX, [0, 0, 1, 1]]


def test_caltech_101(tmp_path):
    boxes = read_boxes(write("caltech", tmp_path))
    assert {name: each.tolist() for name, each in boxes.items()} == {"red/image_0001": [BOX]}
    for theirs, ours in (
        ("Faces_2", "Faces"),
        ("Faces_3", "Faces_easy"),
        ("Motorbikes_16", "Motorbikes"),
        ("Airplanes_Side_2", "airplanes"),
    ):
        folder = tmp_path / "Annotations" / theirs
        folder.mkdir()
        savemat(folder / "annotation_0012.mat", {"box_coord": np.array([[4, 30, 3, 20]])})
        assert f"{ours}/image_0012" in read_boxes(tmp_path / "Annotations")


def test_names_match_by_path_then_by_bare_name():
    paths = [Path("r/a/1.jpg"), Path("r/b/1.jpg"), Path("r/b/2.jpg")]
    assert match(["a/1.jpg", "b/1", "2"], paths, Path("r")) == {0: "a/1.jpg", 1: "b/1", 2: "2"}
    assert match(["1.jpg", "no.jpg"], paths, Path("r")) == {}, "two images have that name"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "image,x0,y0,x1\nred/red_0.png,1,2,3\n", "column y1 is missing"),
        ("a.csv", "image,x0,y0,x1,y1\nred/red_0.png,1,2,three,4\n", "line 2 is not image,x0,y0,x1,y1"),
        ("a.csv", "image,x0,y0,x1,y1\nred/red_0.png,9,2,3,4\n", "is inverted"),
        ("a.csv", "image,x0,y0,x1,y1\nred/red_0.png,nan,2,3,4\n", "is inverted or no number"),
        ("a.csv", "image,x0,y0,x1,y1\n", "holds no box"),
        ("a.csv", "image,x0,y0,x1,y1\nother.png,1,2,3,4\n", "none of its 1 images"),
        ("a.json", "{", "could not be read"),
        ("a.json", '{"images": []}', "could not be read"),
        ("a.xyz", "", "has the ending .xyz"),
        ("d/a.xml", "<annotation", "could not be read"),
        ("d/a.xml", '<!DOCTYPE x [<!ENTITY a "b">]><annotation/>', "declares entities"),
        ("d/a.mat", "no mat", "could not be read"),
        ("d/a.txt", "", "folder without annotations"),
    ],
)
def test_broken_truth_is_one_sentence(colours, tmp_path, name, content, said):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        load_truth(str(path if path.parent == tmp_path else path.parent), None, find_imagefolder(str(colours)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-7", "iso-8859-1"])
@pytest.mark.parametrize(
    "declaration", ['<!ENTITY a "b">', '<!ENTITY % a "b">', '<!ENTITY a SYSTEM "file:///etc/hostname">']
)
def test_entities_are_refused_in_every_encoding(tmp_path, encoding, declaration):
    name = "utf-16" if encoding.startswith("utf-16") else encoding.removesuffix("-sig")
    content = f'<?xml version="1.0" encoding="{name}"?><!DOCTYPE x [{declaration}]><annotation><filename>&a;</filename>'
    content += "<object><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></object></annotation>"
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    # of UTF-7 its own spelling of <, which no other reader takes for one
    text = content.encode(encoding).replace(b"<!ENTITY", b"+ADw-!ENTITY" if encoding == "utf-7" else b"<!ENTITY")
    (tmp_path / "a.xml").write_bytes(mark + text)
    with pytest.raises(UserError, match="could not be read" if encoding == "utf-7" else "declares entities"):
        read_boxes(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_voc_in_other_encodings(tmp_path, encoding):
    box = "<object><bndbox><xmin>4</xmin><ymin>5</ymin><xmax>21</xmax><ymax>31</ymax></bndbox></object>"
    content = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE annotation><annotation><filename>ü.png</filename>'
    (tmp_path / "a.xml").write_bytes(f"{content}{box}</annotation>".encode(encoding))
    assert {name: boxes.tolist() for name, boxes in read_boxes(tmp_path).items()} == {"ü.png": [BOX]}


def test_boxes_are_scaled_and_cut_at_the_border(colours, tmp_path):
    listed = tmp_path / "a.csv"
    listed.write_text("image,x0,y0,x1,y1\nred_0.png,-3,4,48,39\nred_1.png,60,0,70,9\n")
    truth = load_truth(str(listed), None, find_imagefolder(str(colours)))
    first, second = truth.boxes
    boxes, size = truth.scaled_boxes(first, None)
    assert boxes.tolist() == [[0, 4, 47, 39]] and size == (40, 48)
    boxes, size = truth.scaled_boxes(first, (80, 24))
    assert boxes.tolist() == [[0, 8, 23, 78]] and size == (80, 24)
    with pytest.raises(UserError, match="lies outside"):
        truth.scaled_boxes(second, None)


def test_wsol_boxes_refer_to_the_listed_size(colours, tmp_path):
    (tmp_path / "localization.txt").write_text("red/red_0.png,3,4,20,17\n")
    sizes = tmp_path / "image_sizes.txt"
    sizes.write_text("red/red_0.png,24,20\n")  # the file has 48×40 pixels
    truth = load_truth(str(tmp_path), None, find_imagefolder(str(colours)))
    (place,) = truth.boxes
    boxes, size = truth.scaled_boxes(place, None)
    assert boxes.tolist() == [[6, 8, 40, 34]] and size == (40, 48)
    assert truth.scaled_boxes(place, (20, 24))[0].tolist() == [[3, 4, 20, 17]]
    sizes.write_text("red/red_0.png,24,none\n")
    with pytest.raises(UserError, match="line 1 of .* is not image,width,height"):
        load_truth(str(tmp_path), None, find_imagefolder(str(colours)))


def test_masks_with_ignored_pixels(colours, tmp_path):
    folder = tmp_path / "masks"
    mask, ignore = np.zeros((40, 48), np.uint8), np.zeros((40, 48), np.uint8)
    mask[5:10], ignore[:5] = 255, 1
    (folder / "red").mkdir(parents=True)
    Image.fromarray(mask).save(folder / "red" / "red_0.png")
    Image.fromarray(ignore).save(folder / "red" / "red_0_ignore.png")
    Image.fromarray(mask[:20]).save(folder / "red" / "red_1.png")
    truth = load_truth(None, str(folder), find_imagefolder(str(colours)))
    first, second = sorted(truth.masked)
    found, without = truth.masks(first)
    assert np.array_equal(found.numpy(), mask > 0) and np.array_equal(without.numpy(), ignore > 0)
    with pytest.raises(UserError, match="expected one size"):
        truth.masks(second)
    with pytest.raises(UserError, match="holds no mask"):
        load_truth(None, str(tmp_path), find_imagefolder(str(colours)).take([3]))


@pytest.mark.parametrize("kind", ["npy", "npz", "mat", "png"])
def test_heatmaps_in_every_format(kind, tmp_path):
    cam = np.arange(12, dtype=np.float32).reshape(3, 4)
    image = paint(tmp_path / "images" / "a" / "x.jpg", (1, 2, 3))
    folder = tmp_path / "maps" / "a"
    folder.mkdir(parents=True)
    if kind == "npy":
        np.save(folder / "x.npy", cam)
    elif kind == "npz":
        np.savez(folder / "x.npz", labels=np.zeros((2, 2)), maps=cam[None])
    elif kind == "mat":
        savemat(folder / "x.mat", {"image_size": np.array([3, 4]), "maps": cam[None]})
    else:
        Image.fromarray(cam.astype(np.uint8)).save(folder / "x.png")
    images = ImageSet(tmp_path / "images", ("a",), (image,), (0,))
    assert np.array_equal(Heatmaps(tmp_path / "maps", images).read(0)[0], cam)


def test_a_map_is_not_taken_for_two_images(tmp_path):
    paths = [paint(tmp_path / name / "1.jpg", (1, 2, 3)) for name in ("a", "b")]
    images = ImageSet(tmp_path, ("a", "b"), paths, (0, 1))
    np.save(tmp_path / "1.npy", np.eye(3))
    assert np.array_equal(Heatmaps(tmp_path, images.take([0])).read(0)[0], np.eye(3))
    with pytest.raises(UserError, match=r"has no map of b/1\.jpg: expected .*/b/1\.npy"):
        Heatmaps(tmp_path, images).read(1)


def test_a_mask_is_not_taken_for_two_images(tmp_path):
    paths = [paint(tmp_path / "in" / name / "1.jpg", (1, 2, 3), (8, 8)) for name in ("a", "b")]
    images = ImageSet(tmp_path / "in", ("a", "b"), paths, (0, 1))
    (tmp_path / "masks" / "b").mkdir(parents=True)
    Image.new("1", (8, 8), 1).save(tmp_path / "masks" / "1.png")
    part = replace(images.take([0]), among=images.paths)
    with pytest.raises(UserError, match="holds no mask of these images"):
        load_truth(None, str(tmp_path / "masks"), part)
    (tmp_path / "masks" / "1.png").rename(tmp_path / "masks" / "b" / "1.png")
    assert load_truth(None, str(tmp_path / "masks"), images).masked == {1}


def test_a_file_of_boxes_beside_each_image(tmp_path):
    """As annotation tools write them: the name without its folder, which another image has as well."""
    for name, box in (("a", (1, 1, 10, 10)), ("b", (21, 11, 30, 20))):
        paint(tmp_path / name / "1.jpg", (1, 2, 3), (40, 40))
        corners = "".join(
            f"<{side}>{at}</{side}>" for side, at in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        (tmp_path / name / "1.xml").write_text(
            f"<annotation><filename>1.jpg</filename><object><bndbox>{corners}</bndbox></object></annotation>"
        )
    images = find_imagefolder(str(tmp_path))
    assert [load_truth(str(tmp_path), None, images).boxes[index].tolist() for index in (0, 1)] == [
        [[0, 0, 9, 9]], [[20, 10, 29, 19]]
    ]  # fmt: skip
    (tmp_path / "a" / "again.xml").write_bytes((tmp_path / "a" / "1.xml").read_bytes())
    with pytest.raises(UserError, match=r"again\.xml is of 1\.jpg, as another file in its folder"):
        load_truth(str(tmp_path), None, images)


def test_a_name_must_be_no_other_images_of_the_data_set(tmp_path):
    """Of a part alone it would seem to be one image's."""
    paths = [paint(tmp_path / name / "1.jpg", (1, 2, 3), (40, 40)) for name in ("a", "b")]
    images = ImageSet(tmp_path, ("a", "b"), paths, (0, 1))
    part = replace(images.take([0]), among=images.paths)
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\n1.jpg,0,0,9,9\n")
    with pytest.raises(UserError, match=r"none of its 1 images \(the first is 1\.jpg\)"):
        load_truth(str(tmp_path / "boxes.csv"), None, part)
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\nb/1.jpg,0,0,9,9\na/1.jpg,1,1,9,9\n")
    assert load_truth(str(tmp_path / "boxes.csv"), None, part).boxes[0].tolist() == [[1, 1, 9, 9]]


def test_boxes_are_scaled_as_the_reference_evaluator_scales_them(tmp_path):
    """``int(x * 224 / width)``: multiplied first, or 45 · (224 / 80) falls just below 126."""
    paths = [paint(tmp_path / "a" / f"{side}.png", (1, 2, 3), (side, side)) for side in (80, 110, 142, 160, 214)]
    images = ImageSet(tmp_path, ("a",), paths, (0,) * 5)
    for index, side in enumerate((80, 110, 142, 160, 214)):
        truth = GroundTruth(images)
        for x in range(side):
            truth.boxes[index] = np.array([[0.0, 0, x, x]])
            assert truth.scaled_boxes(index, (224, 224))[0][0, 2] == int(float(x) * 224.0 / float(side))


def test_heatmaps_that_are_none(tmp_path):
    images = ImageSet(tmp_path, ("a",), (paint(tmp_path / "x.jpg", (1, 2, 3)),), (0,))
    with pytest.raises(UserError, match="has no map of x.jpg"):
        Heatmaps(tmp_path / "none", images).read(0)
    np.save(tmp_path / "x.npy", np.array([object()]), allow_pickle=True)  # would run code when loaded
    with pytest.raises(UserError, match="could not be read"):
        read_heatmap(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", np.zeros(4))
    with pytest.raises(UserError, match="is not a map"):
        read_heatmap(tmp_path / "x.npy")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("way", ["data set", "boxes="])
def test_boxes_drawn_in_the_stored_image_are_turned_with_it(tmp_path, orientation, way):
    """The lists' own evaluator reads no EXIF: the size it lists, and the boxes, are of the image as it is stored."""
    options = layouts.wsol(tmp_path / "set", each=1)
    names = Path(options["metadata"], "test", "image_ids.txt").read_text().split()
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[2:10, 30:40] = 255  # up to the edge: outside of an image of 20×40
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(file := Path(options["root"], names[0]), quality=100, subsampling=0, exif=exif)
    lists = Path(options["metadata"], "test")
    for name, line in (("image_sizes", "40,20"), ("localization", "30,2,39,9")):
        rows = [row for row in (lists / f"{name}.txt").read_text().split() if not row.startswith(names[0])]
        (lists / f"{name}.txt").write_text("\n".join([*rows, f"{names[0]},{line}"]))
    if way == "boxes=":
        images = ImageSet(Path(options["root"]), ("a",), (file,), (0,))
        truth, index = load_truth(str(lists), None, images), 0
    else:
        images = find_wsol(**options)
        truth, index = dataset_truth(images), [str(path) for path in images.paths].index(str(file))
    (x0, y0, x1, y1), size = truth.scaled_boxes(index, None)[0][0].astype(int), images.size(index)
    shown = np.asarray(images.read(index))[:, :, 0] > 127
    assert shown.shape[::-1] == size == ((20, 40) if orientation >= 5 else (40, 20))
    inside = np.zeros_like(shown)
    inside[y0 : y1 + 1, x0 : x1 + 1] = True
    assert np.array_equal(inside, shown)


def test_what_lies_beside_a_data_set_is_not_its_own(tmp_path):
    """Some other boxes.csv, in the folder that a data set with masks was unpacked in."""
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\na/1.png,0,0,5,5\n")
    paint(file := tmp_path / "pets" / "a" / "1.png", (9, 9, 9))
    images = ImageSet(tmp_path / "pets", ("a",), (file,), (0,), mask=lambda path: np.ones((40, 48), bool))
    truth = dataset_truth(images)
    assert truth.masked == {0} and not truth.boxes
