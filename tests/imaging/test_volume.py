from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from phantoms import LPS, OBLIQUE, ramp

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.volume import Volume, describe_grid, same_grid, shear_notes


def volume(data=None, affine=LPS, **fields):
    return Volume(ramp() if data is None else data, affine, **({"header": None, "path": None, "notes": ()} | fields))


def test_spacing_and_directions_follow_the_affine():
    v = volume(affine=np.array([[0, 0, -3.0, 9], [2, 0, 0, 8], [0, 1, 0, 7], [0, 0, 0, 1]]))
    assert v.spacing_mm == (2, 1, 3)
    assert v.axis_codes == ("A", "S", "L")
    assert describe_grid(v) == "4 x 3 x 2 voxels of 2.00 x 1.00 x 3.00 mm, ASL"


@pytest.mark.parametrize(("shift", "same"), [(0, True), (0.04, True), (0.06, False)])
def test_grids_are_the_same_up_to_a_twentieth_of_a_voxel(shift, same):
    moved = OBLIQUE.copy()
    moved[:3, 3] += shift * OBLIQUE[:3, 0]
    assert same_grid(volume(affine=OBLIQUE), volume(affine=moved)) is same


def test_a_small_turn_matters_only_where_it_moves_a_corner():
    turn = np.eye(4)
    turn[0, 1], turn[1, 0] = 0.001, -0.001
    small, large = (np.zeros((n, n, 2), np.uint8) for n in (20, 200))
    assert same_grid(volume(small), volume(small, turn @ LPS))
    assert not same_grid(volume(large), volume(large, turn @ LPS))


def test_another_shape_is_another_grid():
    assert not same_grid(volume(), volume(ramp((4, 3, 3))))


def test_a_digest_names_array_type_shape_and_place():
    digests = {
        volume().digest,
        volume(ramp(dtype="i4")).digest,
        volume(ramp((2, 3, 4))).digest,
        volume(affine=2 * LPS).digest,
        volume(ramp() + 1).digest,
    }
    assert len(digests) == 5


def test_a_digest_does_not_depend_on_how_the_array_lies_in_memory():
    assert volume(np.ascontiguousarray(ramp())).digest == volume(np.asfortranarray(ramp())).digest
    assert volume(ramp(dtype=">i2")).digest == volume(ramp(dtype="<i2")).digest


def test_a_files_digest_counts_only_while_the_array_is_the_files():
    v = volume(path=Path("a.nii"), file_digest="abc")
    assert v.digest == "abc"
    assert replace(v, data=ramp() + 1, path=None).digest == volume(ramp() + 1).digest


@pytest.mark.parametrize(
    ("data", "affine", "text"),
    [
        (ramp((4, 3)), LPS, "no volume"),
        (ramp().astype(complex), LPS, "no volume"),
        (np.zeros((3, 0, 2)), LPS, "no volume"),
        (ramp(), np.diag([1, 1, 0, 1]), "does not place voxels"),
        (ramp(), np.eye(3), "does not place voxels"),
        (ramp(), np.full((4, 4), np.nan), "does not place voxels"),
    ],
)
def test_what_is_no_volume_in_space_is_refused(data, affine, text):
    with pytest.raises(BadImage, match=text):
        volume(data, affine)


def test_the_affine_cannot_be_changed_behind_ones_back():
    given = LPS.copy()
    v = volume(affine=given)
    given[0, 0] = 5
    assert v.affine[0, 0] == -1
    with pytest.raises(ValueError, match="read-only"):
        v.affine[0, 0] = 5


@pytest.mark.parametrize("shear", [0.12, 0.36, 0.5])
def test_a_voxels_volume_is_the_determinant_and_a_sheared_grid_is_said(shear):
    affine = np.array([[-1, shear, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]])
    sheared = volume(affine=affine)
    assert sheared.voxel_mm3 == pytest.approx(6)
    assert np.prod(sheared.spacing_mm) > 6.01
    [note] = shear_notes(sheared)
    assert f"{90 - np.degrees(np.arctan(shear / 2)):.1f} degrees" in note


def test_a_turned_grid_is_not_sheared_although_32_bits_round_it():
    assert shear_notes(volume(affine=OBLIQUE.astype(np.float32))) == ()
    assert volume(affine=OBLIQUE).voxel_mm3 == pytest.approx(0.9 * 1.1 * 3.0)
