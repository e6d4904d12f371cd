"""Images of every mode become upright RGB."""

import numpy as np
import pytest
import torch
from PIL import Image

from camexp import UserError
from camexp.data import UnreadableImage, read_image
from camexp.evaluation.heatmaps import read_heatmap
from camexp.images import read_mask, read_pixels
from camexp.models import Preprocessing
from tests.conftest import paint

RAMP = np.tile(np.linspace(0, 255, 32).round().astype(np.uint8), (20, 1))


def saved(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("mode", "name"), [("L", "a.png"), ("L", "a.jpg"), ("1", "a.png"), ("P", "a.gif"), ("RGBA", "a.png"),
                       ("LA", "a.png"), ("CMYK", "a.jpg"), ("CMYK", "a.tif"), ("YCbCr", "a.jpg"), ("P", "a.png"),
                       ("RGB", "a.webp"), ("RGB", "a.bmp"), ("I;16", "a.png"), ("I;16", "a.tif")],
)  # fmt: skip
def test_every_mode_becomes_rgb(tmp_path, mode, name):
    if mode == "I;16":
        image = Image.fromarray(RAMP.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(RAMP).convert(mode, dither=Image.Dither.NONE)
    result = saved(tmp_path, image, name)
    assert (result.mode, result.size) == ("RGB", (32, 20))
    expected = np.asarray(
        Image.fromarray(RAMP).convert("1", dither=Image.Dither.NONE).convert("L") if mode == "1" else RAMP
    )
    assert np.abs(np.asarray(result)[..., 1].astype(int) - expected).mean() < 6


def test_transparent_pixels_stand_on_white(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2] = (200, 10, 10, 255)
    result = np.asarray(saved(tmp_path, Image.fromarray(pixels), "a.png"))
    assert (result[0, 0] == (200, 10, 10)).all()
    assert (result[3, 3] == 255).all()
    palette = Image.fromarray(np.zeros((4, 4), np.uint8), "L").convert("P")
    assert (np.asarray(saved(tmp_path, palette, "b.png", transparency=0)) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path, orientation):
    upright = np.zeros((30, 20, 3), np.uint8)
    upright[:10, :8] = 255  # the upper left corner
    turns = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
             5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, 1),
             7: lambda a: np.rot90(a, 2).transpose(1, 0, 2), 8: lambda a: np.rot90(a, -1)}  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(turns[orientation](upright)))
    result = saved(tmp_path, image, "a.png", exif=exif)
    assert np.array_equal(np.asarray(result), upright)


def test_floating_point_is_stretched(tmp_path):
    result = saved(tmp_path, Image.fromarray(RAMP.astype(np.float32) / 255 - 0.5), "a.tif")
    assert np.abs(np.asarray(result)[..., 0].astype(int) - RAMP).max() <= 1


def test_the_first_frame_of_many(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.gif", "a.tif", "a.webp", "a.bmp"])
def test_damaged_files_give_a_reason(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for content in (b"", b"no image at all", whole[: len(whole) // 2]):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImage, match=r"\w"):
            read_image(tmp_path / name)
    with pytest.raises(UnreadableImage):
        read_image(tmp_path / "absent.png")


def test_a_decompression_bomb_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (50, 50)).save(tmp_path / "bomb.png")
    with pytest.raises(UnreadableImage, match="bomb"):
        read_image(tmp_path / "bomb.png")


def test_whatever_a_decoder_raises_is_a_reason(tmp_path, monkeypatch):
    """AVIF raises RuntimeError, BLP its own kind: none of them may end a run."""
    paint(tmp_path / "a.png", (9, 9, 9))
    for error in (RuntimeError("conversion failed"), NotImplementedError(), ZeroDivisionError("division")):

        def raising(*_, error=error):
            raise error

        monkeypatch.setattr(Image.Image, "load", raising)
        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", raising)
        with pytest.raises(UnreadableImage, match=r"\w"):
            read_image(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16", "RGBA", "LA", "F", "P"])
def test_preprocess_takes_what_was_just_opened(tmp_path, mode):
    """The API's ``preprocess(Image.open(file))`` and the scripts' reading agree on every kind of file."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (20, 30, 4), dtype=np.uint8)
    made = {"RGB": base[..., :3], "L": base[..., 0], "I;16": base[..., 0].astype(np.uint16) * 257, "RGBA": base,
            "F": base[..., 0].astype(np.float32), "P": base[..., 0], "LA": base[..., :2]}[mode]  # fmt: skip
    image = Image.fromarray(made, "LA") if mode == "LA" else Image.fromarray(made)
    image = image.convert("P") if mode == "P" else image
    exif = Image.Exif()
    exif[0x0112] = 6
    name = "a.tif" if mode in ("F", "I;16") else "a.png"
    image.save(tmp_path / name, **({} if mode == "F" else {"exif": exif}))
    preprocessing = Preprocessing((32, 48))
    with Image.open(tmp_path / name) as opened:
        assert torch.equal(preprocessing(opened), preprocessing(read_image(tmp_path / name)))


@pytest.mark.parametrize("read", [read_image, read_pixels, read_mask, read_heatmap])
def test_postscript_starts_no_other_program(tmp_path, monkeypatch, read):
    """Pillow looks at the content, whatever the name says, and has Ghostscript draw it."""
    Image.init()
    started = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *arguments, **more: started.append(arguments))
    Image.new("RGB", (64, 64)).save(tmp_path / "holiday.png", format="EPS")
    with pytest.raises((UnreadableImage, UserError), match="cannot identify image file"):
        read(tmp_path / "holiday.png")
    assert not started


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16", "I", "F", "CMYK"])
@pytest.mark.parametrize("value", [1, 4])
def test_any_pixel_that_is_not_0_is_of_a_mask(tmp_path, mode, value):
    """Numbers of objects are small, and a colour's grey rounds to 0."""
    expected = np.zeros((4, 6), bool)
    expected[1:3, 2:5] = True
    pixels = {
        "1": expected, "L": expected * np.uint8(value), "P": expected * np.uint8(value),
        "LA": np.dstack([expected * np.uint8(value), ~expected * np.uint8(255)]),
        "RGB": np.dstack([expected * 0, expected * 0, expected * value]).astype(np.uint8),
        "RGBA": np.dstack([expected * 0, expected * value, expected * 0, ~expected * 255]).astype(np.uint8),
        "I;16": expected * np.uint16(value), "I": expected * np.int32(value), "F": expected * np.float32(value / 100),
        "CMYK": np.dstack([expected * 0, expected * 0, expected * 0, ~expected * 255]).astype(np.uint8),
    }[mode]  # fmt: skip
    image = (
        Image.merge(mode, [*map(Image.fromarray, np.moveaxis(pixels, 2, 0))])
        if mode == "CMYK"
        else Image.fromarray(pixels)
    )
    if mode == "P":
        image.putpalette([0, 0, 0] * 256)  # which makes it one
    assert image.mode == mode
    file = tmp_path / ("mask.tif" if mode in ("I", "F", "CMYK") else "mask.png")
    image.save(file)
    assert np.array_equal(read_mask(file), expected)
