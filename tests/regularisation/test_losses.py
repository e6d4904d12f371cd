"""Attention dropout, bridging the gap and domain adaptation against loops in float64."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2

from camexp import CAMClassifier, UserError
from camexp.models import Preprocessing
from camexp.models.head import CAMHead
from camexp.regularisation import AttentionDropout, BridgingGap, DomainAdaptation, Draws, Targets
from camexp.regularisation.bridging_gap import alignment
from camexp.regularisation.domain_adaptation import cluster, discrepancy


def draws(count: int) -> Draws:
    return Draws(count, torch.arange(count))


@pytest.fixture
def classifier() -> CAMClassifier:
    torch.manual_seed(0)
    return CAMClassifier("vgg16", list("abc"), Preprocessing((64, 64)), width=1 / 16, head={"channels": 8})


def attended(values: np.ndarray, drops: bool, threshold: float) -> np.ndarray:
    out = values.copy()
    for image in out:
        seen = image.mean(0)
        for y in range(seen.shape[0]):
            for x in range(seen.shape[1]):
                loud = seen[y, x] >= threshold * seen.max()
                image[:, y, x] *= float(not loud) if drops else 1 / (1 + math.exp(-seen[y, x]))
    return out


@pytest.mark.parametrize("drop_rate", [0.0, 1.0])
def test_the_loudest_places_are_dropped_or_all_are_weighed(drop_rate):
    torch.manual_seed(0)
    features = torch.rand(3, 5, 4, 6, dtype=torch.float64)
    method = AttentionDropout(drop_rate=drop_rate, threshold=0.8)
    method.begin_step(draws(3))
    out, _ = method.features(features, Targets(torch.zeros(3)), draws(3))
    expected = attended(features.numpy(), drop_rate == 1, 0.8)
    assert np.allclose(out.numpy(), expected, atol=1e-12)
    assert not np.allclose(expected, features.numpy())


def test_three_quarters_of_the_steps_drop():
    torch.manual_seed(0)
    method, dropped = AttentionDropout(), 0
    for _ in range(400):
        method.begin_step(draws(1))
        dropped += int((method.features(torch.ones(1, 1, 2, 2), Targets(torch.zeros(1)), draws(1))[0] == 0).all())
    assert dropped / 400 == pytest.approx(0.75, abs=3 * math.sqrt(0.75 * 0.25 / 400))


def test_in_a_trunk_that_trains_it_acts_where_the_paper_has_it(classifier):
    plain = copy.deepcopy(classifier.trunk.features)
    method = AttentionDropout(drop_rate=1.0)
    method.attach(classifier)
    assert method.layers == ["conv3_3", "conv4_3"] and not method.features_recur
    images = torch.randn(2, 3, 64, 64)
    before = classifier.trunk(images)  # outside a step: a validation, a snapshot
    assert torch.equal(before, plain(images))
    method.begin_step(draws(2))
    within = classifier.trunk(images)
    method.end_step()
    values, stage = images, 1
    for module in plain:
        if isinstance(module, torch.nn.MaxPool2d):
            if stage in (3, 4):
                values = torch.from_numpy(attended(values.detach().double().numpy(), True, 0.8)).float()
            stage += 1
        values = module(values)
    assert torch.allclose(within, values, atol=1e-5)
    assert not torch.allclose(within, before, atol=1e-3)
    assert torch.equal(classifier.trunk(images), before)


def test_at_a_frozen_trunk_it_leaves_the_stored_features_alone(classifier):
    classifier.freeze("trunk")
    method = AttentionDropout()
    method.attach(classifier)
    assert method.layers == [] and method.features_recur


def test_a_layer_that_is_none_is_told(classifier):
    with pytest.raises(UserError, match="regularise.layers=conv9_1 is no layer of this trunk: did you mean"):
        AttentionDropout(layers=["conv9_1"]).attach(classifier)
    with pytest.raises(UserError, match="regularise.layers=conv3_3 is no list of layers"):
        AttentionDropout(layers="conv3_3")


def test_alignment_is_what_a_loop_over_places_finds():
    torch.manual_seed(0)
    activations, weights = torch.rand(4, 6, 5, 7, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    activations = activations * torch.rand(4, 1, 5, 7, dtype=torch.float64)
    labels = [0, 2, 1, 2]
    terms = alignment(activations, weights, torch.tensor(labels), 0.6, 0.3)
    for image, label in enumerate(labels):
        norms, own, largest = [], [], []
        for place in activations[image].flatten(1).T.numpy():
            cosines = [float(place @ w / np.linalg.norm(place) / np.linalg.norm(w)) for w in weights.numpy()]
            norms.append(float(np.linalg.norm(place)))
            own.append(cosines[label])
            largest.append(max(cosines))
        spread = [(norm - min(norms)) / (max(norms) - min(norms)) for norm in norms]

        def mean(values, chosen):
            kept = [value for value, taken in zip(values, chosen, strict=True) if taken]
            return sum(kept) / len(kept) if kept else 0.0

        similarity = mean(own, [n < 0.3 for n in spread]) - mean(own, [n > 0.6 for n in spread])
        norm = mean(spread, [c < 0 for c in largest]) - mean(spread, [c > 0 for c in largest])
        assert float(terms.similarity[image]) == pytest.approx(similarity, abs=1e-9)
        assert float(terms.norm[image]) == pytest.approx(norm, abs=1e-9)
    assert (terms.norm.abs() > 0.01).any()


def test_alignment_sets_in_when_the_training_has_begun():
    torch.manual_seed(0)
    head = CAMHead(4, num_classes=2, channels=6, init_std=0.3)
    features, targets = torch.rand(2, 4, 5, 5), Targets(torch.tensor([0, 1]))
    activations = head.activations(features)
    method = BridgingGap(drop=0.0)
    assert method.penalty(head, features, activations, targets, draws(2)).abs().sum() == 0
    method.progress = 0.25
    penalty = method.penalty(head, features, activations, targets, draws(2))
    terms = alignment(activations, head.linear.weight, targets.labels, 0.4, 0.2)
    assert torch.allclose(penalty, 0.5 * terms.similarity + 0.05 * terms.norm)
    gradients = torch.autograd.grad(penalty.sum(), [head.linear.weight, head.conv_cam.weight])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_dropping_all_that_is_loud_is_told_by_the_mean_difference():
    torch.manual_seed(0)
    head = CAMHead(4, num_classes=2, channels=6, init_std=0.3)
    features, targets = torch.rand(3, 4, 5, 5), Targets(torch.tensor([0, 1, 1]))
    method = BridgingGap(drop=2.0, drop_probability=1.0)
    activations = head.activations(features)
    penalty = method.penalty(head, features, activations, targets, draws(3)).detach()
    for image in range(3):
        seen = features[image].mean(0)
        quiet = features[image] * (seen < 0.8 * seen.max())
        difference = (head.activations(quiet[None]) - activations[image]).abs().mean().detach()
        assert float(penalty[image]) == pytest.approx(2 * float(difference), rel=1e-5)


def test_clusters_are_scipys():
    random = np.random.default_rng(0)
    for _ in range(5):
        places = random.normal(size=(40, 6)) + 3 * random.integers(0, 3, 40)[:, None]
        begin = places[:3]
        found = cluster(torch.from_numpy(places)[None], torch.from_numpy(begin)[None])
        centres, members = kmeans2(places, begin, iter=100, minit="matrix")
        assert np.array_equal(found.members[0].numpy(), members)
        assert np.allclose(found.centres[0].numpy(), centres)


def test_the_discrepancy_is_that_of_a_loop_over_pairs():
    torch.manual_seed(0)
    source, target = torch.randn(2, 7, 5, dtype=torch.float64), torch.randn(2, 7, 5, dtype=torch.float64) + 1
    for image in range(2):
        s, t = source[image].numpy(), target[image].numpy()
        both = np.concatenate([s, t])
        mean = sum(float(((a - b) ** 2).sum()) for a in both for b in both) / (14 * 13)

        def kernel(a, b, mean=mean):
            return sum(math.exp(-float(((a - b) ** 2).sum()) / (mean * 2.0**power)) for power in (-2, -1, 0, 1, 2))

        total = 0.0
        for i in range(7):
            j = (i + 1) % 7
            total += kernel(s[i], s[j]) + kernel(t[i], t[j]) - kernel(s[i], t[j]) - kernel(s[j], t[i])
        assert float(discrepancy(source, target)[image]) == pytest.approx(total / 7, rel=1e-9)


def test_centres_are_running_means_however_the_batch_is_shared(classifier):
    """Two processes, whose sums are added up, remember what one does."""
    torch.manual_seed(0)
    activations, labels = torch.rand(6, 8, 6, 6), torch.tensor([0, 2, 2, 0, 2, 0])
    features = torch.zeros(6, 1, 6, 6)
    method = DomainAdaptation(samples=4)
    method.progress = 1.0
    method.attach(classifier)
    whole = copy.deepcopy(method)
    method.penalty(classifier.head, features, activations, Targets(labels), draws(6))
    found = cluster(
        activations.flatten(2).transpose(1, 2),
        torch.stack([torch.zeros(6, 8), activations.mean((2, 3)), activations.mean((2, 3))], 1),
    )
    assert method.class_counts.tolist() == [3, 0, 3] and int(method.universum_count) == 6
    for label in (0, 2):
        assert torch.allclose(method.class_centres[label], found.centres[labels == label, 1].mean(0), atol=1e-6)
    assert torch.allclose(method.universum_centre, found.centres[:, 0].mean(0), atol=1e-6)

    shares = [copy.deepcopy(whole), copy.deepcopy(whole)]
    sums: list[list[torch.Tensor]] = [[], []]
    for process, share in enumerate(shares):  # what each would add, first
        share.all_reduce_sum = lambda values, process=process: sums[process].append(values.clone()) or values
        rows = slice(process, None, 2)
        again = copy.deepcopy(share)
        again.penalty(classifier.head, features[rows], activations[rows], Targets(labels[rows]), draws(3))
    added = [one + other for one, other in zip(*sums, strict=True)]
    for process, share in enumerate(shares):
        totals = iter(added)
        share.all_reduce_sum = lambda values, totals=totals: next(totals)
        rows = slice(process, None, 2)
        share.penalty(classifier.head, features[rows], activations[rows], Targets(labels[rows]), draws(3))
        for name, values in share.named_buffers():
            assert torch.allclose(values.float(), dict(method.named_buffers())[name].float(), atol=1e-6), name


def test_the_background_is_quietened_and_the_rest_brought_together(classifier):
    torch.manual_seed(0)
    activations = torch.rand(4, 8, 6, 6, requires_grad=True)
    method = DomainAdaptation(samples=4)
    method.attach(classifier)
    targets = Targets(torch.tensor([0, 1, 2, 0]))
    assert method.penalty(classifier.head, activations, activations, targets, draws(4)) is None
    method.progress = 0.5
    penalty = method.penalty(classifier.head, activations, activations, targets, draws(4))
    (gradient,) = torch.autograd.grad(penalty.sum(), activations)
    assert penalty.shape == (4,) and bool((gradient.flatten(1).abs().amax(1) > 0).all())

    quiet = DomainAdaptation(domain=0.0, samples=4)  # the background's term alone, from the centres of a first step
    quiet.attach(classifier)
    quiet.progress = 1.0
    penalty = quiet.penalty(classifier.head, activations, activations, targets, draws(4))
    places, pooled = activations.detach().flatten(2).transpose(1, 2), activations.detach().mean((2, 3))
    found = cluster(places, torch.stack([torch.zeros(4, 8), pooled, pooled], 1))
    for image in range(4):
        background = places[image][found.members[image] == 0]
        expected = 2 * float(background.mean()) if len(background) else 0.0
        assert float(penalty[image].detach()) == pytest.approx(expected, rel=1e-5)
    assert float(penalty.sum().detach()) > 0
    half = copy.deepcopy(method).to(torch.bfloat16)
    assert half.class_centres.dtype == torch.float32  # a mean of a thousand would stand still in bfloat16
