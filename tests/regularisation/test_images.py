"""Hide-and-seek and CutMix against loops over pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from camexp import CAMClassifier, UserError
from camexp.features.batches import IGNORE_INDEX
from camexp.models import Preprocessing
from camexp.regularisation import CutMix, Draws, HideAndSeek, Targets
from camexp.regularisation.cutmix import mixing_box
from camexp.regularisation.hide_and_seek import visible


def draws(count: int) -> Draws:
    return Draws(count, torch.arange(count))


@pytest.mark.parametrize("height, width", [(48, 48), (37, 90)])
def test_patches_are_hidden_as_in_a_loop(height, width):
    torch.manual_seed(0)
    patches, numbers = torch.tensor([5, 16, 44]), torch.rand(3, 20, 20)
    expected = np.ones((3, height, width), bool)
    for image, patch in enumerate(patches.tolist()):
        for y in range(0, height, patch):
            for x in range(0, width, patch):
                if numbers[image, y // patch, x // patch] < 0.4:
                    expected[image, y : y + patch, x : x + patch] = False
    assert np.array_equal(visible(height, width, patches, numbers, 0.4)[:, 0].numpy(), expected)
    assert 0 < expected.mean() < 1


def test_half_of_the_patches_are_hidden_and_what_is_hidden_is_the_mean_colour():
    torch.manual_seed(0)
    images = torch.rand(64, 3, 64, 64) + 1
    hidden, targets = HideAndSeek(patches=[8]).images(images, Targets(torch.zeros(64)), draws(64))
    assert targets.mixed_in is None
    kept = hidden != 0
    assert torch.equal(hidden[kept], images[kept])
    assert torch.equal(kept[:, 0], kept[:, 2])  # of all colours at once
    # 64 images of 64 patches: 3 standard deviations of a share of a half
    assert float(kept.float().mean()) == pytest.approx(0.5, abs=3 * 0.5 / 64)


def test_images_have_patches_of_all_sizes():
    torch.manual_seed(0)
    hidden, _ = HideAndSeek(patches=[2, 16]).images(torch.ones(40, 1, 32, 32), Targets(torch.zeros(40)), draws(40))
    coarse = [len(set(image[:16, :16].flatten().tolist())) == 1 for image in hidden[:, 0]]
    assert 5 < sum(coarse) < 35


def test_features_are_hidden_in_places_of_the_trunks_stride():
    classifier = CAMClassifier("vgg11", ["a", "b"], Preprocessing((64, 64)), width=1 / 16)
    method = HideAndSeek(patches=[32], where="features")
    method.attach(classifier)
    assert method.features_recur
    torch.manual_seed(0)
    features = torch.ones(4, 3, 6, 6)
    assert torch.equal(method.images(features, Targets(torch.zeros(4)), draws(4))[0], features)
    hidden = method.features(features, Targets(torch.zeros(4)), draws(4))[0]
    patches = hidden.reshape(4, 3, 3, 2, 3, 2)
    assert torch.equal(patches.amin((3, 5)), patches.amax((3, 5)))  # two places a side, of 16 pixels each
    assert 0 < float(hidden.mean()) < 1


def test_a_box_of_another_image_and_its_share():
    torch.manual_seed(3)
    images, labels = torch.rand(6, 3, 20, 30), torch.tensor([0, 1, 2, 3, 4, 5])
    mixed, targets = CutMix().images(images, Targets(labels), draws(6))
    changed = (mixed != images).any(1)  # an image mixed with itself is as it was
    rows, columns = changed.any(0).any(1), changed.any(0).any(0)
    area = int(rows.sum()) * int(columns.sum())
    assert targets.share == pytest.approx(1 - area / 600)
    for image, other in enumerate(targets.mixed_in.tolist()):
        box = torch.zeros(20, 30, dtype=torch.bool)
        box[rows] = columns
        assert torch.equal(mixed[image][:, box], images[other][:, box])
        assert torch.equal(mixed[image][:, ~box], images[image][:, ~box])
    assert sorted(targets.mixed_in.tolist()) == labels.tolist()


def test_the_loss_asks_for_both_classes_in_proportion():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 3, IGNORE_INDEX])
    mixed_in = torch.tensor([2, 3, 1])
    expected = [
        -sum(share * (float(row[label]) - math.log(sum(math.exp(value) for value in row.tolist())))
             for share, label in ((0.3, own), (0.7, other)) if label >= 0)
        for row, own, other in zip(logits, labels.tolist(), mixed_in.tolist(), strict=True)
    ]  # fmt: skip
    for image, loss in enumerate(expected):
        one = slice(image, image + 1)
        assert float(Targets(labels[one], mixed_in[one], 0.3).cross_entropy(logits[one])) == pytest.approx(
            loss, abs=1e-12
        )
    whole = Targets(labels, mixed_in, share=0.3).cross_entropy(logits)
    assert float(whole) == pytest.approx(sum(expected), abs=1e-12)


def test_boxes_stay_in_the_image_and_have_the_share_that_was_asked_for():
    random = np.random.default_rng(0)
    for _ in range(200):
        height, width = random.integers(4, 60, 2)
        share, y, x = random.random(3)
        y0, y1, x0, x1 = mixing_box(height, width, share, y, x)
        assert 0 <= y0 <= y1 <= height and 0 <= x0 <= x1 <= width
        assert (y1 - y0) * (x1 - x0) <= (1 - share) * height * width
    y0, y1, x0, x1 = mixing_box(200, 400, 0.75, 0.5, 0.5)
    assert (y1 - y0) * (x1 - x0) == pytest.approx(0.25 * 200 * 400)


def test_no_step_mixes_at_probability_0():
    images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    mixed, targets = CutMix(probability=0.0).images(images, Targets(labels), draws(4))
    assert mixed is images and targets.mixed_in is None


@pytest.mark.parametrize("method, options, message", [
    (HideAndSeek, {"patches": 16}, r"regularise.patches=16 is no list of sides in pixels: expected as \[16,32,44,56\]"),
    (HideAndSeek, {"patches": []}, "is no list of sides"),
    (HideAndSeek, {"patches": [0]}, "is no list of sides"),
    (HideAndSeek, {"probability": 1.5}, "regularise.probability=1.5 is out of range: expected 0 to 1"),
    (HideAndSeek, {"where": "maps"}, "regularise.where=maps is neither images nor features: choose one of them"),
    (CutMix, {"alpha": 0}, "regularise.alpha=0 is out of range: expected 0.01 to 100"),
])  # fmt: skip
def test_an_option_out_of_its_range_is_told(method, options, message):
    with pytest.raises(UserError, match=message):
        method(**options)
