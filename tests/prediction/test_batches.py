"""Images of all sizes in one run give what each gives alone."""

import numpy as np
import pytest
import torch

from camexp.images import read_image
from camexp.models import CAMClassifier, Preprocessing
from camexp.prediction import batches as module
from camexp.prediction.batches import Unreadable, batches
from camexp.prediction.explaining import explain
from camexp.prediction.inputs import unlabelled
from tests.conftest import paint

SIZES = [(64, 48), (50, 80), (64, 48), (33, 32), (64, 48), (50, 80), (64, 48), (97, 61), (64, 48)]


@pytest.fixture
def mixed(tmp_path):
    return [
        paint(tmp_path / f"{number}.png", (20 * number, 90, 160), size, seed=number)
        for number, size in enumerate(SIZES)
    ]


@pytest.mark.parametrize("size", [None, (64, 64)])
@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize("workers", [0, 1])
def test_any_batch_size_gives_the_results_of_one(mixed, size, batch_size, workers):
    torch.manual_seed(0)
    model = CAMClassifier(
        "vgg11_bn", list("abc"), Preprocessing(size), width=1 / 16, head={"channels": 8, "init_std": 0.1}
    ).eval()
    found = {}
    for batch in batches(unlabelled(mixed), model.preprocessing, batch_size, workers):
        assert len({picture.tensor.shape for picture in batch}) == 1
        assert len(batch) <= batch_size
        for picture, image in zip(batch, explain(model, batch, mixed, "all"), strict=True):
            found[picture.index] = image
    assert sorted(found) == list(range(len(SIZES)))
    for place, path in enumerate(mixed):
        assert found[place].path == path
        assert found[place].size == SIZES[place][::-1]
        alone = model.explain(model.preprocess(read_image(path))[None], "all")
        assert np.allclose(found[place].logits, alone.logits[0], rtol=1e-5, atol=1e-6)
        assert np.allclose(found[place].maps, alone.maps[0], rtol=1e-5, atol=1e-6)


def test_what_waits_is_bounded(mixed, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_PIXELS", 64 * 48 * 2)
    paths = [paint(tmp_path / f"s{n}.png", (9, 9, 9), (40 + n, 40)) for n in range(30)]
    sizes = [len(batch) for batch in batches(unlabelled([*mixed, *paths]), Preprocessing(None), 4, 0)]
    assert sum(sizes) == len(mixed) + 30
    assert max(sizes) <= 2  # two of 64×48 fill the budget of pixels


def test_an_image_of_a_rare_size_is_not_overtaken_without_end(tmp_path):
    paths = [paint(tmp_path / f"{n:02}.png", (9, 9, 9), (40 + 8 * (n == 1), 40)) for n in range(40)]
    order = [picture.index for batch in batches(unlabelled(paths), Preprocessing(None), 2, 0) for picture in batch]
    assert sorted(order) == list(range(40))
    assert order.index(1) <= 2 * module.MOST_OVERTAKEN + 2


def test_unreadable_and_tiny_images_come_by_themselves(mixed, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no")
    tiny = paint(tmp_path / "tiny.png", (0, 0, 0), (40, 20))
    told = [
        one
        for one in batches(unlabelled([tmp_path / "broken.jpg", tiny, mixed[0]]), Preprocessing(None), 4, 0)
        if isinstance(one, Unreadable)
    ]
    assert [one.index for one in told] == [0, 1]
    assert "40×20 pixels" in told[1].reason
