"""Whatever ends a prediction, the rows of what is done are in their file: whole, and in the order of the images."""

from __future__ import annotations

import csv
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from camexp.append_file import AppendFile
from camexp.files import atomic_write
from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from camexp.prediction import run
from camexp.prediction.table import csv_lines
from camexp.prediction.writer import Writer
from camexp.prediction.writing import State, Writing
from tests.conftest import paint

HEADER = ["path", "class"]


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


class Names(Writer):
    """The name of each image, a line."""

    records, header, eager = "names.txt", b"names\n", True

    def prepare(self, index, image, rows):
        return f"{image}\n".encode()


def test_records_are_appended_in_order_as_soon_as_they_can_be(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("of an earlier run")
    with Writing(tmp_path, [Names()], range(10)) as writing:
        assert path.read_text() == "names\n"
        writing.add(1, "b", [])
        assert path.read_text() == "names\n"
        writing.add(0, "a", [])
        assert path.read_text().split() == ["names", "a", "b"]
        writing.skip(2, Path("c"), "broken")
        writing.add(3, "d", [])
        assert path.read_text().split()[-1] == "d" and writing.state.explained == 3
        writing.add(7, "h", [])
        writing.add(5, "f", [])
    assert path.read_text().split()[-2:] == ["f", "h"] and writing.state.explained == 5
    kept = State.read(tmp_path)  # a later process begins where the first is missing, and does not know what came after
    assert (kept.next, kept.explained, kept.skipped, kept.finished) == (4, 3, 1, False)
    with Writing(tmp_path, [Names()], range(10), kept) as writing:
        for index in range(4, 10):
            writing.add(index, "abcdefghij"[index], [])
    assert path.read_text().split() == ["names", *"abdefghij"]
    # killed here, a process leaves to the next one to assemble what is of all images
    kept = State.read(tmp_path)
    assert (kept.next, kept.finished) == (10, False)
    with Writing(tmp_path, [Names()], range(10), kept) as writing:
        pass
    writing.assemble()
    assert path.read_text().split() == ["names", *"abdefghij"] and State.read(tmp_path).finished


def test_a_full_disk_leaves_no_half_of_a_record(tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file, self.room = file, 20

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, piece):
            if not self.room:
                raise OSError(28, "No space left on device")
            written = self.file.write(piece[: self.room])
            self.room -= written
            return written

    with AppendFile(tmp_path / "a.csv", b"path,class\n", eager=True) as file:
        monkeypatch.setattr(file, "_file", Full(file._file))
        file.append(b"a,b\n")
        with pytest.raises(OSError, match="No space left"):
            file.append(b"a long name of an image,and its class\n")
        assert file.length == (tmp_path / "a.csv").stat().st_size
    assert rows(tmp_path / "a.csv") == [HEADER, ["a", "b"]]


def test_what_comes_after_a_record_that_found_no_room_is_done_again(tmp_path, monkeypatch):
    """A shorter record that comes after it may find room: it must not make the lost one seem written."""
    real = AppendFile.append

    def append(file, piece):
        if piece == b"b\n":
            raise OSError(28, "No space left on device")
        real(file, piece)

    with Writing(tmp_path, [Names()], range(4)) as writing:
        writing.add(0, "a", [])
        monkeypatch.setattr(AppendFile, "append", append)
        with pytest.raises(OSError, match="No space left"):
            writing.add(1, "b", [])
        writing.add(2, "c", [])
        writing.add(3, "d", [])
    monkeypatch.setattr(AppendFile, "append", real)
    assert (writing.state.next, writing.is_whole) == (1, False)
    with Writing(tmp_path, [Names()], range(4), State.read(tmp_path)) as writing:
        for index in range(1, 4):
            writing.add(index, "abcd"[index], [])
    assert (tmp_path / "names.txt").read_text().split() == ["names", *"abcd"]


def test_a_header_that_found_no_room_is_written_before_what_follows(tmp_path, monkeypatch):
    with AppendFile(tmp_path / "a.csv", b"HEAD ") as file:
        monkeypatch.setattr(AppendFile, "_write", refuse)
        with pytest.raises(OSError, match="No space left"):
            file.append(b"one ")
        monkeypatch.undo()
        file.append(b"two")
    assert (tmp_path / "a.csv").read_bytes() == b"HEAD two"


def refuse(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "name", ["a" * 196 + ".txt", "a" * 197 + ".txt", "a" * 251 + ".txt", "象" * 82 + ".txt", "象" * 83]
)
def test_a_name_of_any_length_is_written_whole(tmp_path, name):
    with atomic_write(tmp_path / name) as temporary:
        temporary.write_text("whole")
        assert temporary.name != name and temporary.name.startswith(f".{os.getpid()}~")
        assert temporary.suffix == Path(name).suffix
        assert len(os.fsencode(temporary.name)) <= 255
    assert [file.name for file in tmp_path.iterdir()] == [name] and (tmp_path / name).read_text() == "whole"


def test_a_file_that_lost_what_was_known_is_refused(tmp_path):
    with AppendFile(tmp_path / "a") as file:
        file.append(b"1234")
    with pytest.raises(OSError, match="shorter than it was"):
        AppendFile(tmp_path / "a", length=5)


def test_rows_of_names_that_are_no_text():
    assert csv_lines([(Path("\udce9.jpg"), "no, image")]) == b'\xe9.jpg,"no, image"\r\n'


@pytest.fixture
def ready(script, tmp_path, monkeypatch):
    """predict.py on ten images of which the fifth is broken, in batches of two; ``at(batch, do)`` does something
    before the network takes that batch."""
    torch.manual_seed(0)
    model = CAMClassifier("vgg11", ["a", "b"], Preprocessing((32, 32)), width=1 / 16, head={"channels": 8})
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, tmp_path / "a.ckpt")
    for number in range(10):
        paint(tmp_path / "in" / f"{number}.png", (20 * number, 9, 9), (40, 40))
    (tmp_path / "in" / "4.png").write_bytes(b"no image")
    real, seen = run.explain_in_memory, []

    def call(at: int, do):
        def explain(*arguments, **more):
            seen.append(arguments)
            if len(seen) == at:
                do()
            return real(*arguments, **more)

        monkeypatch.setattr(run, "explain_in_memory", explain)
        return script(
            "predict.py", "ckpt=a.ckpt", "input=in", "output=out", "batch_size=2", "num_workers=0", "gpus=0",
            "precision=32-true", "montage.images=0",
        )  # fmt: skip

    return call


