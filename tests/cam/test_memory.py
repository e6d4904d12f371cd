"""Memory of large maps: handed out again, and never while anything sees it."""

from __future__ import annotations

import threading

import pytest
import torch
import torch.nn.functional as F

from camexp.cam import memory
from camexp.cam.maps import upsample
from camexp.cam.memory import MIN_BYTES, recycled

FLOATS = MIN_BYTES // 4


@pytest.fixture(autouse=True)
def none_kept():
    memory._free.clear()
    yield
    memory._free.clear()


def test_what_is_gone_is_handed_out_again():
    first = recycled((2, FLOATS), like=torch.ones(1))
    place = first.data_ptr()
    del first
    again = recycled((FLOATS,), like=torch.ones(1))  # a smaller one fits
    assert again.data_ptr() == place and again.shape == (FLOATS,)
    del again
    assert recycled((3, FLOATS), like=torch.ones(1)).data_ptr() != place  # a larger one does not
    halves = recycled((2, FLOATS), like=torch.ones(1, dtype=torch.bfloat16))
    assert halves.dtype == torch.bfloat16 and halves.shape == (2, FLOATS)


@pytest.mark.parametrize("see", [lambda t: t, lambda t: t[-1:, -3:], lambda t: t.numpy()[:1], lambda t: t.detach().T])
def test_whatever_sees_it_keeps_it(see):
    first = recycled((2, FLOATS), like=torch.ones(1))
    place = first.fill_(7.0).data_ptr()
    seen = see(first)
    del first
    other = recycled((2, FLOATS), like=torch.ones(1)).zero_()
    assert other.data_ptr() != place and (torch.as_tensor(seen) == 7).all()
    del seen
    assert recycled((2, FLOATS), like=torch.ones(1)).data_ptr() == place


def test_no_more_than_one_is_kept():
    several = [recycled((FLOATS,), like=torch.ones(1)) for _ in range(3)]
    assert len({one.data_ptr() for one in several}) == 3 and not memory._free
    del several
    assert len(memory._free) == 1


def test_small_ones_are_the_c_librarys():
    del_me = recycled((FLOATS - 1,), like=torch.ones(1))
    del del_me
    assert not memory._free


def test_threads_never_share():
    wrong = []

    def work(number: int) -> None:
        for _ in range(20):
            mine = recycled((FLOATS,), like=torch.ones(1))
            mine[::4096] = number
            wrong.extend([number] * int((mine[::4096] != number).any()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_maps_in_it_are_the_same_in_every_mode():
    maps, size = torch.randn(1, 170, 5, 6), (224, 224)
    expected = F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    with torch.inference_mode():
        first = upsample(maps, size)
        assert torch.allclose(first, expected, atol=1e-5)
        place = first.data_ptr()
        del first
    again = upsample(maps, size)  # outside, what lies in the same memory may be written
    assert again.data_ptr() == place and torch.allclose(again.mul_(2), 2 * expected, atol=1e-5)
    trained = maps.requires_grad_()
    upsample(trained, size).sum().backward()
    assert torch.allclose(trained.grad.sum(), torch.tensor(170.0 * 224 * 224), rtol=1e-4)


def test_a_block_far_too_large_is_let_go():
    first = recycled((9, FLOATS), like=torch.ones(1))
    del first
    small = recycled((FLOATS,), like=torch.ones(1))
    del small
    assert [len(one) for one in memory._free] == [4 * FLOATS]


def test_transformed_by_pytorch():
    maps = torch.randn(3, 170, 5, 6)
    expected = upsample(maps, (224, 224))
    found = torch.func.vmap(lambda one: upsample(one[None], (224, 224))[0])(maps)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.func.jvp(lambda one: upsample(one, (224, 224)), (maps,), (maps,))[1], expected)
