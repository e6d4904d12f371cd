import numpy as np
import pytest
from PIL import Image

from camexp.cam import colour_map
from camexp.reporting.figures import add_caption, add_colour_bar, ellipsize, font, grid, resize_longer_side
from camexp.reporting.snapshots import (
    Panel,
    evolution,
    evolution_card,
    select_steps,
    snapshot,
    snapshot_card,
    write_animation,
)


@pytest.mark.parametrize("text", ["llama", "a" * 300, "", "ÄÖÜ αβγ — Привет", "one two three " * 20])
@pytest.mark.parametrize("width", [20, 100, 400])
def test_text_fits_its_width(text, width):
    assert font(14).getlength(ellipsize(text, 14, width)) <= width or len(ellipsize(text, 14, width)) <= 3


def test_scaling_keeps_the_proportions():
    for size in ((100, 50), (50, 100), (1000, 3), (7, 7)):
        result = resize_longer_side(Image.new("RGB", size), 60)
        assert max(result.size) == 60
        assert result.width / result.height == pytest.approx(size[0] / size[1], rel=0.2) or min(result.size) == 1


def test_the_colour_bar_runs_from_high_to_low():
    tile = np.asarray(add_colour_bar(Image.new("RGB", (100, 120)), -1.5, 2.5))
    bar = tile[:, 100 + 8 + 3]
    assert (bar[0] == colour_map()[255]).all()
    assert (bar[-1] == colour_map()[0]).all()


def test_tiles_do_not_overlap():
    red, blue = Image.new("RGB", (30, 20), "red"), Image.new("RGB", (10, 40), "blue")
    sheet = np.asarray(grid([[red, blue], [blue, red], [red]], title="title"))
    assert (sheet == (255, 0, 0)).all(-1).sum() == 3 * 600
    assert (sheet == (0, 0, 255)).all(-1).sum() == 2 * 400
    assert np.asarray(add_caption(red, ["a", "b"])).shape[0] > 20 + 2 * 14


def panels(step):
    rng = np.random.default_rng(step)
    image = Image.fromarray(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8))
    return [Panel(image, rng.normal(size=(4, 6)).astype(np.float32), name, 0.25, "duck") for name in ("duck", "llama")]


def test_a_strip_has_a_row_a_map_and_a_column_a_step():
    few = evolution([(step, panels(step)) for step in (0, 50)])
    many = evolution([(step, panels(step)) for step in range(0, 1000, 50)])
    assert many.height == few.height
    assert many.width > 2 * few.width
    assert snapshot(panels(0), 7).width > snapshot(panels(0)[:1], 7).width


def test_captions_are_legible_on_a_card(monkeypatch):
    """TensorBoard scales a picture down to 300 pixels of width: letters of 10 pixels are left then, and nothing is cut."""
    written: list = []

    def captioned(image, lines, size=14):
        written.append((size, image.width, lines))
        return add_caption(image, lines, size)

    monkeypatch.setattr("camexp.reporting.snapshots.add_caption", captioned)
    history = [(step, panels(step)) for step in range(0, 1000, 50)]
    for draw in (
        lambda: evolution_card(history),
        lambda: snapshot_card(panels(950), 950),
        lambda: snapshot_card(panels(950)[:1], 950),
    ):
        written.clear()
        card = draw()
        assert written
        for size, width, lines in written:
            assert size * min(1, 300 / card.width) > 10
            assert [ellipsize(line, size, width - 2) for line in lines] == lines


@pytest.mark.parametrize("count", [1, 2, 7, 8, 100, 5000])
def test_chosen_steps_keep_both_ends(count):
    places = select_steps(count, 7)
    assert places[0] == 0
    assert places[-1] == count - 1
    assert len(places) <= 7
    assert places == sorted(set(places))


def test_the_animation_is_bounded_and_holds_its_last_frame(tmp_path):
    files = []
    for number in range(30):
        files.append(tmp_path / f"{number}.png")
        Image.new("RGB", (20 + number % 3, 20), (8 * number, 0, 0)).save(files[-1])
    write_animation(tmp_path / "a.gif", files, most=10)
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 10
        animation.seek(9)
        assert animation.info["duration"] == 2500
    write_animation(tmp_path / "one.gif", files[:1])
