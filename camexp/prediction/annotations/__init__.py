"""Weak labels: boxes and masks from maps, as annotation tools and detectors read them."""

from camexp.prediction.annotations.writer import ANNOTATIONS, Annotations, find_threshold, require_new

__all__ = ["ANNOTATIONS", "Annotations", "find_threshold", "require_new"]
