"""Stored features come back to the GPU, whichever part of a batch is stored."""

from __future__ import annotations

import copy

import pytest
import torch
from lightning_fabric.utilities import move_data_to_device

from camexp.features import FeatureCache
from camexp.features.batches import Sample, collate
from camexp.features.fingerprint import describe_trunk
from camexp.models import CAMClassifier, Preprocessing


def batch_of(images, cache):
    """As the loader has it, on the CPU."""
    samples = []
    for number, image in enumerate(images):
        stored = cache.store.read(str(number))
        samples.append(Sample(image if stored is None else None, stored, str(number), number % 2, number))
    return collate(samples)


@pytest.mark.parametrize("known", [(), (1, 2), (0,), (0, 1, 2, 3)], ids=["none", "middle", "first", "all"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_batch_that_is_stored_in_part(fake_cuda, tmp_path, known, dtype, precision):
    torch.manual_seed(0)
    on_cpu = CAMClassifier("vgg11", ["a", "b"], Preprocessing((64, 64)), width=1 / 16, head={"channels": 8}).eval()
    on_gpu = copy.deepcopy(on_cpu).cuda()
    on_gpu.precision = precision
    cache = FeatureCache(tmp_path, describe_trunk(on_gpu, dtype, "cuda"), 1)
    images = torch.randn(4, 3, 64, 64)
    for number in known:
        cache.put([str(number)], cache.to_stored(on_gpu.trunk_features(images[number : number + 1])))
    batch = move_data_to_device(batch_of(images, cache), torch.device("cuda"))
    half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
    with torch.autocast("cuda", half, enabled=half is not None):  # as Lightning calls it
        features = cache.trunk_features(batch, on_gpu)
        logits = on_gpu.head(on_gpu.head.activations(features))
    assert features.device.type == logits.device.type == "cuda" and features.dtype == torch.float32
    expected = on_cpu.trunk_features(images)
    assert (features.cpu() - expected).abs().max() < 0.05 * expected.abs().max()  # each one in its place
    # what was computed has left the GPU for the disk, as it would be read
    again = move_data_to_device(batch_of(images, cache), torch.device("cuda"))
    assert cache.read == len(known) and again.names == () and again.is_stored.all().item()
    assert torch.equal(cache.trunk_features(again, on_gpu).cpu(), features.cpu())
