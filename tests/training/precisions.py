"""The number formats that every job is tested in, and how far their figures may lie from float64's."""

from __future__ import annotations

import math

import torch

EVERY = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "64-true")

# in what a CPU multiplies; 16-mixed is bf16-mixed there, and what is handed over is float32 even at 64-true
_DTYPES = {
    "32-true": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.bfloat16, "bf16-true": torch.bfloat16,
    "16-true": torch.float16, "64-true": torch.float32,
}  # fmt: skip
_LAYERS = 10  # of vgg11: eight convolutions, conv_cam and the linear layer
_TERMS = 9 * 32  # of the longest sum, in a convolution of 3×3 over 32 channels


def reference(precision: str) -> str:
    """The format whose figures are taken for exact: float64's, and float32's for float64 itself.

    >>> reference("bf16-true"), reference("64-true")
    ('64-true', '32-true')
    """
    return "32-true" if precision == "64-true" else "64-true"


def tolerance(precision: str) -> float:
    """How far a logit or a map may lie from float64's, relative to the largest of them.

    Each layer rounds its weights and its output, by half of eps each, and sums in float32, whose errors grow with the
    root of the number of terms: ``layers · (eps + √terms · eps32)``.

    >>> [f"{tolerance(name):.0e}" for name in ("32-true", "16-true", "bf16-true")]
    ['2e-05', '1e-02', '8e-02']
    """
    eps, eps32 = (torch.finfo(dtype).eps for dtype in (_DTYPES[precision], torch.float32))
    return _LAYERS * (eps + math.sqrt(_TERMS) * eps32)
