"""A real case with regions from training to a report: the values of its year, nested files, each region measured."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.cases]
TAILS = ("whole-tumour", "tumour-core", "enhancing-tumour")


def load(path):
    return np.asanyarray(nib.load(path).dataobj)


def test_a_case_of_brats_goes_through_training_prediction_export_and_evaluation(cases_folder, tmp_path):
    case = next(folder for folder in sorted(Path(cases_folder).iterdir()) if list(folder.glob("*seg*")))
    [drawn] = case.glob("*seg*")
    middle = int((load(drawn) == 4).sum(axis=(0, 1)).argmax())  # slices with all regions
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / case.name).symlink_to(case, target_is_directory=True)
    train = ["train", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "trained"), "--preset", "tiny"]
    assert main([*train, "--regions", "brats", "--steps", "3", "--held-out", "0", "--device", "cpu"]) == 0
    checkpoint, runs, out = tmp_path / "trained" / "last.safetensors", tmp_path / "runs", tmp_path / "out"
    predict = ["predict", str(case), "--checkpoint", str(checkpoint), "--members", "2", "--device", "cpu"]
    assert main([*predict, "--slices", f"{middle - 1}:{middle + 2}", "--out", str(runs)]) == 0
    [run] = runs.iterdir()
    for what in ("mask", "mean", "expected", "members/member"):
        number = "-001" if what.endswith("member") else ""
        whole, core, enhancing = (load(run / f"{what}_{tail}{number}.nii.gz") for tail in TAILS)
        assert (whole >= core).all()
        assert (core >= enhancing).all()
    assert set(np.unique(load(run / "label-map.nii.gz"))) <= {0, 1, 2, 4}

    assert main(["export", str(run), "--out", str(out), "--what", "label-map", "--label-values", "brats2023"]) == 0
    [exported] = out.glob("*label-map.nii.gz")
    before = load(run / "label-map.nii.gz")
    np.testing.assert_array_equal(load(exported), np.where(before == 4, 3, before))

    assert main(["evaluate", str(runs), "--truth", str(tmp_path / "data"), "--out", str(tmp_path / "report")]) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    assert report["regions"] == ["whole tumour", "tumour core", "enhancing tumour"]
    for tail in TAILS:
        assert report["summary"][f"{tail}_dice"]["n"] == 1
        assert report["summary"][f"{tail}_lesion_hd95_mm"]["n"] == 1
        assert report["summary"][f"{tail}_truth_volume_ml"]["mean"] > 0
