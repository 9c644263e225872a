"""A report shows slices as the panel does, on any grid: same way up, same side, with the letters that say which."""

from itertools import permutations, product

import numpy as np
import pytest

from napari_diffseg.appearance import Convention
from napari_diffseg.evaluation.report.upright import Upright
from napari_diffseg.imaging.volume import Volume

DIRECTIONS = [(axes, signs) for axes in permutations(range(3)) for signs in product([1, -1], repeat=3)]


def volume(axes, signs, notes=()):
    affine = np.diag([0.0, 0, 0, 1])
    for axis, (towards, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[towards, axis] = sign * (axis + 1)
    return Volume(np.random.default_rng(0).random((4, 5, 6)), affine, None, None, notes)


@pytest.mark.parametrize(("axes", "signs"), DIRECTIONS)
def test_slices_lie_as_the_panel_shows_them(axes, signs):
    frame_module = pytest.importorskip("napari_diffseg.plugin.grid.frame")
    grid = volume(axes, signs)
    frame = frame_module.Frame.of_volume(grid)
    shown = frame.to_display(grid.data)
    for axis, index in product(range(3), (0, 2)):
        across = frame.axes.index(axis)
        plane = np.take(shown, [frame.slab_offset(axis, index)[across]], axis=across)
        downwards = [k for k in range(3) if frame.world[k, k] < 0]  # napari draws these against their indices
        expected = np.flip(plane, downwards).squeeze(axis=across)
        np.testing.assert_array_equal(Upright(grid, axis)(grid.data, index), expected)
        left, right = Upright(grid, axis).sides
        assert (left, right) == (("", "") if frame.axis_labels[across] == "L" else ("R", "L"))
        turned = Upright(grid, axis, Convention.NEUROLOGICAL)
        mirrored = expected[:, ::-1] if left else expected
        np.testing.assert_array_equal(turned(grid.data, index), mirrored)
        assert turned.sides == (right, left)
        height, width = np.delete([grid.spacing_mm[a] for a in frame.axes], across)
        assert Upright(grid, axis).aspect == pytest.approx(height / width)


def test_sides_that_no_header_states_are_asked_about():
    grid = volume((0, 1, 2), (1, 1, 1), notes=("left/right unknown: its header states no orientation",))
    assert Upright(grid, 2).sides == ("R?", "L?")
