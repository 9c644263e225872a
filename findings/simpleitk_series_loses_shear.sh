#!/usr/bin/env bash
# SimpleITK: a DICOM series whose slices are sheared (a tilted gantry) is read as if it were not, without a word.
#
# What surprises: `ReadImage` of the sorted files of a series takes the distance between neighbouring positions as the
# spacing and the normal of the slices as the direction. If each slice is also shifted within its plane, the image has the
# sheared distance along an unsheared direction: voxels are too large and places are wrong by centimetres at the last
# slices, in every sense in which a mask in mm is used. Single slices state their positions rightly, and nothing is warned
# of, although SimpleITK can hold a sheared direction (it reads one from NRRD and MetaImage).
#
# Who meets it: whoever reads head CT, or oblique MR that was edited slice by slice, through SimpleITK or a tool built on
# it, and compares volumes or places with dcm2niix, which corrects the tilt.
#
# Seen with SimpleITK 2.5.7, numpy 2.3.5, Python 3.11 on 2026-11-30. Exits 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check simpleitk==2.5.7 numpy==2.3.5
cat > "$folder/try.py" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

print(sitk.Version_VersionString(), "numpy", np.__version__)
series = Path(sys.argv[1]) / "series"
series.mkdir()
step = np.array([0.0, 2.0, 4.0])  # each slice lies 4 mm above the one before, and 2 mm further within its plane
writer = sitk.ImageFileWriter()
writer.KeepOriginalImageUIDOn()
for k in range(20):
    image = sitk.GetImageFromArray(np.full((6, 7), k, np.int16))
    fields = {
        "0020|000e": "1.2.3.4",
        "0020|000d": "1.2.3",
        "0008|0018": f"1.2.3.4.{k + 1}",
        "0020|0037": "1\\0\\0\\0\\1\\0",
        "0020|0032": "\\".join(f"{x:g}" for x in k * step),
        "0020|0013": str(k + 1),
        "0018|0050": "4",
    }
    for tag, value in fields.items():
        image.SetMetaData(tag, value)
    writer.SetFileName(str(series / f"{k:02d}.dcm"))
    writer.Execute(image)

image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(series)))
spacing, direction = image.GetSpacing(), image.GetDirection()
last = image.TransformIndexToPhysicalPoint((0, 0, 19))
print("spacing", spacing)
print("direction", direction)
print("first voxel of the last slice, as its file says:", (19 * step).tolist(), "as the image says:", last)
print("volume of a voxel, by the positions: 4.0 mm3, by the image:", float(np.prod(spacing)))
lost = direction == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0) and abs(spacing[2] - np.hypot(2, 4)) < 1e-6
print("as described" if lost else "CHANGED")
sys.exit(0 if lost else 1)
PYTHON
"$folder/venv/bin/python" "$folder/try.py" "$folder"
