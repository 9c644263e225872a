"""Arrays that were opened from no file: how they lie is asked for, and a picture shows what comes of it."""

import numpy as np
import pytest
from panel_clicks import click, find, wait_idle

from napari_diffseg.imaging.volume import Volume
from napari_diffseg.plugin.grid.upright_slice import upright_middle
from plugin_fakes import MODALITIES

SHAPE = (6, 8, 4)


def marked(value_at):
    data = np.zeros(SHAPE, np.float32)
    data[value_at] = 1.0
    return data


def volume(data, affine):
    return Volume(data=data, affine=affine, header=None, path=None, notes=())


@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_the_picture_is_upright_whichever_way_the_voxels_run(flip):
    affine = np.diag([*flip, 1.0]).astype(float)
    right, front = (SHAPE[0] - 1 if flip[0] > 0 else 0), (SHAPE[1] - 1 if flip[1] > 0 else 0)
    data = marked((right, front, slice(None)))
    upright = upright_middle(volume(data, affine), "S")
    assert upright.plane[0, 0] == 1.0  # the patient's right front: above, on the left
    assert (upright.left, upright.right, upright.top, upright.bottom) == ("R", "L", "A", "P")
    turned = upright_middle(volume(data, affine), "S", left_on_the_right=False)
    assert turned.plane[0, -1] == 1.0
    assert (turned.left, turned.right) == ("L", "R")


@pytest.fixture
def arrays(panel, qtbot):
    """As `viewer.add_image(img.get_fdata())` of a file whose axes run to the right, front and top."""
    click(panel, "checkpoint_demo", qtbot)
    for n, name in enumerate(MODALITIES):
        panel.viewer.add_image(marked((SHAPE[0] - 1, SHAPE[1] - 1, slice(None))) + n / 10, name=f"mine {name}")
    wait_idle(panel, qtbot)
    return panel


def test_the_axes_are_asked_for_before_a_run(arrays):
    panel = arrays
    assert not find(panel, "run").isEnabled()
    assert "Choose 'Array axes' under Case" in panel.session.why_not_run()
    assert find(panel, "array_axes").isVisibleTo(panel)
    assert panel.case.picture.pictures[0].unsure == "?"


@pytest.mark.slow
def test_once_they_are_chosen_the_picture_and_the_run_follow(arrays, segmenter, qtbot):
    panel = arrays
    find(panel, "array_axes").setCurrentText("RAS")
    assert find(panel, "run").isEnabled(), panel.session.why_not_run()
    first = panel.case.picture.pictures[0]
    assert first.upright.plane.shape == (SHAPE[1], SHAPE[0])
    assert first.upright.plane[0, 0] == 1.0
    assert (first.unsure, first.upright.left) == ("", "R")
    click(panel, "run", qtbot)
    wait_idle(panel, qtbot)
    [case] = segmenter.cases
    np.testing.assert_array_equal(case.volumes["t1"].affine, np.eye(4))
    assert "directions are assumed" not in find(panel, "status").text()


def test_files_are_shown_and_not_asked_of(ready):
    assert [picture.name for picture in ready.case.picture.pictures] == list(MODALITIES)
    assert ready.case.picture.isVisibleTo(ready)
    assert not find(ready, "array_axes").isVisibleTo(ready)
    ready.viewer.layers.clear()
    assert not ready.case.picture.isVisibleTo(ready)
