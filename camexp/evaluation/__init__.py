"""Measuring maps."""

from camexp.evaluation.pointing import PointingGame, peaks_inside

__all__ = ["PointingGame", "peaks_inside"]
