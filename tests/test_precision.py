"""What precision=auto means, and that half precision stays inside."""

from __future__ import annotations

import pytest
import torch

from camexp.cam.maps import class_activation_maps
from camexp.models import CAMClassifier, Preprocessing
from camexp.precision import NATIVE, has_native_bf16, resolve_precision


@pytest.fixture
def model() -> CAMClassifier:
    torch.manual_seed(0)
    head = {"channels": 64, "init_std": 0.1}
    return CAMClassifier("vgg11", list("abcdef"), Preprocessing((64, 64)), width=1 / 8, head=head).eval()


def test_auto_follows_the_device(monkeypatch):
    for native, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr("camexp.precision.has_native_bf16", lambda device, native=native: native)
        assert resolve_precision("auto", "cpu") == expected
        assert resolve_precision("64-true", "cpu") == "64-true"


def test_auto_is_exact_while_the_trunk_trains_on_a_cpu(model, monkeypatch):
    monkeypatch.setenv(NATIVE, "yes")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: True)
    assert resolve_precision("auto", "cuda", trains=True) == "bf16-mixed"
    assert resolve_precision("bf16-mixed", "cpu", trains=True) == "bf16-mixed"
    for training, frozen, expected in (
        (False, "none", "bf16-mixed"), (True, "none", "32-true"), (True, "trunk", "bf16-mixed")
    ):  # fmt: skip
        model.train(training).freeze(frozen)
        model.optimise_for("cpu")
        assert model.precision == expected


def test_a_processor_is_asked_itself(monkeypatch):
    monkeypatch.delenv(NATIVE, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert has_native_bf16("cpu")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert not has_native_bf16("cpu") and not has_native_bf16("mps")
    monkeypatch.setenv(NATIVE, "yes")
    assert has_native_bf16("cpu") and not has_native_bf16("mps")


def test_names_are_written_out_and_float16_gives_way_on_a_cpu():
    for name, full in (("32", "32-true"), ("64", "64-true"), ("bf16", "bf16-mixed"), ("16-mixed", "bf16-mixed")):
        assert resolve_precision(name, "cpu") == full
    assert resolve_precision("16", "cuda") == resolve_precision("16-mixed", "cuda") == "16-mixed"


def test_half_precision_stays_inside(model):
    images = torch.randn(3, 3, 64, 96)
    exact = model.explain(images, "all")
    model.optimise_for("cpu", "bf16-mixed")
    half = model.explain(images, "all")
    assert half.logits.dtype == half.maps.dtype == torch.float32
    assert not torch.equal(half.maps, exact.maps)
    assert (half.maps - exact.maps).abs().max() < 0.03 * exact.maps.abs().max()
    # pooled and weighted in float32: the mean of a map stays the logit
    assert torch.allclose(half.maps.mean((2, 3)), half.logits, atol=1e-5)


def test_channels_last_changes_nothing_but_the_order(model):
    images = torch.randn(2, 3, 64, 64)
    before = model.explain(images, "all")
    model.optimise_for("cpu", "32-true")
    after = model.explain(images, "all")
    assert model.trunk.features[3].weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(before.maps, after.maps, atol=1e-5)


def test_a_checkpoint_of_one_memory_format_loads_into_the_other(model):
    model.optimise_for("cpu")
    state = {name: value.clone() for name, value in model.state_dict().items()}
    other = CAMClassifier("vgg11", list("abcdef"), Preprocessing((64, 64)), width=1 / 8, head={"channels": 64})
    other.load_state_dict(state)
    images = torch.randn(1, 3, 64, 64)
    model.precision = "32-true"
    assert torch.allclose(other.eval()(images), model.explain(images).logits, atol=1e-5)


def test_a_compiled_trunk_gives_the_same_maps_and_keeps_its_names(model, tmp_path):
    pytest.importorskip("torch._inductor")
    images = torch.randn(2, 3, 64, 64)
    expected, names = model.explain(images, "all"), set(model.state_dict())
    model.optimise_for("cpu", "32-true", compile=True)
    assert set(model.state_dict()) == names
    try:
        result = model.explain(images, "all")
    except Exception as error:  # the compiler is the machine's, not the project's
        if "compiler" in str(error).lower() or "InvalidCxx" in type(error).__name__:
            pytest.skip(f"no C++ compiler here: {error}")
        raise
    assert torch.allclose(result.maps, expected.maps, atol=1e-4)


def test_maps_of_bf16_activations_are_float32():
    activations, weights = torch.rand(2, 8, 3, 3), torch.randn(5, 8)
    maps = class_activation_maps(activations.bfloat16(), weights)
    expected = torch.einsum("cd,bdhw->bchw", weights, activations.bfloat16().float())
    assert maps.dtype == torch.float32 and torch.allclose(maps, expected, atol=1e-6)
