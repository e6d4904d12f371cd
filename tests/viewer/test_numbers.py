"""The page's mathematics against Python's: enlarging, parts, boxes, overlaps."""

import base64
import json

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.ops import box_iou

from camexp.cam import box_from_map, colour_map, upsample
from camexp.viewer import VIEWER, json_text, pack_maps, pack_mask, unpack_maps, write_page
from camexp.viewer.page import asset

SIZES = [(224, 224), (97, 301), (480, 33), (14, 14), (9, 7)]


def maps_of_all_kinds():
    rng = np.random.default_rng(0)
    smooth = [ndimage.gaussian_filter(rng.normal(size=(14, 14)), 1.5) for _ in range(12)]
    others = [rng.normal(size=(7, 11)), rng.normal(size=(1, 5)), -rng.random((4, 4)), np.zeros((3, 3)), np.eye(6)]
    return [(10 * one).astype(np.float32) for one in (*smooth, *others)]


@pytest.fixture
def page(open_page, tmp_path):
    write_page(tmp_path / "page.html", "numbers", VIEWER, {})
    return open_page(tmp_path / "page.html")


RUN = """([packed, H, W, level]) => {
    const maps = new camexp.Maps(packed), [K, h, w] = packed.shape, values = maps.values(0), peak = camexp.peak(values, h, w, H, W);
    return { full: Array.from(camexp.upsample(values, h, w, H, W)), peak,
        parts: peak > 0 ? camexp.parts(values, h, w, H, W, level * peak).map(part => [part.area, ...part.box]) : [] };
}"""


@pytest.mark.slow
def test_enlarging_parts_and_boxes_are_those_of_python(page):
    for number, one in enumerate(maps_of_all_kinds()):
        packed = pack_maps(one[None])
        restored = unpack_maps(packed)
        span = float(one.max() - one.min())
        assert np.abs(restored[0] - one).max() <= span / 510 + 1e-5 * max(span, abs(float(one.max())))
        size, level = SIZES[number % len(SIZES)], (0.2, 0.5, 0.0, 0.8)[number % 4]
        full = upsample(torch.from_numpy(restored)[None], size)[0, 0].numpy()
        result = page.evaluate(RUN, [packed, *size, level])
        assert np.abs(np.array(result["full"]).reshape(size) - full).max() <= 1e-3 * span
        assert result["peak"] == pytest.approx(float(full.max()), abs=1e-3 * max(span, 1e-9))
        box = box_from_map(full, level)
        assert (tuple(result["parts"][0][1:]) if result["parts"] else None) == box
        if box is None:
            continue
        parts, _ = ndimage.label(full > level * full.max(), structure=np.ones((3, 3)))
        expected = [
            (int((parts[where] == label + 1).sum()), where[1].start, where[0].start, where[1].stop - 1, where[0].stop - 1)
            for label, where in enumerate(ndimage.find_objects(parts))
        ]  # fmt: skip
        assert sorted(map(tuple, result["parts"])) == sorted(expected)


def test_a_point_has_the_value_of_the_enlarged_map(page):
    one = maps_of_all_kinds()[0]
    packed = pack_maps(one[None])
    full = upsample(torch.from_numpy(unpack_maps(packed))[None], (140, 140))[0, 0].numpy()
    for y, x in ((0, 0), (70, 33), (139, 139), (5, 120)):
        value = page.evaluate(
            "([packed, x, y]) => camexp.valueAt(new camexp.Maps(packed).values(0), 14, 14, x, y)",
            [packed, (x + 0.5) / 140, (y + 0.5) / 140],
        )
        assert value == pytest.approx(float(full[y, x]), abs=1e-4)


