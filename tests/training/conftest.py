from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.cli import main

SETTINGS = """
preset = "tiny"
save_every = 2
log_every = 1
[recipe]
modalities = ["t1", "flair"]
size = [16, 16]
spacing_mm = "none"
train_timesteps = 20
timesteps = 2
[network]
channel_mult = [1]
[optimiser]
steps = 6
warmup = 2
[validation]
every = 3
slices = 3
"""


@pytest.fixture
def write_labelled():
    """Writes a BraTS-like case of 14 x 12 x 5 voxels with a bright lesion, and as many readers as asked."""

    def write(folder, case_id, *, readers=0, modalities=("t1", "flair"), seg=True):
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(sum(map(ord, case_id)))
        lesion = np.zeros((14, 12, 5), np.uint8)
        lesion[4:8, 5:9, 1:4] = 2
        brain = np.zeros(lesion.shape, np.int16)
        brain[2:12, 2:10, :4] = rng.integers(40, 60, (10, 8, 4))
        arrays = {m: brain + 60 * (lesion > 0).astype(np.int16) for m in modalities}
        arrays |= {"seg": lesion} if seg else {}
        arrays |= {f"reader{k}": (lesion > 0).astype(np.uint8) for k in range(1, readers + 1)}
        for name, data in arrays.items():
            nib.save(nib.Nifti1Image(data, np.diag([-1.0, -1.0, 1.0, 1.0])), folder / f"{case_id}_{name}.nii.gz")
        return folder

    return write


@pytest.fixture
def cases(tmp_path, write_labelled):
    """A folder of four cases."""
    for k in range(4):
        write_labelled(tmp_path / "cases" / f"BraTS2021_{k:05d}", f"BraTS2021_{k:05d}", readers=2 * (k == 1))
    return tmp_path / "cases"


@pytest.fixture
def settings(tmp_path):
    """A TOML file for a network of a few weights and six steps."""
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def train(cases, settings):
    """Runs the verb on the four cases; gives what it returns."""

    def run(out, *words, data=cases):
        given = ["train", "--data", data, "--config", settings, "--out", out, "--device", "cpu", *words]
        return main([str(word) for word in given])

    return run
