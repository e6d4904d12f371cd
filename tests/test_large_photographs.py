"""Photographs far larger than the network's input: decoded and resized otherwise, with the same result."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from camexp import images
from camexp.data.imagefolder import find_imagefolder
from camexp.data.transforms import Flip
from camexp.features.batches import LabelledImages
from camexp.images import UnreadableImage, read_image, read_pixels
from camexp.models import Preprocessing
from camexp.models.preprocessing import FAR_LARGER

SIZE = (32, 48)


def photograph(width=640, height=480, seed=0):
    """Waves and noise: all frequencies."""
    y, x = np.mgrid[:height, :width] / 40
    waves = np.stack([np.sin(x + y), np.cos(x * y / 3), np.sin(2 * x - y)], 2)
    noise = np.random.default_rng(seed).normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(128 + 90 * waves + noise, 0, 255).astype(np.uint8))


def triangle(pixels, size):
    """The antialiased bilinear resize in float64, by its definition: a triangle as wide as the reduction."""

    def weights(source, target):
        scale = source / target
        centre = (np.arange(target) + 0.5) * scale
        distance = np.abs(np.arange(source) + 0.5 - centre[:, None]) / max(scale, 1)
        filled = np.clip(1 - distance, 0, None)
        return filled / filled.sum(1, keepdims=True)

    height, width = size
    rows = np.einsum("hy,yxc->hxc", weights(pixels.shape[0], height), pixels.astype(np.float64))
    return np.einsum("wx,hxc->hwc", weights(pixels.shape[1], width), rows)


@pytest.fixture(params=[True, False], ids=["simplejpeg", "pillow"])
def by_simplejpeg(request, monkeypatch):
    if request.param:
        pytest.importorskip("simplejpeg")
    else:
        monkeypatch.setattr(images, "_simplejpeg", lambda: None)
    return request.param


@pytest.mark.parametrize("shape", [(640, 480), (641, 477), (192, 128)])
def test_it_is_the_resize_in_float64(tmp_path, shape, by_simplejpeg):
    photograph(*shape).save(tmp_path / "a.jpg", quality=90)
    pixels = read_pixels(tmp_path / "a.jpg")
    small = np.asarray(Preprocessing(SIZE).resize(pixels))
    assert small.shape == (*SIZE, 3)
    assert np.abs(small - triangle(pixels, SIZE)).max() <= 1.01, "rounded after either direction"
    by_pillow = np.asarray(read_image(tmp_path / "a.jpg").resize(SIZE[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(small - by_pillow).max() <= 1
    assert (small != by_pillow).mean() < 0.02


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_smaller_one_is_what_it_was_to_the_byte(tmp_path, name, by_simplejpeg):
    below = (FAR_LARGER * SIZE[1] + 200, FAR_LARGER * SIZE[0] - 1)  # large one way only
    photograph(*below).save(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        expected = image.resize(SIZE[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(Preprocessing(SIZE).resize(read_pixels(tmp_path / name)), expected)
    own = Preprocessing(None).resize(read_pixels(tmp_path / name))
    assert np.array_equal(own, read_image(tmp_path / name))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_decoders_agree_to_the_byte(tmp_path, orientation, subsampling, progressive):
    pytest.importorskip("simplejpeg")
    exif = Image.Exif()
    exif[0x0112] = orientation
    photograph(203, 149).save(tmp_path / "a.jpg", exif=exif, subsampling=subsampling, progressive=progressive)
    assert images._by_simplejpeg(tmp_path / "a.jpg") is not None
    assert np.array_equal(read_pixels(tmp_path / "a.jpg"), read_image(tmp_path / "a.jpg"))


@pytest.mark.parametrize(("mode", "name"), [("L", "a.jpg"), ("CMYK", "a.jpg"), ("RGB", "a.webp"), ("RGBA", "a.png")])
def test_other_kinds_are_left_to_pillow(tmp_path, mode, name):
    photograph().convert(mode).save(tmp_path / name)
    assert images._by_simplejpeg(tmp_path / name) is None
    assert np.array_equal(read_pixels(tmp_path / name), read_image(tmp_path / name))


def test_a_truncated_file_is_unreadable(tmp_path, by_simplejpeg):
    content = io.BytesIO()
    photograph().save(content, "JPEG")
    for share in (0.5, 0.9, 0.999):
        (tmp_path / "a.jpg").write_bytes(content.getvalue()[: int(share * len(content.getvalue()))])
        with pytest.raises(UnreadableImage, match="truncated"):
            read_pixels(tmp_path / "a.jpg")
    with pytest.raises(UnreadableImage):
        read_pixels(tmp_path / "absent.jpg")


def test_a_decompression_bomb_is_not_decoded(tmp_path, monkeypatch, by_simplejpeg):
    photograph().save(tmp_path / "a.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImage, match="bomb"):
        read_pixels(tmp_path / "a.jpg")


def test_the_scripts_and_the_api_agree(tmp_path, by_simplejpeg):
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph().save(tmp_path / "a.jpg", exif=exif)
    preprocessing = Preprocessing(SIZE)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert torch.equal(preprocessing(opened), preprocessing(read_pixels(tmp_path / "a.jpg")))


def test_batches_do_not_depend_on_the_decoder(tmp_path, monkeypatch):
    pytest.importorskip("simplejpeg")
    for number, name in enumerate("ab"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        photograph(seed=number).save(tmp_path / "photos" / name / "0.jpg")
    found, preprocessing = find_imagefolder(tmp_path / "photos"), Preprocessing(SIZE)
    data = LabelledImages(found, range(2), preprocessing)
    mirrored = LabelledImages(found, range(2), preprocessing, Flip(1.0))
    for index in range(2):
        image = read_image(found.paths[index])
        seen, turned = data[index].image, mirrored[index].image
        assert torch.equal(seen, preprocessing(image))
        assert torch.equal(turned, preprocessing(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
        with monkeypatch.context() as patch:
            patch.setattr(images, "_simplejpeg", lambda: None)
            assert torch.equal(seen, data[index].image) and torch.equal(turned, mirrored[index].image)


def test_stored_features_of_the_earlier_resize_are_not_read(monkeypatch):
    from camexp.features import fingerprint as module
    from camexp.models import CAMClassifier

    model = CAMClassifier("vgg11", ["a", "b"], Preprocessing((64, 64)), width=1 / 16)
    now = module.fingerprint(module.describe_trunk(model, "float16", "cpu"))
    monkeypatch.setattr(module, "FORMAT", 2)  # all images resized by Pillow
    assert module.fingerprint(module.describe_trunk(model, "float16", "cpu")) != now
