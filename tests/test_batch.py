"""The callable for other engines gives what predict writes, in whatever form images come."""

from __future__ import annotations

import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from camexp.batch import Explainer
from camexp.errors import UserError
from camexp.images import read_image
from tests.conftest import paint


@pytest.fixture
def paths(tmp_path, network):
    paths = [paint(tmp_path / "in" / f"{n}.png", (20 * n, 9, 90), (40 + 8 * (n % 2), 40), seed=n) for n in range(6)]
    paths[3].write_bytes(b"no image")
    return paths


@pytest.fixture
def network(tmp_path):
    import torch

    from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata

    torch.manual_seed(0)
    model = CAMClassifier("vgg11", ["a", "b", "c"], Preprocessing((32, 32)), width=1 / 16, head={"channels": 8})
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


@pytest.fixture
def explainer(network):
    return Explainer(str(network), label="top2", gpus=0, precision="32-true", batch_size=3)


def encoded(paths) -> dict:
    return {"bytes": [path.read_bytes() for path in paths], "path": [str(path) for path in paths]}


def test_it_gives_what_predict_writes(explainer, paths, network, script, tmp_path):
    table = explainer(encoded(paths))
    done = script("predict.py", f"ckpt={network}", f"input={tmp_path / 'in'}", "label=top2", "gpus=0",
                  "precision=32-true", "batch_size=3", "num_workers=0", "format=parquet", "output=out")  # fmt: skip
    assert done.code == 0, done.err
    written = pyarrow.parquet.read_table(tmp_path / "out" / "maps-00000.parquet")
    mine = table.filter(pa.compute.is_null(table["error"])).select(written.schema.names)
    for name in set(written.schema.names) - {"map", "probability"}:
        assert mine[name].to_pylist() == written[name].to_pylist(), name
    maps = [np.array([np.frombuffer(one, "<f2") for one in table["map"].to_pylist()]) for table in (mine, written)]
    np.testing.assert_allclose(*maps, rtol=2e-3, atol=1e-6)  # another number of threads rounds otherwise
    np.testing.assert_allclose(mine["probability"], written["probability"], rtol=1e-5)
    logits = np.array(table.filter(pa.compute.is_null(table["error"]))["logits"].to_pylist())
    assert logits.shape == (10, 3)
    [broken] = [row for row in table.to_pylist() if row["error"]]
    assert broken["path"] == str(paths[3]) and broken["error"] == "cannot identify image file" and broken["map"] is None


def test_any_form_of_a_batch(explainer, paths):
    expected = explainer(encoded(paths))
    assert explainer(pa.table(encoded(paths))).equals(expected)
    assert explainer(pa.RecordBatch.from_pydict(encoded(paths))).equals(expected)
    arrays = {
        "image": np.array([np.asarray(read_image(path)) for path in paths[::2]]),
        "path": [str(p) for p in paths[::2]],
    }
    found = explainer(arrays)
    few = expected.filter(pa.compute.is_in(expected["path"], pa.array(arrays["path"])))
    for name in ("path", "label", "x0", "y1", "image_width"):
        assert found[name].equals(few[name])
    np.testing.assert_allclose(found["logits"].to_pylist(), few["logits"].to_pylist(), rtol=1e-5)
    assert explainer({"bytes": []}).num_rows == 0


def test_paths_of_other_images(explainer):
    with pytest.raises(UserError, match="path=path: 1 values in that column, and 2 images in bytes"):
        explainer({"bytes": [b"a", b"b"], "path": ["a.png"]})


def test_what_is_no_image_is_told(explainer):
    with pytest.raises(UserError, match="column=None: no images in the columns photo: give the name"):
        explainer({"photo": [b""]})
    assert "float64" in explainer({"image": [np.zeros((3, 3))]})["error"][0].as_py()
    with pytest.raises(UserError, match="batch_size=0 is out of range"):
        Explainer("a.ckpt", batch_size=0)


@pytest.fixture
def ray():
    """A cluster of this machine alone. Ray leaves its handler of SIGTERM behind, by which later tests would end."""
    ray = pytest.importorskip("ray", reason="pip install 'camexp[ray]'")
    before = signal.getsignal(signal.SIGTERM)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()
    signal.signal(signal.SIGTERM, before)


@pytest.mark.long  # a cluster takes half a minute to start and to end
def test_ray_data_keeps_it_in_an_actor(ray, paths, network, explainer):

    class Counting(Explainer):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.calls = 0

        def __call__(self, batch):
            import os

            import psutil

            self.calls += 1
            table = super().__call__(batch)
            count, memory = len(table), psutil.Process().memory_info().rss
            return (
                table.append_column("call", pa.array([self.calls] * count))
                .append_column("process", pa.array([os.getpid()] * count))
                .append_column("memory", pa.array([memory] * count))
            )

    data = ray.data.from_arrow(pa.table({key: values * 10 for key, values in encoded(paths).items()}))
    options = {"ckpt": str(network), "label": "top2", "gpus": 0, "precision": "32-true", "batch_size": 3}
    found = data.map_batches(Counting, fn_constructor_kwargs=options, concurrency=1, batch_size=6).to_pandas()
    assert found["process"].nunique() == 1 and found["call"].max() == 10  # one network for all batches
    memory = found.groupby("call")["memory"].first()
    assert memory.iloc[-1] - memory.iloc[4] < 50e6
    expected = explainer(encoded(paths)).to_pandas()
    assert len(found) == 10 * len(expected)
    assert sorted(found["map"].dropna()) == sorted(list(expected["map"].dropna()) * 10)
