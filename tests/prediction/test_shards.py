"""Shards, and predictions that were killed: joined, they are what one quiet run gives, byte for byte."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from camexp.errors import UserError
from camexp.launching.shards import Shard, shard_arguments
from camexp.prediction import gather
from tests.conftest import run_process, running
from tests.data import layouts
from tests.prediction.conftest import results

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("images", [0, 1, 7, 31, 32, 33, 1000])
@pytest.mark.parametrize("count", [1, 2, 3, 16])
def test_shards_are_whole_blocks_and_all_images(images, count):
    rows = [shard.rows(images, block=8) for shard in Shard(0, count).all()]
    assert [index for some in rows for index in some] == list(range(images))
    assert all(some.start % 8 == 0 or not some for some in rows)
    sizes = [-(-len(some) // 8) for some in rows]
    assert max(sizes) - min(sizes) <= 1


def test_arguments_of_a_multirun():
    assert shard_arguments(["-m", "shards=2", "shard=1"]) == ["-m", "shards=2", "shard=1"]
    assert shard_arguments(["shards=2", "output=a"]) == ["shards=2", "output=a"]
    assert "shard=range(16)" in shard_arguments(["--multirun", "shards=16", "launch=slurm"])


@pytest.fixture
def quiet(script, ready_to_predict, tmp_path) -> dict[str, bytes]:
    """The results of an undivided prediction without interruption."""
    done = script("predict.py", *ready_to_predict, "output=quiet")
    assert done.code == 0, done.err
    found = results(tmp_path / "quiet")
    assert len(found) > 200 and not list((tmp_path / "quiet").glob(".*jsonl"))
    return found


@pytest.mark.slow
def test_shards_joined_are_the_undivided_prediction(script, ready_to_predict, quiet, tmp_path):
    for number in (1, 0):  # in any order, on any machine
        done = script("predict.py", *ready_to_predict, "output=out", "shards=2", f"shard={number}")
        assert done.code == 0 and "camexp gather out" in done.out, done.err
        if number:
            with pytest.raises(UserError, match=r"32 of 40 images are missing, of shard 0"):
                gather(tmp_path / "out")
            assert (tmp_path / "out" / "predictions.csv").read_bytes().count(b"\n") == 1 + 2 * 8
    for _ in range(2):
        gather(tmp_path / "out")
        assert results(tmp_path / "out") == quiet
    table = tmp_path / "out" / "shards" / "00001-of-00002" / "predictions.csv"
    state = table.with_name("state.json")
    sound = {file: file.read_bytes() for file in (state, table, table.with_name(".report.jsonl"))}
    for file, more in ((state, None), (table, b'"half a row'), (table.with_name(".report.jsonl"), b'{"half')):
        file.write_bytes(sound[file] + more if more else sound[file].replace(b'"finished": true', b'"finished": false'))
    assert state.read_bytes() != sound[state]
    with pytest.raises(UserError, match="missing, of shard 1"):  # it is at work, or was killed in the middle of a row
        gather(tmp_path / "out")
    assert results(tmp_path / "out")["predictions.csv"] == quiet["predictions.csv"]
    for file, content in sound.items():
        file.write_bytes(content)
    for left in (0, 100):  # of a finished shard, removed or cut short
        table.write_bytes(table.read_bytes()[:left])
        with pytest.raises(UserError, match=r"8 of 40 images are missing, of shard 1"):
            gather(tmp_path / "out")
        assert script("predict.py", *ready_to_predict, "output=out", "shards=2", "shard=1", "resume=auto").code == 0
    gather(tmp_path / "out")
    assert results(tmp_path / "out") == quiet


def test_shards_without_images_are_not_missed(script, ready_to_predict, tmp_path):
    command = (*ready_to_predict, "input=in/0*.png", "output=out", "shards=3")
    done = script("predict.py", *[one for one in command if one != "input=in"], "shard=2")
    assert done.code == 0, done.err
    gather(tmp_path / "out")
    assert (tmp_path / "out" / "predictions.csv").read_bytes().count(b"\n") == 1 + 2 * 10


@pytest.mark.slow
@pytest.mark.parametrize("way", [("shards=2",), ("-m", "shards=2")])
def test_shards_in_one_command(ready_to_predict, quiet, tmp_path, way):
    done = run_process("predict.py", *way, *ready_to_predict, "output=out", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "gathering" in done.err + done.out and "images       39" in done.out
    assert results(tmp_path / "out") == quiet


def lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:  # a process that begins replaces it
        return 0


@pytest.mark.slow
def test_killed_again_and_again_it_gives_the_same(ready_to_predict, quiet, tmp_path):
    command = ("predict.py", *ready_to_predict, "output=out", "resume=auto")
    table, codes = tmp_path / "out" / "predictions.csv", []
    for images in (1, 9, 20, 35):
        with running(*command, cwd=tmp_path) as run:
            while run.process.poll() is None and lines(table) < 2 * images:
                pass  # until so many images are written
            codes.append(run.end(signal.SIGKILL).code)
    assert -signal.SIGKILL in codes
    done = run_process(*command, cwd=tmp_path)
    assert done.code == 0, done.err
    assert re.search("resuming|are done already", done.out)
    assert results(tmp_path / "out") == quiet
    again = run_process(*command, cwd=tmp_path)
    assert again.code == 0 and "the 40 images are done already" in again.out and results(tmp_path / "out") == quiet


def test_an_interrupted_one_goes_on_after_the_last_whole_image(script, ready_to_predict, quiet, tmp_path, monkeypatch):
    from camexp.prediction import run

    real, calls = run.explain_in_memory, []

    def explain(*arguments, **more):
        calls.append([picture.index for picture in arguments[1]])
        if len(calls) == 10:
            signal.raise_signal(signal.SIGTERM)
        return real(*arguments, **more)

    monkeypatch.setattr(run, "explain_in_memory", explain)
    done = script("predict.py", *ready_to_predict, "output=out")
    assert done.code == 143 and "with output=out resume=auto goes on from there" in done.out
    left = json.loads((tmp_path / "out" / "state.json").read_text())
    assert left["next"] == calls[-1][-1] + 1 and not left["finished"]
    assert (tmp_path / "out" / "report.html").exists()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "overlays").iterdir()}
    done = script("predict.py", *ready_to_predict, "output=out", "resume=auto")
    assert done.code == 0 and f"resuming: {left['next']} of 40 images are done" in done.out
    assert results(tmp_path / "out") == quiet
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())  # nothing is written twice


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("resume=auto", "label=[a,c]"), r"differ in label=\['a', 'c'\] \(was \['a', 'b'\]\): repeat its options"),
        (("resume=auto", "precision=64-true"), r"differ in precision=64-true \(was 32-true\)"),
        (("resume=auto", "input=in/0*.png"), r"the images \(10, was 40\)"),
        (("shards=3", "shard=0"), r"shards=3 \(was 1\)"),
    ],
)
def test_another_prediction_is_not_gone_on_with(script, ready_to_predict, tmp_path, more, sentence):
    assert script("predict.py", *ready_to_predict, "output=out").code == 0
    kept = [one for one in ready_to_predict if one.partition("=")[0] not in {word.partition("=")[0] for word in more}]
    done = script("predict.py", *kept, "output=out", *more)
    assert done.code == 1 and re.search(sentence, done.err), done.err


def test_what_cannot_be_divided_or_gathered(script, ready_to_predict, tmp_path):
    for more, sentence in (
        (("shards=2", "shard=2", "output=a"), "shard=2 with shards=2 is none of them: expected 0 to 1"),
        (("shards=2", "shard=0"), "shard=0 needs output=DIR, the same folder for all shards"),
        (("shards=2", "cam=ddt", "output=a"), "cam=ddt takes what all images have in common, and shards=2"),
        (("gpus=2", "output=a"), "gpus=2 but this machine has"),
    ):
        kept = [
            one for one in ready_to_predict if one.partition("=")[0] not in {word.partition("=")[0] for word in more}
        ]
        done = script("predict.py", *kept, *more)
        assert done.code == 1 and sentence in done.err, done.err
    with pytest.raises(UserError, match=r"holds no manifest.json"):
        gather(tmp_path)
    done = run_process("camexp/gather.py", str(tmp_path / "nowhere"), cwd=tmp_path)
    assert done.code == 1 and "holds no manifest.json: give the output folder" in done.err


def test_a_data_set_is_predicted_as_well(script, ready_to_predict, colours, tmp_path):
    given = [one for one in ready_to_predict if not one.startswith(("input=", "annotations=", "threshold."))]
    done = script("predict.py", *given, "dataset=imagefolder", f"dataset.root={colours}", "output=out")
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "predictions.csv").read_bytes().count(b"\n") == 1 + 2 * 24
    done = script("predict.py", *given, "dataset=imagefolder", f"dataset.root={colours}", "part=test", "output=other")
    assert done.code == 1 and "part=test: the data set names no such images of its own: take part=all" in done.err
    done = script("predict.py", *given, "output=other")
    assert done.code == 1 and "input is not given: add input=PATH" in done.err
    done = script("predict.py", *ready_to_predict, "dataset=imagefolder", f"dataset.root={colours}", "output=other")
    assert done.code == 1 and "input=in and dataset=… are two sources of images" in done.err


@pytest.mark.parametrize("kind", ["huggingface", "streaming", "webdataset"])
def test_images_without_classes_are_predicted_from_tables_and_shards(script, ready_to_predict, tmp_path, kind):
    if kind == "webdataset":
        options = layouts.webdataset(tmp_path)
        for path in tmp_path.glob("train-*.tar"):
            names = [f"{path.stem}_{number}.png" for number in range(4)]
            layouts.shard(path, *({name: layouts.encoded((9, 9, 200), 7)} for name in names))
        given = [f"dataset.urls='{options['urls']}'", "dataset.label_key=none"]
    else:
        pytest.importorskip("datasets")
        parquet = pytest.importorskip("pyarrow.parquet")
        options = layouts.huggingface(tmp_path, each=2)
        for path in (tmp_path / "table" / "data").glob("*.parquet"):
            table = parquet.read_table(path).select(["image"])
            told = {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})}
            parquet.write_table(table.replace_schema_metadata(told), path)
        given = [f"dataset.path={options['path']}", f"dataset.root={options['root']}"]
        given += [f"dataset.streaming={kind == 'streaming'}", "dataset.label_column=none"]
    kept = [one for one in ready_to_predict if not one.startswith(("input=", "annotations=", "threshold."))]
    group = f"dataset={'webdataset' if kind == 'webdataset' else 'huggingface'}"
    done = script("predict.py", *kept, group, *given, "output=out")
    assert done.code == 0 and "12 images in" in done.out, done.err
    assert (tmp_path / "out" / "predictions.csv").read_bytes().count(b"\n") == 1 + 2 * 12
    refused = script("train.py", group, *given, "model=vgg11", "model.weights=null", "model.freeze=none")
    assert refused.code == 1 and "nothing says what the images show, and only predict takes such ones" in refused.err


def test_a_million_files_are_not_written_unasked(script, ready_to_predict, tmp_path, monkeypatch):
    monkeypatch.setattr("camexp.prediction.outputs.MOST_IMAGES", 39)
    done = script("predict.py", *ready_to_predict, "output=out")
    assert (
        done.code == 1 and "input=in names 40 images, and their overlays, maps and pages would be 80 files" in done.err
    )
    assert not (tmp_path / "out" / "overlays").exists()
    assert script("predict.py", *ready_to_predict, "output=out", "format=files").code == 0
