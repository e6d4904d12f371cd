"""A CPU's threads with an image each: the same features, and nothing left changed."""

from __future__ import annotations

import threading

import pytest
import torch

from camexp.models import CAMClassifier, Preprocessing
from camexp.models.threads import map_in_threads


@pytest.fixture
def three_threads():
    """More than the machine may have cores: the tests' own share of them may be one."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def network(precision: str = "32-true") -> CAMClassifier:
    torch.manual_seed(0)
    model = CAMClassifier("vgg11", ["a", "b"], Preprocessing((64, 64)), width=1 / 16, head={"channels": 8}).eval()
    model.freeze("trunk")
    model.optimise_for("cpu", precision)
    return model


def seen_by_threads(model: CAMClassifier) -> list[tuple[int, int]]:
    """In which thread each pass through the trunk ran, and with how many threads of its own."""
    seen: list[tuple[int, int]] = []
    model.trunk.register_forward_hook(lambda *_: seen.append((threading.get_ident(), torch.get_num_threads())))
    return seen


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true", "64-true"])
@pytest.mark.parametrize("size", [(224, 224), (64, 48)])
def test_threads_see_what_one_pass_sees(three_threads, precision, size):
    model, images = network(precision), torch.randn(7, 3, *size)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        expected = torch.cat([model.trunk(one) for one in images.to(model.dtype).split(1)])
    seen = seen_by_threads(model)
    with torch.no_grad():
        found = model.trunk_features(images)
    assert found.dtype == expected.dtype
    difference = float((found - expected).double().norm() / expected.double().norm())
    assert difference < (1e-6 if precision == "32-true" else 0.01 if precision.startswith("bf16") else 1e-14)
    # one quick thread may take all parts before another begins
    assert {threads for _, threads in seen} == {1} and threading.get_ident() not in {thread for thread, _ in seen}


def test_the_caller_keeps_its_threads_and_so_do_new_ones(three_threads):
    model = network()
    with torch.no_grad():
        model.trunk_features(torch.randn(4, 3, 224, 224))
    found = []
    other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert torch.get_num_threads() == 3 and found == [3]


def test_fewer_images_than_threads_share_them_all(three_threads):
    model = network()
    seen = seen_by_threads(model)
    with torch.no_grad():
        model.trunk_features(torch.randn(2, 3, 224, 224))
    assert seen == [(threading.get_ident(), 3)] * 2


def test_part_of_a_batch_is_computed_as_in_the_whole(three_threads):
    model, images = network("bf16-mixed"), torch.randn(9, 3, 64, 64)
    with torch.no_grad():
        whole = model.trunk_features(images, of=9)
        for few in ([4], [0, 8], [1, 2, 3, 5, 7]):
            assert torch.equal(model.trunk_features(images[few], of=9), whole[few])


def test_grad_mode_inference_mode_and_autocast_are_the_callers(three_threads):
    weight, ones = torch.ones(2, requires_grad=True), [torch.ones(2)] * 3
    assert all(one.requires_grad for one in map_in_threads(lambda part: part * weight, ones))
    with torch.no_grad():
        assert not any(one.requires_grad for one in map_in_threads(lambda part: part * weight, ones))
    with torch.inference_mode():
        assert all(one.is_inference() for one in map_in_threads(lambda part: part * weight, ones))
    square = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert {one.dtype for one in map_in_threads(square.mm, [square] * 3)} == {torch.bfloat16}
    assert {one.dtype for one in map_in_threads(square.mm, [square] * 3)} == {torch.float32}


def test_an_error_in_a_thread_reaches_the_caller(three_threads):
    def fail(part: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("too small")

    with pytest.raises(RuntimeError, match="too small"):
        map_in_threads(fail, [torch.ones(1)] * 10)
    assert torch.get_num_threads() == 3
