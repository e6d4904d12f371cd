"""One training step against the same arithmetic by hand."""

import functools
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from scipy.ndimage import map_coordinates
from torch.utils.data import DataLoader

from camexp import UserError
from camexp.data import ImageSet
from camexp.features.batches import IGNORE_INDEX, Sample, collate
from camexp.models import CAMClassifier, Preprocessing
from camexp.training import CAMModule
from camexp.training.schedules import stairs


def samples(images, labels):
    return [
        Sample(image, None, "", label, place) for place, (image, label) in enumerate(zip(images, labels, strict=True))
    ]


def fit(module, loader, **options):
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip
    trainer.fit(module, loader, loader)
    return trainer


@pytest.mark.filterwarnings("ignore")
def test_the_loss_is_cross_entropy_and_half_the_squared_weights():
    torch.manual_seed(0)
    head = {"channels": 8, "dropout": 0.0, "l2": 0.1, "init_std": 0.2}
    classifier = CAMClassifier("vgg11", list("abc"), Preprocessing((32, 32)), width=1 / 16, head=head)
    images, labels = torch.randn(6, 3, 32, 32), torch.tensor([0, 1, 2, 0, 1, 2])
    before = {name: value.detach().clone() for name, value in classifier.named_parameters()}
    logits = classifier(images)
    rows = logits.log_softmax(1)
    loss = -sum(rows[i, label] for i, label in enumerate(labels)) / 6
    loss = loss + 0.1 * 0.5 * ((classifier.head.conv_cam.weight**2).sum() + (classifier.head.linear.weight**2).sum())
    gradients = torch.autograd.grad(loss, list(classifier.parameters()))

    module = CAMModule(classifier, functools.partial(torch.optim.SGD, lr=0.5))
    loader = DataLoader(samples(images, labels.tolist()), batch_size=6, collate_fn=collate)
    trainer = fit(module, loader, max_steps=1)
    for (name, value), gradient in zip(classifier.named_parameters(), gradients, strict=True):
        assert torch.allclose(value, before[name] - 0.5 * gradient, atol=1e-6), name

    with torch.no_grad():
        rows = classifier.eval()(images)
    assert float(trainer.callback_metrics["val/accuracy"]) == pytest.approx(
        np.mean(rows.argmax(1).numpy() == labels.numpy())
    )
    expected = torch.nn.functional.cross_entropy(rows.double(), labels)
    assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_peaks_are_those_of_the_true_classes_maps(precision):
    """Against the peak found by hand in SciPy's enlarging, for masks of several sizes."""
    torch.manual_seed(0)
    head = {"channels": 8, "init_std": 0.5}
    classifier = CAMClassifier("vgg11", list("abc"), Preprocessing((32, 32)), width=1 / 16, head=head)
    images, labels = torch.randn(7, 3, 96, 128), [0, 1, 2, 0, 1, 2, 1]
    sizes = [(48, 64), (30, 41), (77, 50), (48, 64), (13, 20), (48, 64), (90, 91)]
    random = np.random.default_rng(0)
    masks = {}
    for i, (height, width) in enumerate(sizes):
        # a square for each place of the map: towards an image's edge a map is level, and rounding chooses among its peaks
        rows, columns = np.arange(height) * 6 // height, np.arange(width) * 8 // width
        masks[Path(f"{i}.png")] = (random.random((6, 8)) > 0.5)[np.ix_(rows, columns)]
    image_set = ImageSet(Path(), list("abc"), list(masks), labels, mask=masks.__getitem__)
    module = CAMModule(classifier, functools.partial(torch.optim.SGD, lr=0.0), images=image_set)
    trainer = fit(
        module, DataLoader(samples(images, labels), batch_size=3, collate_fn=collate), max_steps=3, precision=precision
    )

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        activations = classifier.eval().activations(images).double().numpy()
    weights, hits = classifier.head.linear.weight.detach().double().numpy(), 0
    for i, (label, mask) in enumerate(zip(labels, masks.values(), strict=True)):
        cam = np.einsum("d,dhw->hw", weights[label], activations[i])
        places = [(np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(mask.shape, cam.shape, strict=True)]
        large = map_coordinates(cam, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")
        hits += mask[np.unravel_index(large.argmax(), mask.shape)]
    assert 0 < hits < 7
    assert float(trainer.callback_metrics["val/pointing"]) == pytest.approx(hits / 7)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_labels_are_smoothed_in_training_alone(smoothing):
    """Against the cross-entropy with the smoothed distribution, by hand; an image that is not to count does not."""
    torch.manual_seed(0)
    head = {"channels": 8, "dropout": 0.0, "l2": 0.0, "init_std": 0.2}
    classifier = CAMClassifier("vgg11", list("abc"), Preprocessing((32, 32)), width=1 / 16, head=head)
    images, labels = torch.randn(4, 3, 32, 32), [0, 1, 2, IGNORE_INDEX]
    with torch.no_grad():
        rows = classifier(images).double().log_softmax(1)[:3]
    smoothed = (1 - smoothing) * torch.eye(3).double() + smoothing / 3
    module = CAMModule(classifier, functools.partial(torch.optim.SGD, lr=0.0), label_smoothing=smoothing)
    trainer = fit(
        module, DataLoader(samples(images, labels), batch_size=4, collate_fn=collate), max_steps=1, limit_val_batches=0
    )
    expected = -(smoothed * rows).sum(1).mean()
    assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(float(expected), rel=1e-5)

    counted = DataLoader(samples(images[:3], labels[:3]), batch_size=3, collate_fn=collate)
    found = fit(module, counted, max_steps=1).callback_metrics
    assert float(found["val/loss"]) == pytest.approx(float(-rows.diagonal().mean()), rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_the_schedule_moves_once_a_step():
    classifier = CAMClassifier("vgg11", list("ab"), Preprocessing((32, 32)), width=1 / 16, head={"channels": 8})

    def halving(optimizer, total_steps, steps_per_epoch):
        assert (total_steps, steps_per_epoch) == (6, 3)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)

    module = CAMModule(
        classifier, functools.partial(torch.optim.SGD, lr=1.0), halving, steps_per_epoch=3, total_steps=6
    )
    loader = DataLoader(samples(torch.randn(6, 3, 32, 32), [0, 1] * 3), batch_size=2, collate_fn=collate)
    trainer = fit(module, loader, max_epochs=2)
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.5**6


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("freeze", ["none", "trunk"])
def test_the_head_learns_at_its_own_rate(freeze):
    torch.manual_seed(0)
    head = {"channels": 8, "dropout": 0.0, "l2": 0.0, "init_std": 0.2, "bias": True}
    classifier = CAMClassifier("vgg11", list("ab"), Preprocessing((32, 32)), width=1 / 16, head=head)
    if freeze == "trunk":
        classifier.trunk.requires_grad_(False)
    images, labels = torch.randn(4, 3, 32, 32), [0, 1, 0, 1]
    trained = {name: value for name, value in classifier.named_parameters() if value.requires_grad}
    before = {name: value.detach().clone() for name, value in trained.items()}
    loss = torch.nn.functional.cross_entropy(classifier(images), torch.tensor(labels))
    gradients = torch.autograd.grad(loss, list(trained.values()))
    module = CAMModule(classifier, functools.partial(torch.optim.SGD, lr=0.1), head_lr=1.0)
    loader = DataLoader(samples(images, labels), batch_size=4, collate_fn=collate)
    trainer = fit(module, loader, max_steps=1)
    for (name, value), gradient in zip(trained.items(), gradients, strict=True):
        rate = 1.0 if name.startswith("head.") else 0.1
        assert torch.allclose(value, before[name] - rate * gradient, atol=1e-6), name
    assert len(trainer.optimizers[0].param_groups) == 1 + (freeze == "none")


def test_the_rate_falls_as_in_wsolevaluation():
    """There before each epoch, counted from 1: ``if epoch % lr_decay_frequency == 0: lr *= 0.1``."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    factor = stairs(optimizer, 40, 4, every_epochs=3, factor=0.1, first_epochs=2).lr_lambdas[0]
    rate, expected = 1.0, []
    for epoch in range(1, 11):
        rate *= 0.1 if epoch % 3 == 0 else 1.0
        expected += [rate] * 4
    assert [factor(step) for step in range(40)] == pytest.approx(expected)
    with pytest.raises(UserError, match="scheduler.first_epochs=3 is out of range"):
        stairs(optimizer, 40, 4, every_epochs=3, first_epochs=3)
