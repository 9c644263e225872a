#!/usr/bin/env bash
# highdicom: the distance between slices that is given in `pixel_measures` is dropped; that of the source series is written.
#
# What surprises: `Segmentation(..., pixel_measures=...)` is documented as the physical spacing of the segmentation. If its
# in-plane spacing is that of the source images, the whole item is replaced by the source's, with its SliceThickness and its
# SpacingBetweenSlices; nothing is raised or warned of. Series whose SpacingBetweenSlices is not the distance of their
# positions are common (it holds the gap, or the 1 that ITK writes for single slices). Each frame's position is right, but
# dcmqi (3D Slicer) and pydicom-seg place frames by SpacingBetweenSlices: here four slices, 4 mm apart, become thirteen, 1 mm
# apart, of which nine are empty. What helps: change SpacingBetweenSlices in copies of the source headers.
#
# Who meets it: whoever writes a segmentation of such a series with highdicom and opens it elsewhere.
#
# Seen with highdicom 0.28.2, pydicom 3.0.2, dcmqi 1.5.7, numpy 2.4.6, nibabel 5.4.2, Python 3.11 on 2026-11-30. Exits 1 if the
# behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  highdicom==0.28.2 pydicom==3.0.2 numpy==2.4.6 nibabel==5.4.2 dcmqi==1.5.7
cd "$folder"
cat > write.py <<'PYTHON'
import sys

import highdicom
import numpy as np
import pydicom
from highdicom import PixelMeasuresSequence
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

study, series, space = (pydicom.uid.generate_uid() for _ in range(3))


def slice_at(k, spacing_between_slices):
    """The header of one MR slice; slices lie 4 mm apart."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = pydicom.uid.MRImageStorage, pydicom.uid.generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, space
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "1", "A^B", "", ""
    ds.AccessionNumber = ds.StudyID = ds.StudyDate = ds.StudyTime = ""
    ds.Modality, ds.Rows, ds.Columns, ds.InstanceNumber = "MR", 4, 4, k + 1
    ds.PixelSpacing, ds.SliceThickness, ds.SpacingBetweenSlices = [1, 1], 4, spacing_between_slices
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 4 * k]
    return ds


mask = np.ones((4, 4, 4), np.uint8)
description = SegmentDescription(1, "lesion", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Lesion, "MANUAL")
given = PixelMeasuresSequence(pixel_spacing=(1, 1), slice_thickness=4, spacing_between_slices=4)
for name, said in (("dropped", 1), ("right", 4)):
    seg = Segmentation(
        [slice_at(k, said) for k in range(4)], mask, "BINARY", [description], pydicom.uid.generate_uid(), 2,
        pydicom.uid.generate_uid(), 1, "m", "m", "1", "1", pixel_measures=given, omit_empty_frames=False,
    )  # fmt: skip
    seg.save_as(f"{name}.dcm")
    [shared] = pydicom.dcmread(f"{name}.dcm").SharedFunctionalGroupsSequence
    written = float(shared.PixelMeasuresSequence[0].SpacingBetweenSlices)
    print(f"the series says {said} mm, given are 4 mm, written are {written:g} mm")
    if written != said:
        sys.exit("the behaviour has changed")
print("highdicom", highdicom.__version__, "pydicom", pydicom.__version__)
PYTHON
venv/bin/python write.py
for name in dropped right; do
  mkdir "$name"
  venv/bin/segimage2itkimage --inputDICOM "$name.dcm" --outputDirectory "$name" -t nii > /dev/null 2>&1
done
venv/bin/python - <<'PYTHON'
import sys

import nibabel as nib
import numpy as np

found = {}
for name in ("dropped", "right"):
    image = nib.load(f"{name}/1.nii.gz")
    found[name] = (image.shape[2], float(image.header.get_zooms()[2]), int(np.asanyarray(image.dataobj).any(axis=(0, 1)).sum()))
    print(name, "as dcmqi reads it: slices, mm apart, not empty:", *found[name])
sys.exit(0 if found == {"dropped": (13, 1.0, 4), "right": (4, 4.0, 4)} else 1)
PYTHON
