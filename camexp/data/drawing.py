"""The pictures of the embedded data set: one object of a class among clutter, with its exact mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Points = NDArray[np.float64]
MAIN, SECOND, DARK = 0, 1, 2  # the tones of an object; each picture draws its own colours


def _disc(radius: float = 1.0, x: float = 0.0, y: float = 0.0, squeeze: float = 1.0) -> Points:
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.stack([np.cos(angles) * radius + x, np.sin(angles) * radius * squeeze + y], axis=1)


def _turned(points: Points, angle: float) -> Points:
    return points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _ball() -> list[tuple[Points, int]]:
    sector = np.concatenate([[(0.0, 0.0)], _disc()[:9]])
    return [(_disc(), MAIN)] + [(_turned(sector, k * 2 * np.pi / 3), SECOND) for k in range(3)]


def _chessboard() -> list[tuple[Points, int]]:
    side = 0.8
    cell = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * side / 2 - side
    board = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * side
    dark = [(cell + np.array([i, j]) * side / 2, SECOND) for i in range(4) for j in range(4) if (i + j) % 2]
    return [(board, MAIN), *dark]


def _cross(arm: float = 0.33) -> list[tuple[Points, int]]:
    corner = np.array([(1, -arm), (1, arm), (arm, arm)])
    return [(np.concatenate([_turned(corner, k * np.pi / 2) for k in range(4)]), MAIN)]


def _face() -> list[tuple[Points, int]]:
    lip = np.linspace(0.15 * np.pi, 0.85 * np.pi, 16)
    smile = np.concatenate(
        [np.stack([np.cos(a) * r, np.sin(a) * r], axis=1) for a, r in ((lip, 0.68), (lip[::-1], 0.45))]
    )
    return [(_disc(), MAIN), (_disc(0.16, -0.35, -0.3), DARK), (_disc(0.16, 0.35, -0.3), DARK), (smile, DARK)]


def _flower() -> list[tuple[Points, int]]:
    petals = [(_turned(_disc(0.42, 0.56, 0, 0.72), k * np.pi / 3), SECOND) for k in range(6)]
    return [*petals, (_disc(0.34), MAIN)]


def _heart() -> list[tuple[Points, int]]:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [(np.stack([16 * np.sin(t) ** 3, -y - 2], axis=1) / 16, MAIN)]


def _star() -> list[tuple[Points, int]]:
    angles, radii = np.arange(10) * np.pi / 5, np.where(np.arange(10) % 2, 0.45, 1.0)
    return [(np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1), MAIN)]


def _target() -> list[tuple[Points, int]]:
    return [(_disc(radius), tone) for radius, tone in ((1.0, SECOND), (0.75, MAIN), (0.5, SECOND), (0.25, MAIN))]


# Each object is a pile of polygons in about the unit disc, the lowest first.
OBJECTS: dict[str, list[tuple[Points, int]]] = {
    "ball": _ball(),
    "chessboard": _chessboard(),
    "cross": _cross(),
    "face": _face(),
    "flower": _flower(),
    "heart": _heart(),
    "star": _star(),
    "target": _target(),
}
_OVERSAMPLING = 3


def draw_picture(name: str, size: int, rng: np.random.Generator) -> tuple[Picture, Mask]:
    """One object of random size, place, colour, texture and rotation on a cluttered, textured ground.

    Args:
        name: a key of ``OBJECTS``.
        size: pixels each way.
        rng: all randomness comes from it, so one seed gives one picture.

    Returns:
        ``(size, size, 3)`` RGB bytes and the object's mask ``(size, size)``.

    >>> picture, mask = draw_picture("star", 64, np.random.default_rng(0))
    >>> picture.shape, mask.shape, bool(0.05 < mask.mean() < 0.5)
    ((64, 64, 3), (64, 64), True)
    """
    canvas = Image.fromarray(_texture(rng.uniform(40, 215, 3), size, rng))
    _clutter(canvas, int(rng.integers(8, 18)), rng)
    ground = np.asarray(canvas, dtype=np.float64)
    main = _contrasting(ground.mean((0, 1)), rng)
    tones = [main, _contrasting(main, rng), np.full(3, rng.uniform(0, 35))]
    paint, coverage = _object(OBJECTS[name], tones, size, rng)
    shade = _texture(np.full(3, 128.0), size, rng).astype(np.float64) - 128
    picture = ground * (1 - coverage) + (paint + 0.6 * shade).clip(0, 255) * coverage
    picture += rng.normal(0, rng.uniform(1, 7), picture.shape)  # a camera's noise
    return picture.clip(0, 255).astype(np.uint8), coverage[..., 0] >= 0.5


def _object(
    pile: list[tuple[Points, int]], tones: list[NDArray[np.float64]], size: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """An object's paint ``(size, size, 3)`` and the share of each pixel that it covers ``(size, size, 1)``."""
    radius = rng.uniform(0.19, 0.34) * size
    angle, squeeze = rng.uniform(0, 2 * np.pi), rng.uniform(0.87, 1.15)
    layers = [(_turned(points * [squeeze, 1 / squeeze], angle) * radius, tone) for points, tone in pile]
    outline = max(0.07 * radius, 1.0)
    everything = np.concatenate([points for points, _ in layers])
    low, high = everything.min(0) - outline / 2, everything.max(0) + outline / 2
    centre = rng.uniform(-low, size - high)  # wholly inside the picture
    fine_paint = Image.new("RGB", (size * _OVERSAMPLING,) * 2)
    fine_mask = Image.new("L", fine_paint.size)
    for points, tone in layers:
        corners = [(float(x), float(y)) for x, y in (points + centre) * _OVERSAMPLING]
        around = [*corners, corners[0], corners[1]]
        width = round(outline * _OVERSAMPLING)
        joint = "curve" if len(corners) < 20 else None  # Pillow takes its time over each; a smooth line needs none
        for image, fill, line in (
            (fine_paint, _rgb(tones[tone]), _rgb(tones[DARK])),
            (fine_mask, 255, 255),
        ):
            draw = ImageDraw.Draw(image)
            draw.polygon(corners, fill=fill)
            draw.line(around, fill=line, width=width, joint=joint)
    coverage = np.asarray(fine_mask.resize((size, size), Image.Resampling.BOX), dtype=np.float64)[..., None] / 255
    paint = np.asarray(fine_paint.resize((size, size), Image.Resampling.BOX), dtype=np.float64)
    return paint / np.maximum(coverage, 1 / 255), coverage  # the paint's own edge is mixed with black


