"""How maps were made, in words: for files and pages."""

from __future__ import annotations

from camexp.cam.normalisation import PERCENTILES
from camexp.config import CAMOptions

SHOWN = {
    "max": "0 to its maximum",
    "percentile": "0 to its {:g} % percentile (PaS)",
    "ivr": "its {:g} % percentile to its maximum (IVR)",
}


def describe_maps(options: CAMOptions, pool: str = "gap") -> str:
    """The ``cam`` group in a line.

    Args:
        pool: of the network's head: with another one than ``gap`` the mean of a map is not its class's logit.

    >>> describe_maps(CAMOptions()), describe_maps(CAMOptions(flip=True, scales=[1.0, 1.5]))
    ('Raw maps of cam', 'Raw maps of cam, averaged over flip, scales 1 and 1.5')
    >>> describe_maps(CAMOptions(negatives="clamp_weights", affinity="auto", normalise="ivr"))
    'Raw maps of cam, negative class weights 0, affinity=auto; each shown from its 30 % percentile to its maximum (IVR)'
    >>> describe_maps(CAMOptions(), "tap")
    'Raw maps of cam, of a head with tap pooling'
    """
    parts = [f"Raw maps of {options.method}" + (f" in {options.layer}" if options.layer else "")]
    if pool != "gap":
        parts.append(f"of a head with {pool} pooling")
    if options.negatives != "keep":
        parts.append("negative class weights 0" if options.negatives == "clamp_weights" else "negative values 0")
    if options.affinity is not None:
        parts.append(f"affinity={options.affinity}")
    views = ["flip"] * options.flip + ["ten crops"] * options.ten_crop
    if options.scales != [1.0]:
        views.append("scales " + " and ".join(f"{scale:g}" for scale in options.scales))
    if views:
        parts.append("averaged over " + ", ".join(views))
    shown = SHOWN.get(options.normalise, "").format(options.percentile or PERCENTILES.get(options.normalise, 0.0))
    return ", ".join(parts) + (f"; each shown from {shown}" if shown else "")