def test_overlap_of_masks(page):
    """Against pixels counted: masks of several runs, that begin at the first pixel, that are empty or full."""
    rng = np.random.default_rng(1)
    height, width = 37, 53
    for number, one in enumerate(maps_of_all_kinds()[:4]):
        restored = unpack_maps(packed := pack_maps(one[None]))
        found = upsample(torch.from_numpy(restored)[None], (height, width))[0, 0].numpy()
        found = found > np.float32(0.3) * found.max()
        noise = ndimage.gaussian_filter(rng.normal(size=(height, width)), 3)
        mask = (noise > 0, noise < 0, np.zeros_like(found), np.ones_like(found))[number]
        ignored = (ndimage.binary_dilation(mask, iterations=3) if number else np.zeros_like(mask)) & ~mask
        measured = page.evaluate(
            """([packed, H, W, mask, ignored]) => {
                const maps = new camexp.Maps(packed), values = maps.values(0), { height: h, width: w } = maps;
                const found = camexp.parts(values, h, w, H, W, 0.3 * camexp.peak(values, h, w, H, W));
                return camexp.maskIou(found, W, camexp.stretches(mask), camexp.stretches(ignored));
            }""",
            [packed, height, width, pack_mask(mask), pack_mask(ignored)],
        )
        counted = found & ~ignored
        assert measured == pytest.approx((counted & mask).sum() / (counted | mask).sum(), abs=2 / (height * width))


def test_overlap_and_probabilities(page):
    boxes = [[0, 0, 9, 9], [5, 5, 20, 14], [30, 30, 31, 31]]
    half_open = torch.tensor(boxes) + torch.tensor([0, 0, 1, 1])
    expected = box_iou(half_open.float(), half_open.float()).flatten().tolist()
    assert page.evaluate("boxes => boxes.flatMap(a => boxes.map(b => camexp.iou(a, b)))", boxes) == pytest.approx(
        expected
    )
    logits = [1000.0, 998.5, -1000.0]
    expected = torch.tensor(logits, dtype=torch.float64).softmax(0).tolist()
    assert page.evaluate("logits => Array.from(camexp.softmax(logits))", logits) == pytest.approx(expected)


def test_colours_are_matplotlibs():
    tables = json.loads(asset("colour_maps.json"))
    assert len(tables) == 12
    for name, table in tables.items():
        assert base64.b64decode(table) == colour_map(name).tobytes()


def test_heat_is_blended_as_in_the_overlays(page):
    """A photograph of one colour under heat that is not faded: the pixels of camexp.cam.overlay."""
    from camexp.cam import overlay

    one = maps_of_all_kinds()[1]
    packed = pack_maps(one[None])
    full = upsample(torch.from_numpy(unpack_maps(packed))[None], (60, 80))[0, 0].numpy()
    pixels = page.evaluate(
        """packed => {
            const canvas = camexp.el("canvas", {width: 80, height: 60}), photo = camexp.el("canvas", {width: 80, height: 60});
            photo.getContext("2d").fillStyle = "rgb(100 150 200)"; photo.getContext("2d").fillRect(0, 0, 80, 60);
            const values = new camexp.Maps(packed).values(0), full = camexp.upsample(values, 14, 14, 60, 80);
            camexp.paint(canvas, photo, {values, height: 14, width: 14, low: Math.min(...full), high: Math.max(...full),
                table: camexp.colourMap("jet"), opacity: 0.5, fade: false});
            return Array.from(canvas.getContext("2d").getImageData(0, 0, 80, 60).data);
        }""",
        packed,
    )
    drawn = np.array(pixels).reshape(60, 80, 4)[..., :3]
    expected = overlay(np.full((60, 80, 3), (100, 150, 200), np.uint8), full, "jet", 0.5)
    difference = np.abs(drawn - expected.astype(int))
    assert (difference <= 3).mean() > 0.999  # a level of the table beside, where rounding differs


def test_nothing_in_the_data_ends_its_script():
    text = json_text({"</script><script>alert(1)</script>": "<!-- \u2028 \ud800"})
    assert "<" not in text
    assert json.loads(text) == {"</script><script>alert(1)</script>": "<!-- \u2028 ?"}
