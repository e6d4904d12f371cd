"""Logits and maps of the images of a batch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from camexp.config import PredictOptions
from camexp.errors import UserError
from camexp.labels import labels_as_text, resolve_label
from camexp.methods import ForwardPass, Method, build_method, is_cam, of_pass
from camexp.models import CAMClassifier
from camexp.prediction.batches import DecodedImage, Unreadable
from camexp.prediction.results import Explanation
from camexp.viewer import all_or_top

if TYPE_CHECKING:  # a prediction without stored features needs nothing of them
    from camexp.features import FeatureCache


def read_label(label: Any, classes: Sequence[str]) -> Any:
    """``label`` as :meth:`CAMClassifier.explain` takes it, unknown classes refused before any work.

    >>> read_label("llama", ["duck", "llama"]), read_label("top5", ["duck", "llama"])
    ([1], 'top5')
    """
    several = isinstance(label, str) and (label in ("predicted", "all") or re.fullmatch("top[1-9][0-9]*", label))
    if several and label not in classes:
        return label
    wanted = labels_as_text(label if isinstance(label, list) else [label])
    if not wanted:
        raise UserError("label=[] names no class: give predicted, top5, all, a class or a list of classes")
    return [resolve_label(one, classes) for one in wanted]


def explain_in_memory(
    model: CAMClassifier, batch: Sequence[DecodedImage], *arguments: Any
) -> list[tuple[int, Explanation]] | Unreadable:
    """As :func:`explain`, with each image's index; an image for which there is too little memory alone is passed over.

    Raises:
        UserError: there is too little for several at once.
    """
    try:
        explained = explain(model, batch, *arguments)
        return [(picture.index, image) for picture, image in zip(batch, explained, strict=True)]
    except (RuntimeError, MemoryError) as error:
        from pytorch_lightning.utilities.memory import is_oom_error  # takes a second to import

        if not isinstance(error, MemoryError) and not is_oom_error(error):
            raise
        height, width = batch[0].tensor.shape[-2:]
        if len(batch) == 1:
            reason = f"too little memory for a network's input of {width}×{height} pixels (try resize=1024)"
            return Unreadable(batch[0].index, reason)
        raise UserError(
            f"batch_size: too little memory for {len(batch)} images of {width}×{height} pixels at once: take "
            f"batch_size={len(batch) // 2}"
        ) from error


def explain(
    model: CAMClassifier, batch: Sequence[DecodedImage], paths: Sequence[Path], label: Any,
    method: Method = CAMClassifier.explain, more: bool = False, cache: FeatureCache | None = None,
) -> list[Explanation]:  # fmt: skip
    """Logits and maps of pictures of one size.

    Args:
        more: with maps of all classes besides (the top five of a network with very many), which CAM has for nothing.
        cache: of the trunk's features, for methods that need nothing else, see :func:`require_features`.
    """
    images, one = torch.stack([picture.tensor for picture in batch]), of_pass(method)
    if is_cam(method) or (one is not None and cache is not None):
        features = model.trunk_features(images) if cache is None else _stored_features(model, batch, images, cache)
        seen = ForwardPass(features, model.head_activations(features))
        assert one is not None
        result = one.of(model, seen, label)
        all_labels = all_or_top(model.classes)
        others = model.explain_activations(seen.activations, all_labels) if more and is_cam(method) else None
    else:
        result, others = method(model, images, label), None
    logits, probabilities = result.logits.cpu().numpy(), result.probabilities.cpu().numpy()
    maps, labels = result.maps.cpu().numpy(), result.labels.cpu().numpy()
    besides = None if others is None else (others.maps.cpu().numpy(), others.labels.cpu().numpy())
    return [
        Explanation(
            paths[picture.index], picture.pixels, logits[i], probabilities[i], maps[i], labels[i], model.classes,
            None if besides is None else (besides[0][i], besides[1][i]), model.head.pool, picture.digest,
        )
        for i, picture in enumerate(batch)
    ]  # fmt: skip


def require_features(model: CAMClassifier, options: PredictOptions) -> None:
    """Make sure that the trunk's features are all that is needed, where they are to be stored.

    Raises:
        UserError: images of different sizes, or a method that needs more.
    """
    cache, one = options.features.cache, of_pass(build_method(options.cam))
    if cache in ("off", False, None):
        return
    if one is None or one.layers(model):
        raise UserError(
            f"features.cache={cache} is of cam=cam and cam=pc1, without cam.affinity, cam.flip and cam.scales: "
            "leave it out, or those"
        )
    if model.preprocessing.size is None:
        raise UserError(f"features.cache={cache} with resize=null: give a size, as resize=trained")


@contextmanager
def open_features(model: CAMClassifier, options: PredictOptions) -> Iterator[FeatureCache | None]:
    """The cache of the trunk's features that ``features.cache`` asks for; ``None`` where it is off."""
    if options.features.cache in ("off", False, None):
        yield None
        return
    from camexp.features import open_cache

    cache = open_cache(options.features, model, None, model.device.type)
    try:
        yield cache
    finally:
        if cache is not None:
            cache.close()


def _stored_features(
    model: CAMClassifier, batch: Sequence[DecodedImage], images: Tensor, cache: FeatureCache
) -> Tensor:
    from lightning_fabric.utilities import move_data_to_device

    from camexp.features.batches import Batch

    is_stored = torch.tensor([picture.stored is not None for picture in batch])
    stored = [picture.stored for picture in batch if picture.stored is not None]
    nothing = torch.zeros(len(batch), dtype=torch.long)
    names = tuple(picture.name for picture in batch if picture.stored is None)
    some = Batch(images[~is_stored], nothing, nothing, torch.stack(stored) if stored else None, is_stored, names)
    with torch.no_grad():
        return cache.trunk_features(move_data_to_device(some, model.device), model)
