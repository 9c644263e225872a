"""How much of a case is sampled: from what is chosen and drawn to source voxels."""

from itertools import permutations, product

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Shapes
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QLabel

from napari_diffseg.errors import BadRequest
from napari_diffseg.events import SegmentRequest
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.panel.slice_here import SliceHere, source_slice
from napari_diffseg.plugin.session.scope import Scope, box_of, scoped
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.plugin.widgets.controls import TextControl
from napari_diffseg.plugin.widgets.scope_row import ScopeRow
from plugin_fakes import FakeLoader

SHAPE = (9, 7, 5)


def frame_of(axes=(0, 1, 2), flips=(1, 1, 1)):
    affine = np.zeros((4, 4))
    for voxel_axis, (world_axis, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[world_axis, voxel_axis] = flip * (1.0, 1.5, 2.0)[voxel_axis]
    affine[:, 3] = (-20, 30, 7, 1)
    return Frame.of_volume(Volume(np.zeros(SHAPE, np.float32), affine=affine, header=None, path=None, notes=()))


def corners_of(frame, voxels):
    """Source voxels as world coordinates of the viewer: through a layer that shows each voxel's own index."""
    marks = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    layer = Image(frame.to_display(marks), **frame.layer_attributes())
    shown = np.asarray(layer.data)
    return np.array([layer.data_to_world(np.argwhere(shown == marks[tuple(v)])[0]) for v in voxels])


def rectangles(frame, *pairs):
    """A layer with a rectangle between two opposite source voxels for each pair, flat where they are."""
    made = Shapes(ndim=3)
    for low, high in pairs:
        a, b = corners_of(frame, [low, high])
        flat = [i for i in range(3) if a[i] == b[i]]
        across = next((i for i in range(3) if i not in flat), 0)
        c, d = a.copy(), b.copy()
        c[across], d[across] = b[across], a[across]
        made.add([np.array([a, c, b, d])], shape_type="polygon")
    return made


@pytest.mark.parametrize(
    ("axes", "flips"), [(a, f) for a in permutations(range(3)) for f in product((1, -1), repeat=3)][::5]
)
def test_two_rectangles_bound_the_same_source_voxels_in_any_orientation(axes, flips):
    frame = frame_of(axes, flips)
    drawn = rectangles(frame, ((2, 1, 1), (6, 5, 1)), ((3, 1, 3), (4, 2, 3)))
    assert box_of(drawn, frame) == (slice(2, 7), slice(1, 6), slice(1, 4))


def test_one_rectangle_goes_through_all_slices():
    frame = frame_of()
    assert box_of(rectangles(frame, ((2, 1, 3), (6, 5, 3))), frame) == (slice(2, 7), slice(1, 6), slice(0, 5))


def test_a_rectangle_in_another_plane_bounds_the_slices():
    frame = frame_of()
    drawn = rectangles(frame, ((2, 4, 1), (6, 4, 3)))
    assert box_of(drawn, frame) == (slice(2, 7), slice(0, 7), slice(1, 4))
    asked = scoped(SegmentRequest(), Scope.BOX, frame=frame, slice_axis=2, focus=None, drawn=drawn)
    assert (asked.slices, asked.window) == ("1:4", "2:7,0:7")


def test_a_box_that_reaches_out_of_the_image_ends_with_it():
    frame = frame_of()
    drawn = Shapes([corners_of(frame, [(2, 1, 3)])[0] + [[0, -99, -99], [0, -99, 99], [0, 99, 99], [0, 99, -99]]])
    assert box_of(drawn, frame) == (slice(0, 9), slice(0, 7), slice(0, 5))


@pytest.mark.parametrize("drawn", [None, Shapes(ndim=3)])
def test_nothing_drawn_is_said(drawn):
    with pytest.raises(BadRequest, match="Draw a rectangle"):
        box_of(drawn, frame_of())


def test_a_box_beside_the_image_is_said():
    frame = frame_of()
    drawn = Shapes([corners_of(frame, [(2, 1, 3)])[0] + [[0, 500, 500], [0, 500, 510], [0, 510, 510], [0, 510, 500]]])
    with pytest.raises(BadRequest, match="no voxel of the images"):
        box_of(drawn, frame)


@pytest.mark.parametrize(
    ("scope", "slices"), [(Scope.VOLUME, None), (Scope.SLICE, "3:4"), (Scope.RANGE, "1:3")], ids=lambda x: str(x)
)
def test_the_other_scopes_leave_the_slices_whole(scope, slices):
    request = SegmentRequest(slices="1:3", window="1:2,1:2")
    asked = scoped(request, scope, frame=frame_of(), slice_axis=2, focus=3, drawn=None)
    assert (asked.slices, asked.window) == (slices, None)


@pytest.fixture
def panel(viewer, segmenter, case_folder, tmp_path, qtbot):
    session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    made = DiffsegPanel(viewer, session=session)
    viewer.window.add_dock_widget(made, name="Diffusion ensemble", area="right")
    made.case.opened.emit([str(case_folder)])
    made.checkpoint.choose("demo")
    qtbot.waitUntil(lambda: session.phase is Phase.IDLE, timeout=90_000)
    yield made
    session.close()


def run(panel, qtbot):
    qtbot.mouseClick(panel.run_box.run, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: panel.session.phase is Phase.IDLE, timeout=90_000)


@pytest.mark.slow
def test_this_slice_is_the_one_on_screen_when_the_run_begins(panel, viewer, segmenter, qtbot):
    panel.findChild(QComboBox, "diffseg_scope").setCurrentText("this slice")
    viewer.dims.set_point(0, float(viewer.layers[0].data_to_world((1, 0, 0))[0]))
    run(panel, qtbot)
    assert segmenter.seen[-1].slice_indices(5) == (segmenter.seen[-1].focus,) == (1,)
    assert not panel.settings.controls["slices"].isVisible()


@pytest.mark.slow
def test_beside_a_range_stands_the_number_that_the_slice_on_screen_has_in_the_file(panel, viewer, segmenter, qtbot):
    choice = panel.findChild(QComboBox, "diffseg_scope")
    here = panel.findChild(QLabel, "diffseg_slice_here")
    assert not here.isVisible()
    for step in (1, 4):
        viewer.dims.set_current_step(0, step)
        choice.setCurrentText("slices A:B")
        assert here.isVisible()
        said = here.text()
        choice.setCurrentText("this slice")
        run(panel, qtbot)
        assert said == f"on screen: {segmenter.seen[-1].focus}"
    choice.setCurrentText("slices A:B")
    before = here.text()
    viewer.dims.set_current_step(0, 2)
    assert here.text() == "on screen: 2" != before
    panel._end()
    viewer.dims.set_current_step(0, 4)
    assert here.text() == "on screen: 2"  # nobody listens to the viewer any more


def test_the_number_is_the_files_own_where_the_slider_counts_from_the_other_end():
    frame = frame_of(flips=(1, 1, 1))
    data = np.zeros(SHAPE, np.float32)
    layer = Image(frame.to_display(data), **frame.layer_attributes())
    for k in range(SHAPE[2]):
        point = corners_of(frame, [(2, 2, k)])[0]
        assert source_slice(layer, (0.0, *point), direction="S") == k
    points = [corners_of(frame, [(2, 2, k)])[0][0] for k in range(SHAPE[2])]
    assert points == sorted(points, reverse=True)  # the slider goes along the world


def test_without_an_image_no_number_is_said(qtbot, session):
    row = ScopeRow(TextControl(None))
    qtbot.addWidget(row)
    row.choose(Scope.RANGE)
    row.show_here(3)
    SliceHere(ViewerModel(), session, row).follow()
    assert row.here.text() == ""


@pytest.mark.slow
def test_choosing_a_box_gives_a_layer_to_draw_it_in_and_says_so_until_it_is_drawn(panel, viewer, segmenter, qtbot):
    panel.findChild(QComboBox, "diffseg_scope").setCurrentText("drawn box")
    drawn = viewer.layers["diffseg | box"]
    assert drawn.mode == "add_rectangle"
    assert viewer.dims.nsteps[0] == 5
    assert panel.run_box.reason.text().startswith("Draw a rectangle")
    assert not panel.run_box.run.isEnabled()
    image = viewer.layers[0]
    drawn.add_rectangles(np.array([(2, 3, 4), (2, 3, 8), (2, 9, 8), (2, 9, 4)]))
    assert panel.run_box.run.isEnabled()
    run(panel, qtbot)
    frame = image.metadata["napari_diffseg"]
    window = np.zeros(frame.shape, bool)
    window[:, 3:10, 4:9] = True
    rows, columns = (np.flatnonzero(frame.to_source(window)[..., 0].any(axis=1 - axis)) for axis in range(2))
    assert segmenter.seen[-1].window == f"{rows[0]}:{rows[-1] + 1},{columns[0]}:{columns[-1] + 1}"
    assert segmenter.seen[-1].slices == "0:5"
    viewer.layers.remove(drawn)
    assert panel.run_box.reason.text().startswith("Draw a rectangle")


@pytest.mark.slow
def test_a_range_has_its_line_and_goes_with_the_scope(panel, segmenter, qtbot):
    choice = panel.findChild(QComboBox, "diffseg_scope")
    choice.setCurrentText("slices A:B")
    panel.settings.controls["slices"].set_value("1:3")
    assert panel.settings.controls["slices"].isVisible()
    run(panel, qtbot)
    assert segmenter.seen[-1].slices == "1:3"
    choice.setCurrentText("whole volume")
    run(panel, qtbot)
    assert segmenter.seen[-1].slices is None
