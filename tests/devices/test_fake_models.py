"""Networks, methods and metrics on the fake GPU say what they say on the CPU."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from lightning_fabric.utilities import move_data_to_device
from torch import nn
from torchmetrics import Metric

import camexp
from camexp.cam import Normalisation
from camexp.config import CAMOptions
from camexp.evaluation.faithfulness import Faithfulness, confidence_change, insertion_deletion
from camexp.evaluation.max_box_acc import MaxBoxAcc
from camexp.evaluation.pixel_precision import PixelPrecision
from camexp.evaluation.pointing_game import PointingGame
from camexp.features.batches import IGNORE_INDEX, Sample, collate
from camexp.methods import TORCHCAM, Averaged, TorchCAM, build_method, forward_pass, observer, pc1
from camexp.models import CAMClassifier, Preprocessing
from camexp.models.checkpoint import METADATA, STATE_PREFIX, checkpoint_metadata
from camexp.models.convolution import convolve
from camexp.precision import autocast
from camexp.regularisation import AttentionDropout, BridgingGap, CutMix, DomainAdaptation, HideAndSeek
from camexp.training import CAMModule

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


@pytest.fixture
def networks(fake_cuda) -> tuple[CAMClassifier, CAMClassifier]:
    """The same one on the CPU and on the GPU."""
    torch.manual_seed(0)
    head = {"channels": 16, "init_std": 0.2}
    on_cpu = CAMClassifier("vgg11", list("abcdef"), Preprocessing((64, 64)), width=1 / 16, head=head).eval()
    return on_cpu, copy.deepcopy(on_cpu).cuda()


def require_same(one, other, tolerance=1e-5):
    assert one.maps.device.type == one.logits.device.type == one.labels.device.type == "cuda"
    assert torch.equal(one.labels.cpu(), other.labels)
    torch.testing.assert_close(one.logits.cpu(), other.logits, rtol=0, atol=tolerance)
    torch.testing.assert_close(one.maps.cpu(), other.maps, rtol=0, atol=tolerance)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "labels", ["predicted", "top3", "all", "c", 4, [0, "c"], [["a"], ["f"]], torch.tensor([[1, 2], [5, 0]])]
)
def test_explain(networks, labels, precision):
    on_cpu, on_gpu = networks
    on_cpu.precision = on_gpu.precision = precision
    images = torch.randn(2, 3, 64, 96)
    # half precision rounds a batch otherwise than its images one by one, which a CPU's trunk takes so
    require_same(
        on_gpu.explain(images, labels), on_cpu.explain(images, labels), 1e-5 if precision == "32-true" else 0.1
    )
    if torch.is_tensor(labels):
        require_same(on_gpu.explain(images.cuda(), labels.cuda()), on_gpu.cpu().explain(images, labels), 0.1)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_half_precision_is_the_gpus_and_stays_inside(networks, precision):
    _, on_gpu = networks
    images = torch.randn(2, 3, 64, 64)
    exact = on_gpu.explain(images, "all")
    on_gpu.precision = precision
    result = on_gpu.explain(images, "all")
    assert torch.equal(result.maps.cpu(), exact.maps.cpu()) == (precision == "32-true")
    half = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    assert on_gpu.trunk_features(images).dtype == half.get(precision, torch.float32)
    assert result.maps.dtype == result.logits.dtype == torch.float32
    # pooled and weighted in float32: the mean of a map stays the logit
    torch.testing.assert_close(result.maps.mean((2, 3)).cpu(), result.logits.cpu(), rtol=0, atol=1e-5)


def test_the_gradient_for_cpus_is_not_taken_on_a_gpu(fake_cuda):
    layer, features = nn.Conv2d(3, 4, 3, padding=1), torch.randn(2, 3, 5, 5)
    assert "OfFixedFeatures" in type(convolve(layer, features).grad_fn).__name__
    assert "OfFixedFeatures" not in type(convolve(layer.cuda(), features.cuda()).grad_fn).__name__


@pytest.mark.parametrize("precision", ["auto", *PRECISIONS])
def test_a_checkpoint_is_loaded_to_the_gpu(networks, tmp_path, precision):
    on_cpu, on_gpu = networks
    state = {f"{STATE_PREFIX}{name}": value for name, value in on_gpu.state_dict().items()}
    torch.save({METADATA: checkpoint_metadata(on_gpu, {}), "state_dict": state}, tmp_path / "a.ckpt")
    loaded = camexp.load(tmp_path / "a.ckpt", precision=precision)  # by default where there is a GPU
    assert loaded.device.type == "cuda" and loaded.precision == precision.replace("auto", "bf16-mixed")
    assert all(value.device.type == "cuda" for value in loaded.state_dict().values())
    images = torch.randn(2, 3, 64, 64)
    require_same(loaded.explain(images, "all"), on_cpu.explain(images, "all"), 0.1)
    assert loaded.explain(images).upsample((50, 60)).device.type == "cuda"


# of those that draw no random numbers
@pytest.mark.parametrize("name", sorted({*TORCHCAM} - {"smoothgradcampp", "sscam"}))
@pytest.mark.parametrize("layer", [None, "trunk.features.10"])
def test_methods_of_torchcam(networks, name, layer):
    on_cpu, on_gpu = networks
    images, method = torch.randn(2, 3, 64, 64), TorchCAM(name, layer)
    require_same(method(on_gpu, images, "top2"), method(on_cpu, images, "top2"), 1e-4)


@pytest.mark.parametrize(
    "changed",
    [{"affinity": "auto"}, {"method": "pc1", "affinity": "conv4_2"}, {"method": "ddt", "affinity": "auto"},
     {"negatives": "clamp_weights"}, {"negatives": "clamp_map", "flip": True}, {"method": "gradcam", "affinity": "auto"}],
)  # fmt: skip
@pytest.mark.parametrize("labels", ["top2", [[1], [2]]])
def test_maps_that_are_refined(networks, changed, labels):
    images, results = torch.randn(2, 3, 64, 96), []
    for network in networks:
        method = build_method(CAMOptions(**changed))
        if observe := observer(method):
            observe(network, forward_pass(network, images), labels)
        results.append(method(network, images, labels))
    on_cpu, on_gpu = results
    require_same(on_gpu, on_cpu, 1e-4)
    for how in ("minmax", "max", "percentile", "ivr"):
        limits, expected = (Normalisation(how).limits(one.maps) for one in (on_gpu, on_cpu))
        assert all(torch.allclose(one.cpu(), other, atol=1e-4) for one, other in zip(limits, expected, strict=True))


@pytest.mark.parametrize("method", [CAMClassifier.explain, TorchCAM("gradcam"), pc1])
@pytest.mark.parametrize("options", [{"flip": True}, {"scales": (0.75, 1.5)}, {"ten_crop": True}])
@pytest.mark.parametrize("labels", ["predicted", [[1], [2]]])
def test_averages_over_views(networks, method, options, labels):
    on_cpu, on_gpu = networks
    images, averaged = torch.randn(2, 3, 64, 96), Averaged(method, **options)
    require_same(averaged(on_gpu, images, labels), averaged(on_cpu, images, labels), 1e-4)


REGULARISERS = {
    "none": lambda: None, "has": HideAndSeek, "cutmix": CutMix, "adl": AttentionDropout,
    "bridging_gap": lambda: BridgingGap(start=0), "da_wsol": lambda: DomainAdaptation(samples=2, start=0),
}  # fmt: skip


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("method", REGULARISERS)
def test_a_step_of_one_of_two_processes(networks, monkeypatch, method, precision):
    """Loss and accuracy of its share of a batch, of which one label does not count, with the dropout of the whole."""
    _, on_gpu = networks
    regulariser = REGULARISERS[method]()
    if regulariser is not None:
        regulariser.attach(on_gpu)
    module, logged = CAMModule(on_gpu, torch.optim.Adam, regulariser=regulariser).train().cuda(), {}
    strategy = SimpleNamespace(reduce=lambda values, reduce_op: 2 * values)  # the other process has the same
    optimizers = [SimpleNamespace(param_groups=[{"lr": 1e-3}])]
    module._trainer = SimpleNamespace(
        world_size=2, global_rank=1, global_step=0, strategy=strategy, optimizers=optimizers
    )
    monkeypatch.setattr(module, "log", logged.__setitem__)
    monkeypatch.setattr(module, "log_dict", logged.update)
    samples = [Sample(torch.randn(3, 64, 64), None, "", label, 0) for label in (1, 4, IGNORE_INDEX)]
    batch = move_data_to_device(collate(samples), on_gpu.device)
    with autocast(precision, "cuda"):
        assert module(batch).dtype == torch.float32, "logits are never in half precision"
        loss = module.training_step(batch, 0)
        module.validation_step(batch._replace(labels=batch.labels.clamp(min=0)), 0)
    loss.backward()
    assert on_gpu.head.rows[0] == 4 and on_gpu.head.rows[1].tolist() == [1, 3, 1]
    assert loss.device.type == logged["train/accuracy"].device.type == "cuda"
    assert 0 <= float(logged["train/accuracy"]) <= 1 and torch.isfinite(loss).item()
    assert all(parameter.grad.device.type == "cuda" for parameter in on_gpu.parameters())
    assert module.val_loss.compute().device.type == "cuda"


def test_faithfulness(networks):
    measured = []
    images, maps = torch.randn(2, 3, 64, 64), torch.rand(2, 64, 64)
    for model in networks:
        given = images.to(model.device), maps.to(model.device), torch.tensor([1, 2], device=model.device)

        def predict(batch, model=model):
            return model.explain(batch).probabilities

        blank = torch.zeros(3)  # of the preprocessing, which lies on no GPU
        measured.append(
            (*insertion_deletion(predict, *given, blank, steps=3), *confidence_change(predict, *given, blank))
        )
    for on_cpu, on_gpu in zip(*measured, strict=True):
        assert on_gpu.device.type == "cuda"
        torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=1e-4, atol=1e-5)


UPDATES = {
    PointingGame: (torch.rand(3, 8, 8), torch.rand(3, 8, 8) > 0.5),
    PixelPrecision: (torch.rand(3, 8, 8), torch.rand(3, 8, 8) > 0.5, torch.rand(3, 8, 8) > 0.9),
    MaxBoxAcc: (torch.rand(3, 1001),),
    Faithfulness: (torch.rand(3), torch.rand(3), torch.rand(3), torch.rand(3) > 0.5),
}


@pytest.mark.parametrize("given", ["cpu", "cuda"])
@pytest.mark.parametrize("state", ["cpu", "cuda"])
@pytest.mark.parametrize("kind", UPDATES)
def test_metrics_take_maps_of_any_device(fake_cuda, kind: type[Metric], state, given):
    expected, metric = kind(), kind().to(state)
    for update in (expected, metric):
        where = given if update is metric else "cpu"
        update.update(*(value.to(where) for value in UPDATES[kind]))
    found, wanted = metric.compute(), expected.compute()
    for name in wanted if isinstance(wanted, dict) else [None]:
        one, other = (found, wanted) if name is None else (found[name], wanted[name])
        assert one.device.type == state and float(one) == float(other)
