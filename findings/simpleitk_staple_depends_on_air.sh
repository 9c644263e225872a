#!/usr/bin/env bash
# SimpleITK: STAPLE gives another mask if the same masks lie in a larger image of nothing but background.
#
# What surprises: STAPLE is used as a fairer majority. Its filter takes the share of marked voxels in the whole image as the
# prior of every voxel, so one would expect more background to make marked voxels less likely. The opposite happens: in a
# large image all readers are nearly perfect on the background, so whoever marks a voxel is believed, and what two of five
# readers mark becomes certain. Cropping to the box around all masks does not protect: a stray voxel of one reader, far
# away, makes the box large.
#
# Who meets it: whoever fuses readers or an ensemble on whole head volumes, and compares the result with that of another
# field of view, or with a majority.
#
# Seen with SimpleITK 2.5.7, numpy 2.3.5, Python 3.11 on 2026-11-30. Exits 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check simpleitk==2.5.7 numpy==2.3.5
cat > "$folder/try.py" <<'PYTHON'
import sys

import numpy as np
import SimpleITK as sitk

print(sitk.Version_VersionString(), "numpy", np.__version__)
grid = np.stack(np.meshgrid(*[np.arange(17) - 8] * 3, indexing="ij"))
distance = np.sqrt((grid**2).sum(axis=0))
readers = [distance < radius for radius in (5.4, 5.8, 6.3, 7.2, 7.6)]  # one ball, drawn tightly or generously


def staple(masks):
    estimate = sitk.STAPLEImageFilter()
    estimate.SetForegroundValue(1)
    estimate.SetMaximumIterations(1000)
    return sitk.GetArrayFromImage(estimate.Execute([sitk.GetImageFromArray(m.astype(np.uint8)) for m in masks])) > 0.5


votes = np.sum(readers, axis=0)
near = distance < 8.7  # the union and about a voxel around it
flat = [reader[near][None] for reader in readers]  # STAPLE does not look at where voxels lie
sizes = {
    "majority": int((votes > 2.5).sum()),
    "what two of five mark": int((votes >= 2).sum()),
    "STAPLE, a voxel of background": int(staple(flat).sum()),
    "STAPLE, 20 voxels of background": int(staple([np.pad(reader, 20) for reader in readers]).sum()),
}
for what, size in sizes.items():
    print(f"{what}: {size} voxels")
majority, two, tight, wide = sizes.values()
described = tight == majority and wide == two
print("as described" if described else "CHANGED")
sys.exit(0 if described else 1)
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
