"""Folders as people have them: files that lie, bombs, odd names. Each is skipped and counted, or one sentence."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from camexp.data import UnreadableImage, read_image
from tests.conftest import paint


def png(width: int, height: int) -> bytes:
    """A few hundred bytes that call themselves a picture of any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


def picture(kind: str, frames: int = 1) -> bytes:
    buffer = io.BytesIO()
    pages = [Image.fromarray(np.full((40, 48, 3), 6 * number, np.uint8)) for number in range(frames)]
    pages[0].save(buffer, kind, **({"save_all": True, "append_images": pages[1:]} if frames > 1 else {}))
    return buffer.getvalue()


BROKEN = {
    "empty.jpg": b"",
    "one_byte.png": b"\x89",
    "text.png": b"<html>404 not found</html>",
    "script.gif": b"GIF89a/*\n*/=1;alert(1)",
    "cut.jpg": picture("JPEG")[:200],
    "cut.png": picture("PNG")[:60],
    "cut.tif": picture("TIFF")[:150],
    "gigantic.png": png(200_000, 200_000),
    "bomb.png": png(30_000, 30_000),
    "no_width.png": png(0, 40),
    "pickle.bmp": b"BM\x80\x04cos\nsystem\n(S'touch pwned'\ntR.",
    "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n(pwned) (w) file\n",
    "zip.webp": b"PK\x03\x04" + bytes(60),
    "archive.tif": b"II*\x00\xff\xff\xff\xff" + bytes(40),
}
SOUND = {
    "jpeg called.png": picture("JPEG"),
    "png called.JPG": picture("PNG"),
    "frames.gif": picture("GIF", frames=40),
    "pages.tiff": picture("TIFF", frames=12),
    "with 'quotes' and \"more\".png": picture("PNG"),
    "new\nline.png": picture("PNG"),
    "=a,b[1]{x}$(touch pwned)`id`;&.png": picture("PNG"),
    "日本語 ünï 🦙.png": picture("PNG"),
    "x" * 251 + ".png": picture("PNG"),
    "-rf.png": picture("PNG"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {**BROKEN, **SOUND}.items():
        target = tmp_path / "images" / "llama" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (tmp_path / "images" / "llama" / "loop").symlink_to(tmp_path / "images", target_is_directory=True)
    (tmp_path / "images" / "llama" / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "images" / "llama" / "pipe.png")  # who opens it waits for ever
    return tmp_path / "images"


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_file_has_a_reason(folder, name):
    with pytest.raises(UnreadableImage) as error:
        read_image(folder / "llama" / name)
    assert str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", SOUND)
def test_each_odd_name_is_read(folder, name):
    assert read_image(folder / "llama" / name).size == (48, 40)


@pytest.mark.slow
def test_training_skips_and_counts_them(script, folder, tmp_path):
    from tests.conftest import TINY

    for number in range(8):
        paint(folder / "duck" / f"{number}.png", (200, 50, 40), seed=number)
    done = script(
        "train.py",
        "dataset=imagefolder",
        f"dataset.root={folder}",
        "dataset.max_skipped=0.9",
        *TINY,
        "hydra.run.dir=run",
    )
    assert done.code == 0, done.err
    assert "Traceback" not in done.out + done.err
    listed = (tmp_path / "run" / "splits" / "train.csv").read_text() + (
        tmp_path / "run" / "splits" / "val.csv"
    ).read_text()
    assert all(name not in listed for name in BROKEN)
    assert "frames.gif" in listed and "日本語" in listed
    assert "cannot be decoded" in done.out or "skipped" in done.out
    assert not list(tmp_path.rglob("pwned"))
    strict = script("train.py", "dataset=imagefolder", f"dataset.root={folder}", *TINY, "hydra.run.dir=strict")
    assert strict.code == 1 and strict.err.count("\n") == 1 and "dataset.max_skipped=0.05" in strict.err


@pytest.mark.slow
def test_prediction_skips_and_counts_them(script, folder, tmp_path):
    from tests.conftest import TINY

    for number in range(8):
        paint(tmp_path / "two" / "a" / f"{number}.png", (200, 50, 40), seed=number)
        paint(tmp_path / "two" / "b" / f"{number}.png", (20, 50, 240), seed=number)
    assert (
        script("train.py", "dataset=imagefolder", f"dataset.root={tmp_path}/two", *TINY, "hydra.run.dir=run").code == 0
    )
    done = script(
        "predict.py", "ckpt=run/checkpoints/last.ckpt", f"input={folder}", "output=out", "gpus=0", "num_workers=0"
    )
    assert done.code == 0, done.err
    assert len(list((tmp_path / "out" / "overlays").rglob("*.png"))) == len(SOUND)
    assert "Traceback" not in done.out + done.err and not list(tmp_path.rglob("pwned"))
    strict = script(
        "predict.py", "ckpt=run/checkpoints/last.ckpt", f"input={folder}", "strict=true", "output=out2", "gpus=0"
    )
    assert strict.code == 1
