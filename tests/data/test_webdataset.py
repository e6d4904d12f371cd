"""Tar shards: as webdataset reads them, and resumed as nothing else resumes them."""

from __future__ import annotations

import http.server
import pickle
import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from camexp import UserError
from camexp.config import DatasetOptions
from camexp.data import build_images, find_webdataset, shards
from camexp.data.webdataset import expand_braces
from camexp.evaluation.checkpoint_dataset import recorded_dataset
from camexp.features import content_digest
from tests.conftest import TINY, run_process, running
from tests.data import layouts
from tests.training.conftest import OPTIONS, require_same

PNG = layouts.encoded(layouts.TONES[0], 0)


def test_as_webdataset_reads_them(tmp_path):
    wds, braceexpand = pytest.importorskip("webdataset"), pytest.importorskip("braceexpand")
    with wds.TarWriter(str(tmp_path / "a-0.tar")) as writer, wds.TarWriter(str(tmp_path / "a-1.tar")) as other:
        for number in range(6):
            image = layouts.encoded(layouts.TONES[number % 2], number)
            sample = {"__key__": f"deep/er{number}" if number % 2 else f"x{number}", "png": image, "mask.png": PNG}
            (writer if number < 4 else other).write({**sample, "json": {"kind": "ab"[number % 2]}})
    url = str(tmp_path / "a-{0..1}.tar")
    assert expand_braces(url) == list(braceexpand.braceexpand(url))
    images = pickle.loads(pickle.dumps(find_webdataset(url, label_key="kind")))  # as a worker gets it
    own = list(
        wds.WebDataset(list(braceexpand.braceexpand(url)), shardshuffle=False)
        .decode("pil")
        .to_tuple("__key__", "json", "png")
    )
    assert len(own) == 6
    assert images.classes == ("a", "b") and len(images) == 6
    assert images.paths[0] == tmp_path / "a-0.tar/x0.png"
    for key, told, photo in own:
        index = images.find(next(path for path in images.paths if str(path).endswith(f"{key}.png")))
        assert images.read(index).tobytes() == photo.tobytes() and images.classes[images.labels[index]] == told["kind"]
    for index in range(6):
        (tmp_path / "one.png").write_bytes(layouts.encoded(layouts.TONES[index % 2], index))
        assert images.digest(index) == content_digest(tmp_path / "one.png")


def test_an_index_is_made_once_for_a_file_as_it_is(tmp_path, monkeypatch):
    options = layouts.webdataset(tmp_path)
    first = find_webdataset(**options)
    scan, scanned = shards._scan, []
    monkeypatch.setattr(shards, "_scan", lambda *given: scanned.append(given[0].name) or scan(*given))
    again = find_webdataset(**options)
    assert again == first and list(again.keys()) == list(first.keys()) and not scanned
    layouts.shard(tmp_path / "train-001.tar", {"a.cls": "7", "a.png": PNG})
    changed = find_webdataset(**options)
    assert scanned == ["train-001.tar"] and changed.classes == ("0", "1", "7") and len(changed) == 17


def test_parts_names_and_a_checkpoint(tmp_path):
    options = layouts.webdataset(tmp_path)
    val, test = (layouts.webdataset(tmp_path, 1, part=part)["urls"] for part in ("val", "test"))
    (tmp_path / "names.txt").write_text("bird\ncat\n")
    images = find_webdataset(**options, val_urls=val, test_urls=[test], names=str(tmp_path / "names.txt"))
    assert images.classes == ("bird", "cat") and [len(images.in_part(one)) for one in ("train", "val", "test")] == [
        24,
        8,
        8,
    ]
    recorded = {"_target_": "camexp.data.find_webdataset", **options, "download": True}
    assert len(build_images(recorded_dataset(recorded))) == 24
    with pytest.raises(UserError, match="fetch it with dataset.download=true"):
        build_images(recorded_dataset(recorded | {"urls": "http://127.0.0.1:9/a.tar"}))


def cut(path: Path, size: int) -> Path:
    path.write_bytes(path.read_bytes()[:size])
    return path


@pytest.mark.parametrize("size", [10, 700, 3000, 4096 + 512])
def test_a_shard_that_was_cut_short(tmp_path, size):
    whole = layouts.shard(tmp_path / "a.tar", *({f"{n}.cls": "0", f"{n}.png": PNG} for n in range(3)))
    with pytest.raises(UserError, match=r"^dataset.urls: .*a.tar is no whole tar .*cut short"):
        find_webdataset(str(cut(whole, size)))


