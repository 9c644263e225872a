#!/usr/bin/env bash
# highdicom: writing a binary mask as a fractional segmentation turns the caller's own array from 0 and 1 into 0 and 255.
#
# What surprises: `Segmentation(..., segmentation_type="FRACTIONAL")` takes a uint8 array of 0 and 1, as documented, and
# stores it scaled to 0 and 255. It scales the array that it was given, in its place. Whoever writes the binary and the
# fractional file of one mask, or measures the mask after it was written, goes on with values 255 times as large: a second
# file of it is refused ("Pixel array contains segments that lack descriptions."), and a volume computed as `mask.sum()` is
# 255 times too large, silently. Arrays of bool and uint16 are left alone, so it depends on the dtype. The file is right.
#
# Who meets it: tools that export a network's mask (commonly uint8) to DICOM and use it afterwards.
#
# Seen with highdicom 0.28.2, pydicom 3.0.2, numpy 2.4.6, Python 3.11 on 2026-11-30. Exits 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check highdicom==0.28.2 pydicom==3.0.2 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PYTHON'
import sys

import highdicom
import numpy as np
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

study, series, space = (pydicom.uid.generate_uid() for _ in range(3))


def slice_at(k):
    """The header of one MR slice."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = pydicom.uid.MRImageStorage, pydicom.uid.generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, space
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "1", "A^B", "", ""
    ds.AccessionNumber = ds.StudyID = ds.StudyDate = ds.StudyTime = ""
    ds.Modality, ds.Rows, ds.Columns, ds.InstanceNumber = "MR", 4, 4, k + 1
    ds.PixelSpacing, ds.SliceThickness = [1, 1], 1
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, k]
    return ds


def written(array, kind):
    """The segmentation of one segment."""
    description = SegmentDescription(
        1, "lesion", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion, "MANUAL"
    )
    return Segmentation(
        [slice_at(k) for k in range(3)], array, kind, [description], pydicom.uid.generate_uid(), 2,
        pydicom.uid.generate_uid(), 1, "m", "m", "1", "1", omit_empty_frames=False,
    )  # fmt: skip


mask = np.zeros((3, 4, 4), np.uint8)
mask[1, 1:3, 1:3] = 1
print("highdicom", highdicom.__version__, "pydicom", pydicom.__version__, "numpy", np.__version__)
changed = {}
for dtype in ("uint8", "bool", "uint16"):
    given = mask.astype(dtype)
    written(given, "BINARY")
    binary = int(given.sum())
    seg = written(given, "FRACTIONAL")
    changed[dtype] = int(given.sum())
    print(f"{dtype}: voxels before 4, after BINARY {binary}, after FRACTIONAL {changed[dtype]}; in the file", np.unique(seg.pixel_array))
    assert binary == 4
given = mask.copy()
written(given, "FRACTIONAL")
try:
    written(given, "BINARY")
    print("the same array again as BINARY: written")
except ValueError as err:
    print("the same array again as BINARY is refused:", err)
sys.exit(0 if changed == {"uint8": 4 * 255, "bool": 4, "uint16": 4} else 1)
PYTHON
