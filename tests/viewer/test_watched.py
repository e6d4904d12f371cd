"""The maps of the watched images at every step: what is written comes back."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from camexp.viewer import unpack_maps
from camexp.viewer.watched import append_head, append_step, read_watched, wanted_maps

CLASSES = ["cat", "</script>", "dog"]


def begin(path, name="a.png"):
    append_head(path, CLASSES, True, [Image.new("RGB", (40, 30))], [f"in/{name}"], [2], [[2]])


def look(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=3).astype(np.float32), rng.normal(size=(3, 4, 5)).astype(np.float32), [0, 1, 2]


def test_what_was_kept_comes_back(tmp_path):
    path = tmp_path / "cams" / "maps.jsonl"
    begin(path)
    for step in (0, 5):
        append_step(path, step, [look(step)])
    watched = read_watched(path)
    assert (watched.classes, watched.identity) == (CLASSES, True)
    (image,) = watched.images
    assert (image["name"], image["size"], image["truth"], image["labels"]) == ("a.png", [30, 40], 2, [2])
    assert [json.loads(line)["step"] for line in watched.steps] == [0, 5]
    logits, maps, labels = look(5)
    record = json.loads(watched.steps[1])
    assert np.array_equal(np.frombuffer(base64.b64decode(record["logits"]), "<f4"), logits)
    assert record["labels"] == labels
    spread = (maps.max((1, 2)) - maps.min((1, 2)))[:, None, None]
    assert (np.abs(unpack_maps(record["maps"]) - maps) <= spread / 500).all()
    assert record["p"] == pytest.approx(np.exp(logits).max() / np.exp(logits).sum(), rel=1e-4)
    assert "<" not in "".join(watched.steps)


def test_a_line_that_was_cut_short_is_passed_over(tmp_path):
    path = tmp_path / "maps.jsonl"
    begin(path)
    append_step(path, 0, [look(0)])
    whole = path.read_bytes()
    append_step(path, 1, [look(1)])
    path.write_bytes(path.read_bytes()[: len(whole) + 100])
    assert len(read_watched(path).steps) == 1
    path.write_bytes(whole[:100])  # in the middle of the first line
    assert read_watched(path).images == []


def test_other_images_begin_anew(tmp_path):
    path = tmp_path / "maps.jsonl"
    begin(path)
    append_step(path, 0, [look(0)])
    begin(path, "b.png")
    append_step(path, 3, [look(3)])
    watched = read_watched(path)
    assert watched.images[0]["name"] == "b.png"
    assert [json.loads(line)["step"] for line in watched.steps] == [3]


def test_a_page_takes_no_more_than_it_may(tmp_path):
    path = tmp_path / "maps.jsonl"
    begin(path)
    for step in range(100):
        append_step(path, step, [look(step)])
    line = len(read_watched(path).steps[0])
    steps = [json.loads(one)["step"] for one in read_watched(path, 20 * line).steps]
    assert steps[0] == 0 and steps[-1] == 99 and 10 <= len(steps) <= 20


def test_of_many_classes_the_likely_ones_and_the_watched_are_kept():
    logits = np.zeros(5000)
    logits[[7, 70, 700, 4000, 4001]] = 1
    assert wanted_maps(5000, 14, 14, [3], logits) == [3, 7, 70, 700, 4000, 4001]
    assert len(wanted_maps(1000, 14, 14, [3], logits[:1000])) == 1000


def test_a_map_that_is_not_finite_is_left_out(tmp_path):
    path = tmp_path / "maps.jsonl"
    begin(path)
    logits, maps, labels = look(0)
    append_step(path, 0, [(logits, maps * np.nan, labels)])
    assert read_watched(path).steps == []
