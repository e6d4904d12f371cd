"""From raw maps to [0, 1], the scale on which thresholds are given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camexp.cam.maps import rescale

PERCENTILES = {"percentile": 90.0, "ivr": 30.0}  # as published


@dataclass(frozen=True)
class Normalisation:
    """Which values of a map become 0 and 1; between them it is linear, beyond them cut.

    ============== ============== ============== =====================================================================
    ``how``        becomes 0      becomes 1
    ============== ============== ============== =====================================================================
    ``minmax``     the minimum    the maximum    Choe et al., *Evaluating weakly supervised object localization
                                                 methods right*, CVPR 2020
    ``max``        0              the maximum    Zhou et al., CVPR 2016, section 3.2: shares of the maximum
    ``percentile`` 0              a percentile,  PaS: Bae et al., *Rethinking class activation mapping for WSOL*,
                                  the 90th       ECCV 2020, section 3.3
    ``ivr``        a percentile,  the maximum    Kim et al., *Normalization matters in WSOL*, ICCV 2021
                   the 30th
    ============== ============== ============== =====================================================================

    A map keeps what it says of its class whatever the normalisation: the raw map is another one's shown differently.

    Attributes:
        how: one of these.
        percentile: in (0, 100), of ``percentile`` and ``ivr``; ``None``: as published.

    >>> cam = torch.tensor([[-1.0, 0.0], [1.0, 3.0]])
    >>> Normalisation()(cam)
    tensor([[0.0000, 0.2500],
            [0.5000, 1.0000]])
    >>> Normalisation("max")(cam)
    tensor([[0.0000, 0.0000],
            [0.3333, 1.0000]])
    """

    how: str = "minmax"
    percentile: float | None = None

    def limits(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """What becomes 0 and what becomes 1 of maps ``(..., H, W)``, each ``(..., 1, 1)``."""
        low, high = torch.zeros_like(maps[..., :1, :1]), maps.amax((-2, -1), keepdim=True)
        if self.how == "minmax":
            return maps.amin((-2, -1), keepdim=True), high
        if self.how in PERCENTILES:
            share = (PERCENTILES[self.how] if self.percentile is None else self.percentile) / 100
            own = _quantile(maps.flatten(-2), share)[..., None, None]
            return (low, own) if self.how == "percentile" else (own, high)
        return low, high

    def __call__(self, maps: Tensor) -> Tensor:
        """Maps ``(..., H, W)`` in [0, 1]; one with no value above what becomes 0 is 0 throughout."""
        return rescale(maps, *self.limits(maps)).clamp(0, 1)


MIN_MAX = Normalisation()


def _quantile(values: Tensor, share: float) -> Tensor:
    """Of ``(..., n)``, linear between neighbours, as NumPy's; torch's own is limited to 16 million values."""
    place = share * (values.shape[-1] - 1)
    below = int(place)
    low = values.kthvalue(below + 1, -1).values
    high = values.kthvalue(min(below + 2, values.shape[-1]), -1).values
    return torch.lerp(low, high, place - below)
