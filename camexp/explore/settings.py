"""How maps are made: what the page's controls say, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from camexp.cam.normalisation import MIN_MAX, Normalisation
from camexp.config import CAMOptions, ExploreOptions
from camexp.config.options import Options
from camexp.config.values import InputSize, height_and_width
from camexp.errors import UserError
from camexp.methods import Method, build_method, build_normalisation, is_cam
from camexp.models import CAMClassifier, Preprocessing
from camexp.viewer import all_or_top
from camexp.viewer.budget import TOP

FEW_CLASSES = 100  # an average's maps are at a quarter of the image's resolution
MOST_SCALES = 8


class _Size(Options):
    size: InputSize


@dataclass(frozen=True)
class Settings:
    """A method and an input size; equal ones can share a forward pass.

    Attributes:
        method, layer, flip, scales, ten_crop, negatives, affinity: see :class:`camexp.config.CAMOptions`.
        size: ``(H, W)``, ``"trained"``, or ``None``: each image's own.
        normalisation: of each map by itself.
    """

    method: str = "cam"
    layer: str | tuple[str, ...] | None = None
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    ten_crop: bool = False
    negatives: str = "keep"
    affinity: str | None = None
    size: tuple[int, int] | str | None = "trained"
    normalisation: Normalisation = MIN_MAX

    @classmethod
    def of(cls, options: ExploreOptions) -> Settings:
        """What the page begins with."""
        cam, size = options.cam, options.input_size if options.resize != "trained" else "trained"
        layer = tuple(cam.layer) if isinstance(cam.layer, list) else cam.layer
        return cls(
            cam.method, layer, cam.flip, tuple(cam.scales), cam.ten_crop, cam.negatives, cam.affinity, size,
            build_normalisation(cam),
        )  # fmt: skip

    def build(self) -> Method:
        """The method."""
        layer, scales = list(self.layer) if isinstance(self.layer, tuple) else self.layer, list(self.scales)
        how = {"method": self.method, "layer": layer, "negatives": self.negatives, "affinity": self.affinity}
        views = {"flip": self.flip, "scales": scales, "ten_crop": self.ten_crop}
        return build_method(CAMOptions.read({**how, **views}, "cam"))

    def preprocessing(self, model: CAMClassifier) -> Preprocessing:
        """The network's own, at this size."""
        own = model.preprocessing
        return own if isinstance(self.size, str) else Preprocessing(self.size, own.mean, own.std)

    def labels(self, model: CAMClassifier) -> str:
        """Whose maps: of all classes where that costs little, else of the most probable ones."""
        if is_cam(self.build()):
            return all_or_top(model.classes)
        few = FEW_CLASSES if self.method == "cam" else 0
        return "all" if len(model.classes) <= few else f"top{TOP}"

    def to_query(self) -> dict[str, str]:
        """What :func:`read_settings` reads."""
        size = self.size or "own"
        size = size if isinstance(size, str) else "x".join(map(str, size))
        scales = ",".join(f"{scale:g}" for scale in self.scales)
        flags = {"flip": str(int(self.flip)), "ten_crop": str(int(self.ten_crop))}
        return {"method": self.method, "size": size, "scales": scales, **flags}


def read_settings(query: Mapping[str, str], begin: Settings) -> Settings:
    """The settings of a request.

    Args:
        query: ``method``, ``size`` (``trained``, ``own``, ``224``, ``224x320``), ``scales`` (``0.75,1``), ``flip`` and
            ``ten_crop`` (``0``, ``1``); what it leaves out is as in the next one.
        begin: what the command was given.

    Raises:
        UserError: a setting that is no setting.

    >>> read_settings({"scales": "0.5,1", "size": "64x96"}, Settings()).to_query()
    {'method': 'cam', 'size': '64x96', 'scales': '0.5,1', 'flip': '0', 'ten_crop': '0'}
    """
    given = {**begin.to_query(), **{key: value for key, value in query.items() if value}}
    try:
        scales: list[float] = [float(one) for one in given["scales"].split(",")]
    except ValueError:
        raise UserError(f"scales={given['scales']} is not a list of numbers: expected as 0.75,1,1.5") from None
    if len(scales) > MOST_SCALES:
        raise UserError(f"scales={given['scales']} are {len(scales)}: at most {MOST_SCALES} are averaged here")
    flags = {key: given[key] in ("1", "true") for key in ("flip", "ten_crop")}
    cam = CAMOptions.read({"method": given["method"], "scales": scales, **flags}, "cam")
    same = cam.method == begin.method  # what was given for one method may not go with another
    settings = Settings(
        cam.method, begin.layer if same else None, cam.flip, tuple(cam.scales), cam.ten_crop,
        begin.negatives if same else "keep", begin.affinity, _read_size(given["size"]), begin.normalisation,
    )  # fmt: skip
    settings.build()  # an unknown method is told before anything is decoded
    return settings


def _read_size(text: str) -> tuple[int, int] | str | None:
    if text in ("trained", "own"):
        return text if text == "trained" else None
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdecimal() and len(side) < 6 for side in sides):
        raise UserError(f"size={text} is not a size: expected trained, own, or pixels as 224 or 224x320")
    numbers = [int(side) for side in sides]
    return height_and_width(_Size.read({"size": numbers[0] if len(numbers) == 1 else numbers}).size)
