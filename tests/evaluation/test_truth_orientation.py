"""A truth whose file runs along other directions than the prediction's, and one of another grid altogether."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from evaluation_folders import AFFINE, box, write, write_prediction
from nibabel.affines import from_matvec
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from napari_diffseg.cli.evaluate import evaluate
from napari_diffseg.errors import BadCase
from napari_diffseg.evaluation.cases.predicted import read_prediction
from napari_diffseg.evaluation.cases.prediction_files import PredictionFiles
from napari_diffseg.evaluation.cases.truth import read_truth
from napari_diffseg.runs.layout import RunFiles

OBLIQUE = from_matvec(nib.eulerangles.euler2mat(0.7, 0.5, -0.3) @ AFFINE[:3, :3], [5, -7, 11])


def turned(mask, affine, codes):
    """The same voxels in a file of other directions."""
    way = ornt_transform(io_orientation(affine), axcodes2ornt(codes))
    return nib.orientations.apply_orientation(mask, way), affine @ inv_ornt_aff(way, mask.shape)


def predict(folder, affine):
    """A case without symmetry, predicted as it is."""
    mask = box(8)
    mask[8, 6, 1:3] = False
    write(folder / "mask.nii.gz", mask, affine)
    return read_prediction(PredictionFiles(RunFiles(folder)), case_id="a"), mask


@pytest.mark.parametrize("affine", [AFFINE, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("codes", ["RAS", "ASL", "SPR", "LPS"])
def test_a_truth_of_other_directions_is_turned_without_loss(tmp_path, codes, affine):
    predicted, mask = predict(tmp_path / "a", affine)
    path = write(tmp_path / "a_seg.nii.gz", *turned(mask, affine, codes))
    np.testing.assert_array_equal(read_truth([path], predicted.grid, case_id="a").majority, mask)


def test_a_truth_of_other_directions_and_another_place_is_refused_with_a_way_out(tmp_path):
    write_prediction(tmp_path / "runs" / "a", [box(8)])
    moved, affine = turned(box(8), AFFINE, "RAS")
    affine[0, 3] += 0.4
    write(tmp_path / "truth" / "a_seg.nii.gz", moved, affine)
    with pytest.raises(BadCase, match=r"RAS.*LPS.*export the run on the grid of the truth"):
        evaluate(tmp_path / "runs", truth=tmp_path / "truth", out=tmp_path / "out")


def test_the_way_out_of_a_mask_of_another_program_is_no_export(tmp_path):
    write(tmp_path / "masks" / "a.nii.gz", box(8))
    write(tmp_path / "truth" / "a_seg.nii.gz", box(8, shape=(24, 20, 7)))
    with pytest.raises(BadCase, match=r"give the truth on the grid of the images that were segmented\.$"):
        evaluate(tmp_path / "masks", truth=tmp_path / "truth", out=tmp_path / "out")
