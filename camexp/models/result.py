"""What a network, or a method of maps, says of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from camexp.cam.maps import upsample

if TYPE_CHECKING:
    from camexp.viewer.notebook import ImageLike, ViewerPage


@dataclass(frozen=True)
class CAMResult:
    """What one forward pass says of a batch.

    Attributes:
        logits: ``(B, C)`` float32.
        maps: ``(B, K, h, w)`` float32, raw, at the trunk's stride.
        labels: ``(B, K)`` the class of each map.
        classes: all class names, where they are known.
    """

    logits: Tensor
    maps: Tensor
    labels: Tensor
    classes: tuple[str, ...] = ()

    @property
    def probabilities(self) -> Tensor:
        """Softmax of the logits, ``(B, C)``."""
        return self.logits.softmax(-1)

    def upsample(self, size: tuple[int, int], out: Tensor | None = None) -> Tensor:
        """The maps at ``(H, W)`` pixels: ``(B, K, H, W)``; see :func:`camexp.cam.maps.upsample`."""
        return upsample(self.maps, size, out)

    def show(self, image: ImageLike | Sequence[ImageLike], **style: Any) -> ViewerPage:
        """A viewer in a notebook, see :func:`camexp.viewer.notebook.show`."""
        from camexp.viewer.notebook import show

        return show(image, self, **style)
