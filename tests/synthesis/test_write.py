from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.errors import OutputExists, OutputFailed
from napari_diffseg.synthesis import write
from napari_diffseg.synthesis.write import write_case


def test_what_is_read_is_what_was_written(volume, tmp_path):
    paths = write_case(volume, tmp_path / "new" / "case", case_id="p1")
    names = ["t1", "t1ce", "t2", "flair", "seg", *(f"reader{i}" for i in range(1, 6))]
    assert [p.name for p in paths] == [f"p1_{n}.nii.gz" for n in names]
    assert sorted(p.name for p in (tmp_path / "new" / "case").iterdir()) == sorted(p.name for p in paths)
    arrays = [*volume.volumes.values(), volume.seg, *volume.reader_labels]
    for path, array in zip(paths, arrays, strict=True):
        image = nib.load(path)
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), array)
        assert image.get_data_dtype() == array.dtype
        np.testing.assert_allclose(image.affine, volume.affine)
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)


def test_nothing_is_overwritten_unasked(slice_of, tmp_path):
    phantom = slice_of(readers=1)
    (tmp_path / "p_seg.nii.gz").write_bytes(b"mine")
    with pytest.raises(OutputExists, match=r"p_seg\.nii\.gz"):
        write_case(phantom, tmp_path, case_id="p")
    assert [p.name for p in tmp_path.iterdir()] == ["p_seg.nii.gz"]
    assert (tmp_path / "p_seg.nii.gz").read_bytes() == b"mine"
    write_case(phantom, tmp_path, case_id="p", overwrite=True)
    np.testing.assert_array_equal(np.asanyarray(nib.load(tmp_path / "p_seg.nii.gz").dataobj), phantom.seg)


def test_a_failed_write_leaves_the_old_file_and_no_litter(slice_of, tmp_path, monkeypatch):
    (tmp_path / "p_t1.nii.gz").write_bytes(b"mine")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write.os, "fsync", full)
    with pytest.raises(OutputFailed, match="No space left"):
        write_case(slice_of(), tmp_path, case_id="p", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["p_t1.nii.gz"]
    assert (tmp_path / "p_t1.nii.gz").read_bytes() == b"mine"


@pytest.mark.parametrize("case_id", ["", "a/b", ".."])
def test_a_case_id_that_is_no_file_name_is_refused(slice_of, tmp_path, case_id):
    with pytest.raises(OutputFailed, match="Case id"):
        write_case(slice_of(), tmp_path, case_id=case_id)
