"""Make `data/template.npz`, the tissue maps that phantoms are drawn from, out of the ICBM152 2009a template.

Needs nilearn (not a dependency of this package), which carries the template's grey and white matter maps and its T1
image. Run as `python scripts/make_template.py OUTPUT.npz`; the same nilearn gives the same bytes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template
from scipy import ndimage as ndi

BLOCK = 2
"""Voxels of 1 mm averaged along each axis; 1 mm maps would be too large for a package."""

DEPTH_STEPS_PER_MM = 4
DEPTH_OUTSIDE_MM = 8.0
DEPTH_INSIDE_MM = 24.0


def lps_maps() -> tuple[dict[str, npt.NDArray[np.float32]], npt.NDArray[np.float64]]:
    """Grey matter, white matter and depth below the brain's surface (mm) at 1 mm, LPS, and voxel 0 in LPS mm."""
    images = [load_mni152_gm_template(resolution=1), load_mni152_wm_template(resolution=1)]
    mask_image = load_mni152_brain_mask(resolution=1)
    affine = mask_image.affine
    if not np.allclose(affine[:3, :3], np.eye(3)) or any(not np.allclose(i.affine, affine) for i in images):
        raise SystemExit(f"The template's maps should share a 1 mm RAS grid, but the mask's affine is {affine}.")
    mask = ndi.binary_fill_holes(np.asarray(mask_image.dataobj) > 0)[::-1, ::-1]
    gm, wm = (np.asarray(i.dataobj, np.float32)[::-1, ::-1] * mask for i in images)
    depth = ndi.distance_transform_edt(mask) - ndi.distance_transform_edt(~mask)
    last = affine[:3, 3] + np.array(mask.shape) - 1
    origin = np.array([-last[0], -last[1], affine[2, 3]])
    return {"gm": gm, "wm": wm, "depth": depth.astype(np.float32)}, origin


def block_mean(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean of blocks of BLOCK voxels a side; what is left over at the far ends is dropped."""
    x, y, z = (n // BLOCK for n in array.shape)
    cut = array[: x * BLOCK, : y * BLOCK, : z * BLOCK]
    means: npt.NDArray[np.float32] = cut.reshape(x, BLOCK, y, BLOCK, z, BLOCK).mean(axis=(1, 3, 5))
    return means


def main() -> None:
    """Write the maps as uint8, cropped to the head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    maps, origin = lps_maps()
    coarse = {name: block_mean(array) for name, array in maps.items()}
    where = ndi.find_objects((coarse["depth"] > -DEPTH_OUTSIDE_MM).astype(np.uint8))[0]
    depth = np.clip(coarse["depth"][where], -DEPTH_OUTSIDE_MM, DEPTH_INSIDE_MM) + DEPTH_OUTSIDE_MM
    np.savez_compressed(
        output,
        gm=np.round(coarse["gm"][where] * 255).astype(np.uint8),
        wm=np.round(coarse["wm"][where] * 255).astype(np.uint8),
        depth=np.round(depth * DEPTH_STEPS_PER_MM).astype(np.uint8),
        depth_scale=np.array([1 / DEPTH_STEPS_PER_MM, -DEPTH_OUTSIDE_MM]),
        origin_mm=origin + (BLOCK - 1) / 2 + BLOCK * np.array([s.start for s in where]),
        spacing_mm=np.array(float(BLOCK)),
    )
    print(f"{output}: {depth.shape} voxels, {output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
