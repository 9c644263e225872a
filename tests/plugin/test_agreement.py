"""Outlines of agreement on a viewer model: lines where they belong in every plane, closed surfaces."""

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import events_of, play
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication

from napari_diffseg.appearance import AGREEMENT
from napari_diffseg.plugin.explore.agreement import Agreement
from napari_diffseg.plugin.explore.answer_polling import AnswerPolling
from napari_diffseg.plugin.explore.navigation import go_to_voxel
from napari_diffseg.plugin.layers.contours import NAME, contour_segments
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from napari_diffseg.plugin.layers.surfaces import mesh_of
from plugin_fakes import run_here


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    made = ResultLayers(viewer)
    play(made, events_of(members=4))
    return made


@pytest.fixture
def agreement(viewer, results, qtbot):
    parent = QObject()
    polling = AnswerPolling(parent)
    made = Agreement(viewer, results, launch=run_here, polling=polling)
    yield made
    made.close()
    polling.close()


def ends(vectors):
    return vectors[:, 0], vectors[:, 0] + vectors[:, 1]


def test_a_contour_is_closed_and_lies_between_the_voxels():
    plane = np.zeros((5, 6))
    plane[1:3, 2:5] = 1
    segments = contour_segments(plane, 0.5)
    start, stop = ends(segments)
    np.testing.assert_allclose(sorted(map(tuple, start)), sorted(map(tuple, stop)))
    assert (start.min(axis=0) == [0.5, 1.5]).all()
    assert (start.max(axis=0) == [2.5, 4.5]).all()
    area = 0.5 * abs((start[:, 0] * stop[:, 1] - start[:, 1] * stop[:, 0]).sum())
    assert area == pytest.approx(2 * 3 - 4 * 0.125)  # the corners are cut


def test_a_contour_at_the_edge_of_the_plane_is_closed():
    segments = contour_segments(np.ones((3, 3)), 0.5)
    start, stop = ends(segments)
    np.testing.assert_allclose(sorted(map(tuple, start)), sorted(map(tuple, stop)))
    assert contour_segments(np.zeros((3, 3)), 0.5).shape == (0, 2, 2)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 2, 1)])
def test_lines_lie_on_the_slice_on_the_screen_in_every_plane(viewer, results, agreement, order):
    viewer.dims.order = order
    stack = results.result.ensemble.mean()[0]
    x, y, z = np.argwhere(stack == 1)[0]
    go_to_voxel(viewer, results.view, (int(x), int(y), int(z)))
    agreement.show(True)
    layer = viewer.layers[NAME]
    across = viewer.dims.order[0]
    index = round(results.view.mask.world_to_data(viewer.dims.point)[across])
    assert (layer.data[:, 0, across] == index).all()
    mean = np.asarray(results.view.mean[0].data)
    expected = sum(len(contour_segments(mean.take(index, axis=across), level)) for level in AGREEMENT)
    assert len(layer.data) == expected > 0
    np.testing.assert_allclose(layer.scale, results.view.mask.scale)
    np.testing.assert_allclose(layer.translate, results.view.mask.translate)


def test_lines_follow_the_slice_and_go_when_switched_off(viewer, results, agreement, qtbot):
    x, y, z = (int(i) for i in np.argwhere(results.result.ensemble.mean()[0] == 1)[0])
    go_to_voxel(viewer, results.view, (x, y, z))
    agreement.show(True)
    assert len(viewer.layers[NAME].data)
    go_to_voxel(viewer, results.view, (0, y, z))  # source axis 0 is the one across the screen
    qtbot.waitUntil(lambda: not len(viewer.layers[NAME].data), timeout=90_000)
    agreement.show(False)
    assert not viewer.layers[NAME].visible


def test_lines_that_the_user_removed_come_back_when_asked_for(viewer, agreement):
    agreement.show(True)
    viewer.layers.remove(NAME)
    agreement.show(True)
    assert NAME in viewer.layers


def test_nothing_is_drawn_before_a_run_or_when_off(viewer, agreement, qtbot):
    agreement.draw()
    assert NAME not in viewer.layers
    parent = QObject()
    polling = AnswerPolling(parent)
    Agreement(ViewerModel(), ResultLayers(ViewerModel()), launch=run_here, polling=polling).show(True)
    polling.close()


def test_a_surface_is_closed_and_lies_around_its_voxels():
    volume = np.zeros((6, 5, 4), np.float32)
    volume[2:5, 0:2, 1:3] = 1
    vertices, faces = mesh_of(volume, 0.5)
    np.testing.assert_allclose(vertices.min(axis=0), [1.5, -0.5, 0.5])
    np.testing.assert_allclose(vertices.max(axis=0), [4.5, 1.5, 2.5])
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    assert mesh_of(volume, 1.0)[1].shape == (0, 3)


@pytest.mark.filterwarnings("ignore:Contours are not displayed")
def test_in_3d_there_is_a_surface_for_each_share_and_the_selection_stays(viewer, results, agreement, qtbot):
    viewer.layers.selection.active = viewer.layers["diffseg 1 | mask"]
    steps = [axis.step for axis in viewer.dims.range]
    agreement.show(True)
    viewer.dims.ndisplay = 3
    names = [f"diffseg | surface {share}" for share in ("5 %", "50 %", "95 %")]
    qtbot.waitUntil(lambda: all(name in viewer.layers for name in names), timeout=90_000)
    assert all(viewer.layers[name].visible for name in names)
    assert not viewer.layers[NAME].visible
    assert viewer.layers.selection.active is viewer.layers["diffseg 1 | mask"]
    mean, surface = viewer.layers["diffseg 1 | mean"], viewer.layers[names[1]]
    places = np.array([mean.data_to_world(v) for v in mesh_of(np.asarray(mean.data), 0.5)[0]])
    np.testing.assert_allclose([surface.data_to_world(v) for v in surface.data[0]], places)
    assert [axis.step for axis in viewer.dims.range] == steps
    assert (np.asarray(surface.scale) > 0).all()  # a mirrored surface is lit from within
    viewer.dims.ndisplay = 2
    assert not any(viewer.layers[name].visible for name in names)
    assert viewer.layers[NAME].visible


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Contours are not displayed")
def test_outlines_survive_the_way_to_3d_and_back(screen, make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    results = ResultLayers(viewer)
    play(results, events_of(members=4))
    parent = QObject()
    polling = AnswerPolling(parent)
    agreement = Agreement(viewer, results, launch=run_here, polling=polling)
    agreement.show(True)
    for dimensions in (3, 2, 3, 2):
        viewer.dims.ndisplay = dimensions
        QApplication.processEvents()
    lines = viewer.layers[NAME]
    assert lines.visible
    assert len(lines.edge_color) == len(lines.data) > 0
    agreement.close()
    polling.close()
