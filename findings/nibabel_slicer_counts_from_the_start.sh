#!/usr/bin/env bash
# nibabel: `image.slicer[::-1]` and `image.slicer[-2:]` move the image in space; nothing is raised or warned of.
#
# What surprises: `slicer` is there to keep the affine right while an image is sliced. It takes the start of a slice as it
# was written: of `[::-1]` (no start) it takes voxel 0 as the first, which is the last, and of `[-2:]` it takes -2. The
# voxels are those that numpy gives, but the affine puts them elsewhere: in the first case a whole field of view beside
# their place. `image.slicer[9::-1]` and `image.slicer[8:]`, which mean the same in an image of ten, are right.
#
# Who meets it: whoever mirrors an image for augmentation, crops slices from the end, or turns an axis, and then compares
# masks with other tools in mm.
#
# Seen with nibabel 5.4.2, numpy 2.3.5, Python 3.11 on 2026-11-30. Exits 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nibabel==5.4.2 numpy==2.3.5
cat > "$folder/try.py" <<'PYTHON'
import sys

import nibabel as nib
import numpy as np

print("nibabel", nib.__version__, "numpy", np.__version__)
data = np.zeros((10, 4, 3), np.float32)
data[8, 1, 1] = 1  # one bright voxel, 8 mm along x
image = nib.Nifti1Image(data, np.eye(4))


def where(one):
    """Where the bright voxel lies, in mm."""
    return (one.affine @ [*np.argwhere(one.get_fdata() == 1)[0], 1])[:3].tolist()


places = {
    "as it is": where(image),
    "slicer[9::-1]": where(image.slicer[9::-1]),
    "slicer[::-1]": where(image.slicer[::-1]),
    "slicer[8:]": where(image.slicer[8:]),
    "slicer[-2:]": where(image.slicer[-2:]),
}
for how, place in places.items():
    print(f"{how:14} bright voxel at {place} mm")
right = [8.0, 1.0, 1.0]
same = places["as it is"] == places["slicer[9::-1]"] == places["slicer[8:]"] == right
moved = places["slicer[::-1]"] == [-1.0, 1.0, 1.0] and places["slicer[-2:]"] == [-2.0, 1.0, 1.0]
print("as described" if same and moved else "CHANGED")
sys.exit(0 if same and moved else 1)
PYTHON
"$folder/venv/bin/python" -W error "$folder/try.py"