def _rgb(colour: NDArray[np.float64]) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue


def _texture(colour: NDArray[np.float64], size: int, rng: np.random.Generator) -> Picture:
    """A surface of about one colour: cloudy, with stripes or a grain, ``(size, size, 3)``."""
    clouds = np.zeros((size, size))
    for cells, weight in ((3, 1.0), (8, 0.6), (24, 0.35)):
        coarse = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
        clouds += weight * np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
    pattern = clouds * rng.uniform(8, 26)
    if rng.random() < 0.5:
        x, y = np.meshgrid(np.arange(size), np.arange(size))
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.04, 0.2) * size
        pattern += rng.uniform(6, 22) * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
    tint = 1 + rng.uniform(-0.25, 0.25, 3)
    return (colour + pattern[..., None] * tint).clip(0, 255).astype(np.uint8)


def _clutter(canvas: Image.Image, count: int, rng: np.random.Generator) -> None:
    """Lines, arcs, specks and splinters, all thinner or smaller than any object."""
    draw, size = ImageDraw.Draw(canvas), canvas.width
    for _ in range(count):
        colour = _rgb(rng.uniform(20, 235, 3))
        x, y = (float(value) for value in rng.uniform(0, size, 2))
        kind = rng.integers(4)
        if kind == 0:
            x1, y1 = (float(value) for value in rng.uniform(0, size, 2))
            draw.line([(x, y), (x1, y1)], fill=colour, width=int(rng.integers(1, max(size // 32, 2))))
        elif kind == 1:
            radius, start = rng.uniform(0.05, 0.3) * size, rng.uniform(0, 360)
            box = (x - radius, y - radius, x + radius, y + radius)
            draw.arc(
                box,
                start,
                start + rng.uniform(40, 160),
                fill=colour,
                width=int(rng.integers(1, max(size // 40, 2))),
            )
        elif kind == 2:
            radius = rng.uniform(0.01, 0.04) * size
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        else:
            splinter = rng.uniform(-0.08, 0.08, (4, 2)) * size + (x, y)
            draw.polygon([(float(a), float(b)) for a, b in splinter], fill=colour)


def _contrasting(ground: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A random colour that can be told from the ground."""
    colours = rng.uniform(25, 235, (64, 3))
    return colours[np.argmax(np.linalg.norm(colours - ground, axis=1) > 75)]
