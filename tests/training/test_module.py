"""One training step against the same arithmetic by hand."""

import functools

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from camexp.features.batches import Sample, collate
from camexp.models import CAMClassifier, Preprocessing
from camexp.training import CAMModule


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
