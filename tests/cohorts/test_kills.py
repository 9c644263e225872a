"""Workers and commands are killed at random moments: nothing is lost, doubled or wrong. Slow."""

import random
import sys
from pathlib import Path

import pytest

from builders import write_case, write_tiny_checkpoint
from napari_diffseg.cohorts.cohort_folder import CohortFolder
from napari_diffseg.cohorts.standing import Standing

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import kill_cohorts


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes in other ways")
def test_killed_cohorts_come_to_the_same_bytes(tmp_path):
    for k in range(4):
        write_case(tmp_path / "data" / f"p{k}", case_id=f"p{k}", seed=k)
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    trial = kill_cohorts.run(
        5, 4, 20, random.randrange(10**6), tmp_path, checkpoint=str(checkpoint), data=tmp_path / "data"
    )
    assert sum(trial.kills.values()) >= 5
    assert (trial.lost, trial.doubled, trial.wrong, trial.hung) == (0, 0, 0, 0)
    assert len(trial.expected) == 4
    last = CohortFolder(tmp_path / f"out-{trial.cohorts}").table()
    assert all(row.state is Standing.DONE for row in last)
