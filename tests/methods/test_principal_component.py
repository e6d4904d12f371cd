"""PC1 against NumPy's singular value decomposition, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camexp.cam.maps import upsample
from camexp.config import CAMOptions
from camexp.errors import UserError
from camexp.methods import Averaged, build_method, first_principal_components, forward_pass, of_pass, pc1
from camexp.models import CAMClassifier, Preprocessing

SHAPES = [(16, 5, 7), (16, 3, 3), (8, 4, 4), (16, 4, 4), (3, 1, 9), (12, 1, 1)]


@pytest.fixture
def model() -> CAMClassifier:
    torch.manual_seed(0)
    head = {"channels": 32, "init_std": 0.2}
    return CAMClassifier("vgg11", list("abcdef"), Preprocessing((64, 64)), width=1 / 8, head=head).eval()


def by_svd(activations: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """Of one image's ``(D, h, w)`` and one map ``(h, w)``, in float64."""
    places = activations.reshape(len(activations), -1).astype(np.float64).T
    left, values, _ = np.linalg.svd(places - places.mean(0), full_matrices=False)
    component = left[:, 0] * values[0]
    return (component * np.sign(np.cov(component, cam.ravel())[0, 1])).reshape(cam.shape)


def random_activations(channels: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(channels * height * width)
    activations = torch.randn(3, channels, height, width, generator=generator).relu()
    weights = torch.randn(4, channels, generator=generator)
    return activations, torch.einsum("cd,bdhw->bchw", weights, activations)


def require_equal_to_svd(maps: torch.Tensor, activations: torch.Tensor, cams: torch.Tensor, error: float) -> None:
    for image, own, of_classes in zip(maps, activations.double().numpy(), cams.double().numpy(), strict=True):
        for found, cam in zip(image.numpy(), of_classes, strict=True):
            expected = by_svd(own, cam)
            assert np.abs(found - expected).max() <= error * np.abs(expected).max()


@pytest.mark.parametrize("shape", SHAPES[:-1])
def test_it_is_the_first_singular_vector(shape):
    activations, cams = random_activations(*shape)
    maps = first_principal_components(activations, cams)
    assert maps.dtype == torch.float32 and maps.shape == cams.shape
    require_equal_to_svd(maps, activations, cams, 1e-6)
    assert torch.equal(maps, first_principal_components(activations, cams))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_activations_of_any_dtype_lose_nothing_more(dtype):
    activations, cams = (one.to(dtype) for one in random_activations(16, 4, 4))
    with torch.autocast("cpu", torch.bfloat16):
        maps = first_principal_components(activations, cams)
    assert maps.dtype == torch.float32
    require_equal_to_svd(maps, activations, cams, 1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_it_does_not_depend_on(shape):
    """What a channel adds everywhere, the order of channels and images, which others are in the batch."""
    activations, cams = random_activations(*shape)
    maps = first_principal_components(activations, cams)
    error = 1e-5 * float(maps.abs().max())
    shift = torch.linspace(-1, 3, shape[0])[:, None, None]
    # below the activations' own rounding, which the shift makes coarser
    assert (first_principal_components(activations.double() + shift, cams) - maps).abs().max() <= error
    order = torch.randperm(shape[0], generator=torch.Generator().manual_seed(1))
    assert (first_principal_components(activations[:, order], cams) - maps).abs().max() <= error
    assert (first_principal_components(activations.flip(0), cams.flip(0)).flip(0) - maps).abs().max() <= error
    alone = torch.cat([first_principal_components(a[None], c[None]) for a, c in zip(activations, cams, strict=True)])
    assert (alone - maps).abs().max() <= error


def test_places_that_change_places_do_so_in_the_map():
    activations, cams = random_activations(16, 5, 7)
    maps = first_principal_components(activations, cams)
    mirrored = first_principal_components(activations.flip(-1), cams.flip(-1)).flip(-1)
    assert torch.allclose(mirrored, maps, atol=1e-5)
    assert torch.allclose(first_principal_components(3 * activations, cams), 3 * maps, atol=1e-5)
    assert torch.allclose(first_principal_components(activations, -cams), -maps, atol=1e-6)


def test_classes_differ_in_sign_only_and_each_agrees_with_its_cam():
    activations, cams = random_activations(16, 5, 7)
    maps = first_principal_components(activations, cams)
    assert all(torch.equal(one.abs(), maps[:, 0].abs()) for one in maps.unbind(1))
    assert ((maps * (cams - cams.mean((2, 3), keepdim=True))).sum((2, 3)) > 0).all()
    assert maps.mean((2, 3)).abs().max() < 1e-6


def test_a_constant_cam_leaves_the_sign_to_the_mean_activation():
    activations, cams = random_activations(16, 5, 7)
    expected = first_principal_components(activations, activations.mean(1, keepdim=True).expand_as(cams))
    for constant in (0.0, 7.0):
        assert torch.equal(first_principal_components(activations, torch.full_like(cams, constant)), expected)
    # two channels whose sum is the same everywhere: the place that differs most from the others is positive
    balanced = torch.tensor([[[[0.0, 0.0, 5.0, 1.0]], [[5.0, 5.0, 0.0, 4.0]]]])
    maps = first_principal_components(balanced, torch.zeros(1, 2, 1, 4))
    assert torch.equal(maps.argmax(3), torch.tensor([[[2], [2]]])) and maps.max() == maps.abs().max() > 0


def test_activations_that_are_the_same_everywhere_are_zeros():
    levels = torch.rand(2, 16, 1, 1, generator=torch.Generator().manual_seed(0))
    activations = levels.expand(2, 16, 5, 7)
    assert not first_principal_components(activations, torch.randn(2, 3, 5, 7)).any()
    assert not first_principal_components(torch.zeros(2, 4, 5, 7), torch.zeros(2, 3, 5, 7)).any()
    assert first_principal_components(torch.zeros(0, 4, 5, 7), torch.zeros(0, 3, 5, 7)).shape == (0, 3, 5, 7)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_image_that_is_not_finite_leaves_the_others_alone(value):
    activations, cams = random_activations(16, 5, 7)
    expected = first_principal_components(activations, cams)
    activations[1, 3, 2, 2], cams[1] = value, value
    maps = first_principal_components(activations, cams)
    assert maps[1].isnan().all() and torch.equal(maps[[0, 2]], expected[[0, 2]])


def test_shapes_that_do_not_fit():
    for cams in (torch.zeros(2, 1, 3, 4), torch.zeros(1, 1, 4, 3), torch.zeros(1, 3, 4)):
        with pytest.raises(ValueError, match=r"activations \(B, D, h, w\) and CAMs \(B, K, h, w\) are expected"):
            first_principal_components(torch.zeros(1, 8, 3, 4), cams)


@pytest.mark.parametrize("size", [(64, 64), (64, 160)])
def test_the_networks_maps_and_its_own_logits(model, size):
    images = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(0))
    labels = [["a", "f"], ["b", "c"], ["c", "a"]]
    cam, result = model.explain(images, labels), build_method(CAMOptions(method="pc1"))(model, images, labels)
    assert torch.equal(result.logits, cam.logits) and torch.equal(result.labels, cam.labels)
    assert result.classes == model.classes and not result.maps.requires_grad
    activations = model.head_activations(model.trunk_features(images)).detach()
    require_equal_to_svd(result.maps, activations, cam.maps, 1e-5)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_precisions(model, precision):
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    exact = pc1(model, images, "all").maps
    model.optimise_for("cpu", precision)
    result = pc1(model, images, "all")
    assert result.maps.dtype == result.logits.dtype == torch.float32
    activations = model.head_activations(model.trunk_features(images)).detach()
    require_equal_to_svd(result.maps, activations, model.explain(images, "all").maps, 1e-5)
    # signs aside, that a CAM of nearly no correlation may turn
    assert (result.maps.abs() - exact.abs()).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize("name", ["cam", "pc1"])
def test_activations_do_instead_of_images(model, name):
    images, labels = torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(0)), [[0], [2], [1]]
    method = build_method(CAMOptions(method=name))
    inner = of_pass(method)
    assert inner is not None
    expected, seen = method(model, images, labels), forward_pass(model, images)
    found = inner.of(model, seen.take([2, 0]), [[1], [0]])
    assert torch.allclose(found.maps, expected.maps[[2, 0]], atol=1e-5) and torch.equal(
        found.labels, expected.labels[[2, 0]]
    )
    assert of_pass(build_method(CAMOptions(method=name, flip=True))) is None
    assert of_pass(build_method(CAMOptions(method="gradcam"))) is None


def test_averaged_and_without_a_layer(model):
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    flipped = build_method(CAMOptions(method="pc1", flip=True))
    assert isinstance(flipped, Averaged)
    one, other = pc1(model, images, [[1], [2]]).maps, pc1(model, images.flip(-1), [[1], [2]]).maps
    expected = (upsample(one, (16, 16)) + upsample(other, (16, 16)).flip(-1)) / 2
    assert torch.allclose(flipped(model, images, [[1], [2]]).maps, expected, atol=1e-5)
    with pytest.raises(UserError, match="cam.layer=trunk: pc1 weighs the head's activations"):
        build_method(CAMOptions(method="pc1", layer="trunk"))
