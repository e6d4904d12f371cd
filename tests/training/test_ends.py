"""Where a run ends, and what its last figures are of."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_a_run_cannot_end_before_its_checkpoint(run, tmp_path):
    """Two epochs of three steps are behind; what they left stays."""
    assert run("run", "trainer.max_epochs=2").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.*") if path.suffix in (".json", ".csv")}
    for option, ends, enough in (("max_epochs=1", 3, "max_epochs=2"), ("max_steps=4", 4, "max_steps=6")):
        refused = run("run", "trainer.max_epochs=2", f"trainer.{option}")
        assert refused.code == 1 and refused.err.count("\n") == 1, refused.err
        assert f"trainer.{option} ends at step {ends}, and run/checkpoints/step_000006.ckpt is at step 6" in refused.err
        assert f"give trainer.{enough} or more" in refused.err
    assert before == {path: path.read_bytes() for path in before}
    assert "summary.json" in {path.name for path in before}
