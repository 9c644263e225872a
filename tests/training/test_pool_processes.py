"""Cases are encoded by several processes whatever their parent has done before."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from pathlib import Path
import torch
from napari_diffseg.training.draw import PhantomSource
from napari_diffseg.training.pool import build_pool, open_pool
from napari_diffseg.training.presets import preset

torch.set_num_threads(2)
torch.randn(3000, 3000).exp().sum()  # its threads have run, as after loading a checkpoint
source = PhantomSource(preset("default").recipe, phantoms=2, held_out=0, seed=0)
build_pool(Path(sys.argv[1]), source, source.split(), workers=2, told=lambda done, total: None)
print(len(open_pool(Path(sys.argv[1]))[0]))
"""


@pytest.mark.slow
def test_processes_encode_after_their_parent_has_computed_with_threads(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "pool")], capture_output=True, text=True, timeout=150, check=True
    )
    assert int(done.stdout) == 20  # ten slices of each