@pytest.mark.parametrize("dropped", [1, 2])
def test_a_shard_that_was_cut_between_members(tmp_path, dropped):
    whole = layouts.shard(tmp_path / "a.tar", *({f"{n}.png": PNG, f"{n}.cls": "0"} for n in range(3)))
    with pytest.raises(UserError, match="is no whole tar .no end of the archive"):
        find_webdataset(str(cut(whole, (3 - dropped) * (512 + -(-len(PNG) // 512) * 512 + 1024))))


def test_shards_that_will_not_do(tmp_path):
    def one(name, **members):
        return str(layouts.shard(tmp_path / name, {f"a.{ending}": content for ending, content in members.items()}))

    (tmp_path / "names.txt").write_text("bird\n")
    for urls, options, said in (
        (None, {}, "^dataset.urls is not given"),
        (str(tmp_path / "no-{0..3}.tar"), {}, "there is no shard .*no-0.tar"),
        (str(tmp_path / "no-*.tar"), {}, "there is no shard"),
        ("pipe:curl evil", {}, "^dataset.urls=pipe:curl evil is neither a path nor"),
        ("s3://bucket/a.tar", {}, "is neither a path nor"),
        (one("bare.tar", cls="0"), {}, "holds no image"),
        (one("none.tar", png=PNG), {}, "a.png in .*none.tar has no class .beside it: nothing"),
        (one("json.tar", png=PNG, json='{"kind": 1}'), {}, "has no class .beside it: .json.: .*dataset.label_key=label"),
        (one("broken.tar", png=PNG, json="{"), {}, "the .json of a.png in .* is none"),
        (one("seven.tar", png=PNG, cls="7"), {"names": str(tmp_path / "names.txt")}, "has 1 names, and the shards have the label 7"),
        ([one("x.tar", png=PNG, cls="0")] * 2, {}, "names .*x.tar twice"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            find_webdataset(urls, root=str(tmp_path / "root"), **options)


@pytest.fixture
def server(tmp_path) -> Iterator[tuple[str, list[str]]]:
    """An address of the folder ``served``, and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, form, *values):
            asked.append(self.path)

    (tmp_path / "served").mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "served"))) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{one.server_port}", asked
        one.shutdown()


def test_shards_are_fetched_once_and_within_the_limit(tmp_path, server):
    url, asked = server
    layouts.webdataset(tmp_path / "served", 2)
    options = {"urls": f"{url}/train-{{000..001}}.tar", "root": str(tmp_path / "root"), "download": True}
    with pytest.raises(UserError, match="^dataset.max_gb=1e-05 is too little"):
        find_webdataset(**options, max_gb=1e-5)
    assert not [path for path in (tmp_path / "root").rglob("*") if path.is_file()]
    asked.clear()
    assert len(find_webdataset(**options)) == 16 and len(asked) == 2
    assert len(find_webdataset(**options | {"download": False})) == 16 and len(asked) == 2
    with pytest.raises(UserError, match="cannot be fetched .*404.*bring it as"):
        find_webdataset(**options | {"urls": f"{url}/absent.tar"})


def test_broken_images_are_skipped(tmp_path):
    samples = [{f"{n}.cls": str(n % 2), f"{n}.png": PNG if n else b"no image"} for n in range(6)]
    path = layouts.shard(tmp_path / "a.tar", *samples)
    options = {"_target_": "camexp.data.find_webdataset", "urls": str(path), "max_skipped": 0.2}
    assert len(build_images(DatasetOptions.read(options), str(tmp_path / "run"))) == 5
    assert "a.tar/0.png,cannot identify image file" in (tmp_path / "run/skipped.csv").read_text()


@pytest.mark.slow
def test_killed_and_resumed_it_ends_as_if_nothing_had_been(tmp_path):
    urls = layouts.webdataset(tmp_path / "shards")["urls"]
    common = ("dataset=webdataset", f"dataset.urls={urls}", *TINY, *OPTIONS, "transform=augment", "resume=auto")
    whole = run_process("train.py", *common, "hydra.run.dir=whole", cwd=tmp_path)
    assert whole.code == 0, whole.err
    for step in (2, 6):
        with running("train.py", *common, "hydra.run.dir=parts", "num_workers=1", cwd=tmp_path) as run:
            run.until(f"^step {step}: validation")
            assert run.end(signal.SIGKILL).code != 0
    done = run_process("train.py", *common, "hydra.run.dir=parts", cwd=tmp_path)
    assert done.code == 0 and "resum" in done.out, done.err
    require_same(tmp_path / "whole", tmp_path / "parts")
