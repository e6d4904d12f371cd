"""The cache of stored features: when it is used, what it reads and computes, and its limit."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from torch import Tensor

from camexp.config import FeatureOptions
from camexp.data.transforms import Flip, Transform
from camexp.errors import UserError
from camexp.features.fingerprint import describe_trunk, fingerprint
from camexp.features.store import FeatureStore, evict
from camexp.files import display_path
from camexp.models.classifier import CAMClassifier

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from camexp.features.batches import Batch

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
DEFAULT_FOLDER = Path("outputs/features")
LOOK_AGAIN = 10**9  # bytes written, after which what other processes wrote is looked at too


class FeatureCache:
    """A store of features with a limit to its size.

    A store that cannot be written to (a full disk, a read-only folder, the limit) is still read; it says so
    once, and what is not there is computed.

    Args:
        root: the cache's folder, a store a trunk in it.
        about: see :func:`describe_trunk`; its ``dtype`` is what is stored.
        max_gb: of the whole folder, in 10⁹ bytes.

    Attributes:
        read, computed: how many images' features came from the store and from the trunk.
    """

    def __init__(self, root: Path, about: dict[str, Any], max_gb: float):
        self.root, self.max_gb = root, max_gb
        self.dtype = DTYPES[about["dtype"]]
        self.store = FeatureStore(root / fingerprint(about))
        self.read = self.computed = 0
        self._size: float | None = None
        self._since_look = 0
        self._unrecorded: list[int] = []
        self._writes = True
        self._held: BinaryIO | None = None
        try:
            self._held = self.store.open(about)
            if not os.access(self.store.folder, os.W_OK):
                raise PermissionError("read-only")
        except OSError as error:
            self._stop(f"{display_path(root)} cannot be written to ({error.strerror or error})")

    def to_stored(self, features: Tensor) -> Tensor:
        """``(B, D, h, w)`` as they are stored: ``(B, h, w, D)`` in the store's dtype.

        Raises:
            UserError: numbers that float16 cannot hold.
        """
        rounded = features.permute(0, 2, 3, 1).to(self.dtype).contiguous()
        if self.dtype == torch.float16 and not torch.isfinite(rounded).all() and torch.isfinite(features).all():
            largest = float(features.abs().max())
            raise UserError(f"features.dtype=float16 cannot hold {largest:g}: take features.dtype=bfloat16")
        return rounded

    @torch.no_grad()
    def trunk_features(self, batch: Batch, classifier: CAMClassifier) -> Tensor:
        """The trunk's output ``(B, D, h, w)`` for a batch, in the dtype of the classifier's weights: what is stored as
        it was read, the rest computed, and stored."""
        whole = batch.stored
        if whole is not None:
            self.read += len(whole)
        if batch.names:
            # Computed in the same way whatever is stored: a run that was interrupted while a batch was being stored
            # resumes with the same numbers. Rounded as it will be read: so does the next epoch.
            rounded = self.to_stored(classifier.trunk_features(batch.images, of=len(batch.labels)))
            self.put(batch.names, rounded)
            whole = rounded if whole is None else self._merge(batch, rounded)
        assert whole is not None
        return whole.permute(0, 3, 1, 2).to(classifier.device, classifier.dtype)

    def _merge(self, batch: Batch, rounded: Tensor) -> Tensor:
        """What was read and what was computed ``(M, h, w, D)``, in the batch's order."""
        assert batch.stored is not None and batch.is_stored is not None
        # Each is assigned to its rows: torch.cat of float16 is an error where autocast computes in bfloat16.
        whole = rounded.new_empty(len(batch.is_stored), *rounded.shape[1:])
        whole[batch.is_stored] = batch.stored.to(rounded)
        whole[~batch.is_stored] = rounded
        return whole

    def put(self, names: Sequence[str], rounded: Tensor) -> None:
        """Store what :meth:`to_stored` returned, an entry a name."""
        self.computed += len(names)
        if not self._writes:
            return
        try:
            for name, tensor in zip(names, rounded.cpu(), strict=True):
                if not self._has_room(tensor.nbytes):
                    self._stop(f"features.max_gb={self.max_gb:g} is reached")
                    break
                written = self.store.write(name, tensor)
                self._size = (self._size or 0) + written
                self._since_look += written
                self._unrecorded.append(written)
            self._record()
        except OSError as error:
            self._stop(f"{display_path(self.root)} cannot be written to ({error.strerror or error})")

    def close(self) -> None:
        """Let others remove the store; once or more."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def summary(self) -> dict[str, Any]:
        """Where the features are, and how many came from there."""
        return {"store": str(self.store.folder), "read": self.read, "computed": self.computed}

    def _has_room(self, size: int) -> bool:
        limit = self.max_gb * 1e9
        if self._size is None or self._size + size > limit or self._since_look > LOOK_AGAIN:
            self._record()
            self._size, self._since_look = evict(self.root, self.store, limit - size), 0
        return self._size + size <= limit

    def _record(self) -> None:
        self.store.record_written(len(self._unrecorded), sum(self._unrecorded))
        self._unrecorded.clear()

    def _stop(self, why: str) -> None:
        self._writes = False
        log.warning(f"features: {why}; what is not there already is computed in every epoch")


def open_cache(
    features: FeatureOptions, classifier: CAMClassifier, transform: Transform | None, device: str, recur: bool = True
) -> FeatureCache | None:
    """The cache that ``features`` asks for, or ``None``, with the reason logged, where nothing can be stored.

    Args:
        features: where, in what and how much.
        classifier: already frozen, with its weights and its precision.
        transform: of the training images; only none at all and :class:`Flip` have features that recur.
        device: where the trunk runs.
        recur: whether a method of training (``regularise=has`` does not) leaves what the trunk gives as it is.
    """
    asked = features.cache
    if asked in ("off", False, None):
        return None
    if not classifier.trunk_is_frozen:
        log.info("features: not stored, because layers of the trunk train (model.freeze=trunk would freeze them)")
        return None
    if transform is not None and not isinstance(transform, Flip):
        log.info("features: not stored, because every epoch crops the images anew (transform=resize or flip would not)")
        return None
    if not recur:
        log.info(
            "features: not stored, because regularise changes what passes the trunk in each step "
            "(regularise.where=features or regularise.layers=[], where the method has it, would not)"
        )
        return None
    root = DEFAULT_FOLDER if asked in ("auto", True) else Path(str(asked)).expanduser()
    cache = FeatureCache(root, describe_trunk(classifier, features.dtype, device), features.max_gb)
    count, _ = cache.store.recorded_size()
    log.info(f"features: of the frozen trunk, stored in {display_path(cache.store.folder)} ({count} there already)")
    return cache
