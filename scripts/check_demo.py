"""Whether the demo left what it promises: masks with a lesion in them, and pictures that show something."""

import sys
from pathlib import Path

import numpy as np
from imageio.v3 import imread
from nibabel.nifti1 import Nifti1Image

BLANK_COLOURS = 50  # an empty window has a handful of colours, one with a brain in it has hundreds


def main(folder: Path) -> int:
    """Complain about what is missing in the folder, and count it."""
    complaints = []
    volumes = {path: Nifti1Image.from_filename(path).get_fdata() for path in sorted(folder.rglob("*.nii.gz"))}
    masks = [path for path in volumes if path.name == "mask.nii.gz"]
    pictures = sorted(folder.rglob("*.png"))
    if not masks:
        complaints.append(f"no mask.nii.gz in {folder}")
    complaints += [f"{path} has no lesion in it" for path in masks if not volumes[path].any()]
    complaints += [f"{path} has values that are not numbers" for path, data in volumes.items() if np.isinf(data).any()]
    if not pictures:
        complaints.append(f"no screenshot in {folder}")
    for path in pictures:
        colours = len(np.unique(imread(path)[..., :3].reshape(-1, 3), axis=0))
        if colours < BLANK_COLOURS:
            complaints.append(f"{path} is blank: {colours} colours")
    print(*complaints or [f"{len(volumes)} volumes and {len(pictures)} pictures in {folder}"], sep="\n")
    return len(complaints)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
