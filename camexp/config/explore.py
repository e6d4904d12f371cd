"""The options of ``explore.py``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from camexp.config.groups import CAMOptions, group
from camexp.config.options import Options
from camexp.config.values import (
    Colormap,
    Debug,
    InferencePrecision,
    InputSize,
    NonEmptyPath,
    OneGpu,
    Share,
    height_and_width,
)


def _require_checkpoints(ckpt: Any) -> Any:
    """A path or a list of one or two, unchanged.

    Raises:
        ValueError: anything else.
    """
    paths = ckpt if isinstance(ckpt, list) else [ckpt]
    if not 1 <= len(paths) <= 2 or not all(isinstance(path, str) and path for path in paths):
        raise ValueError("is not a checkpoint: expected one, or two to compare as [a.ckpt,b.ckpt]")
    return ckpt


class LimitOptions(Options):
    megabytes: float = Field(100, ge=0.001, le=10000, description="of an upload")
    megapixels: float = Field(50, ge=0.001, le=1000, description="of an image, which a small file may hold many of")
    images: int = Field(50, ge=1, le=1000, description="that are dropped at once")
    waiting: int = Field(256, ge=1, le=100000, description="requests that may wait; more are told to come again")
    seconds: float = Field(120, ge=0.1, le=86400, description="that a request may take, its waiting included")


class ExploreOptions(Options):
    ckpt: Annotated[str | list[str], BeforeValidator(_require_checkpoints)] = Field(
        description="a checkpoint, a published network as timm/resnet50, or a run's folder, whose newest checkpoint is "
        "followed while it trains; two of them are compared: [a.ckpt,b.ckpt]"
    )
    input: NonEmptyPath | None = Field(None, description="a folder of images to choose from (with all below it)")
    host: NonEmptyPath = Field(
        "127.0.0.1", description="where it listens; another address than this machine's own asks for a token"
    )
    port: int = Field(7860, ge=0, le=65535, description="0: any that is free")
    browser: bool = Field(False, description="true: open the page at once")
    batch_size: int = Field(16, ge=1, le=65536, description="images of one size that wait are explained together")
    resize: Literal["trained"] | InputSize | None = Field(
        "trained", description="trained: the size it was trained at; 224 or [H,W]; null: each image's own size"
    )
    gpus: OneGpu = None
    precision: InferencePrecision = "auto"
    colormap: Colormap = "jet"
    alpha: Share = Field(0.5, description="the heat's share over the photograph")
    debug: Debug = False
    limits: LimitOptions = Field(LimitOptions(), description="of what a page may ask for")

    cam: CAMOptions = group()

    @property
    def checkpoints(self) -> list[str]:
        """One or two."""
        return [self.ckpt] if isinstance(self.ckpt, str) else self.ckpt

    @property
    def input_size(self) -> tuple[int, int] | None:
        """``(H, W)`` that images are resized to; ``None``: not at all, or as the network was trained."""
        return None if self.resize is None or isinstance(self.resize, str) else height_and_width(self.resize)
