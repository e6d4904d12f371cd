"""A frozen trunk's output for each image, computed once and stored on disk."""

from camexp.features.cache import FeatureCache, open_cache
from camexp.features.fingerprint import describe_trunk
from camexp.features.store import FeatureStore
from camexp.files import content_digest

__all__ = ["FeatureCache", "FeatureStore", "content_digest", "describe_trunk", "open_cache"]
