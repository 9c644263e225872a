"""The shipped checkpoint and case in a real viewer: the mask on screen is the one that numpy makes of the run."""

import nibabel as nib
import numpy as np
import pytest
from panel_clicks import click, wait_idle

from napari_diffseg.imaging.demo_case import demo_case_folder
from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.session.session import Session


@pytest.fixture
def panel(viewer, tmp_path):
    """The panel with the real engine."""
    session = Session(launch=launch, runs_folder=tmp_path / "runs")
    made = DiffsegPanel(viewer, session=session)
    viewer.window.add_dock_widget(made, name="Diffusion ensemble", area="right")
    yield made
    session.close()


def check_mask(panel, layer):
    """The run's mask, on the voxels of its file: in that file, in the layer of this name, and by numpy."""
    run = panel.session.runs.on_screen
    assert run.result.ensemble.expected.refined() is not None
    mask = run.result.ensemble.probability()[0] > 0.5
    np.testing.assert_array_equal(np.asarray(panel.viewer.layers[layer].data).T > 0, mask)
    np.testing.assert_array_equal(np.asanyarray(nib.load(run.plan.folder / "mask.nii.gz").dataobj) > 0, mask)
    return mask


@pytest.mark.slow
def test_the_mask_on_screen_is_that_of_the_refined_probability_and_comes_back(panel, qtbot):
    panel.case.opened.emit([str(demo_case_folder())])
    click(panel, "checkpoint_demo", qtbot)
    wait_idle(panel, qtbot)
    for name, value in {"members": 2, "timesteps": 2, "slices": "46:50", "device": "cpu"}.items():
        panel.settings.controls[name].set_value(value)
    click(panel, "run", qtbot)
    wait_idle(panel, qtbot)
    expected = panel.session.runs.on_screen.result.ensemble.expected
    folder, before = panel.session.runs.on_screen.plan.folder, check_mask(panel, "diffseg 1 | mask")
    panel.session.reopen(folder)
    wait_idle(panel, qtbot)
    np.testing.assert_array_equal(check_mask(panel, "diffseg 2 | mask"), before)
    panel.session.add_members(1)
    wait_idle(panel, qtbot)
    assert (check_mask(panel, "diffseg 2 | mask") != before).any()
    known = panel.session.runs.on_screen.result.ensemble.expected
    np.testing.assert_array_equal(known.refined(), expected.refined())