def names(path: Path) -> list[str]:
    return [Path(row[0]).stem for row in rows(path)[1:]]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_the_batch(ready, tmp_path, signum):
    before = signal.getsignal(signum)
    done = ready(3, lambda: signal.raise_signal(signum))
    assert done.code == 128 + signum
    assert names(tmp_path / "out" / "predictions.csv") == list("012356")
    assert names(tmp_path / "out" / "skipped.csv") == ["4"]
    name = "Ctrl-C" if signum == signal.SIGINT else "SIGTERM"
    assert f"stopped by {name}: 6 of 10 images are done, their rows are in out/predictions.csv" in done.out
    assert "1 skipped ones in skipped.csv" in done.out and "Traceback" not in done.out + done.err
    assert signal.getsignal(signum) is before and not list((tmp_path / "out").rglob(".*~*"))


def test_a_signal_during_the_last_batch_changes_nothing(ready, tmp_path):
    done = ready(5, lambda: signal.raise_signal(signal.SIGTERM))
    assert done.code == 0 and names(tmp_path / "out" / "predictions.csv") == list("012356789")


def test_an_error_in_the_middle_keeps_what_is_done(ready, tmp_path):
    def fail() -> None:
        raise RuntimeError("out of memory")

    done = ready(3, fail)
    assert done.code == 1 and "out of memory" in done.err
    kept = names(tmp_path / "out" / "predictions.csv")
    assert kept == sorted(kept) and set(kept) <= set("0123")
    assert f"{len(kept)} of 10 images are done" in done.out + done.err


def test_rows_are_in_the_file_while_it_runs(ready, tmp_path):
    """What another process reads then is what a kill would leave."""
    found = []

    def look() -> None:
        while len(found) < 4:
            found[:] = names(tmp_path / "out" / "predictions.csv")
            time.sleep(0.01)

    assert ready(4, look).code == 0
    assert found[:4] == list("0123")
