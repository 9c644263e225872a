"""The members side by side: what a tile shows, which slice it follows, and what a click tells."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import SHAPE, events_of, play, volume
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from superqt import QCollapsible

from napari_diffseg.appearance import MASK_COLOR
from napari_diffseg.ensemble.summary import Summary
from napari_diffseg.events import Sampled, SegmentRequest
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.plugin.explore.member_tiles import MemberTiles, tile, tiles_of, window_around
from napari_diffseg.plugin.explore.navigation import go_to_slice
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from napari_diffseg.plugin.widgets.explore_box import ExploreBox
from napari_diffseg.plugin.widgets.plots.tile_grid import MOST_TILES, TileGrid
from napari_diffseg.recipe import Recipe
from plugin_fakes import FakeSegmenter

GREEN = np.round(255 * np.array(QColor(MASK_COLOR).getRgbF()[:3]))
GREY = np.full((3, 4, 3), 90, np.uint8)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    made = ResultLayers(viewer)
    play(made, events_of(members=4))
    return made


def is_green(tile):
    return np.asarray((tile == GREEN).all(axis=-1))


def test_a_tile_has_the_outline_in_full_colour_and_a_tint_within():
    mask = np.zeros((7, 7), np.bool_)
    mask[1:6, 1:6] = True
    drawn = tile(np.full((7, 7), 0.4), mask)
    inside = np.zeros_like(mask)
    inside[2:5, 2:5] = True
    np.testing.assert_array_equal(is_green(drawn), mask & ~inside)
    np.testing.assert_array_equal(drawn[0, 0], [102, 102, 102])
    assert drawn[3, 3, 1] > 102 > drawn[3, 3, 0]


def test_the_window_is_a_square_around_what_is_seen_and_within_the_plane():
    seen = np.zeros((100, 90), np.bool_)
    seen[40:60, 2:12] = True
    rows, columns = window_around(seen)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (36, 36)
    assert seen[rows, columns].sum() == seen.sum()
    assert columns.start == 0
    assert seen[window_around(np.zeros_like(seen))].shape == seen.shape


def test_each_tile_shows_its_member_on_the_slice_on_screen_as_napari_shows_it(viewer, results):
    view = results.view
    for s in range(SHAPE[2]):
        go_to_slice(viewer, view, s)
        tiles = tiles_of(viewer, view)
        assert sorted(tiles) == [0, 1, 2, 3]
        axis = view.frame.axes.index(2)
        place = view.frame.slab_offset(2, s)[axis]
        for k, drawn in tiles.items():
            shown = np.take(view.members[k].data, place, axis=axis)
            np.testing.assert_array_equal(drawn[..., 1] > 0, shown > 0)


@pytest.mark.parametrize(("specks", "side"), [(1, 26), (2, 90)])
def test_a_speck_that_one_of_eight_members_sees_does_not_make_the_tiles_small(viewer, specks, side):
    results, shape = ResultLayers(viewer), (90, 90, 2)
    play(results, list(_with_specks(shape, members=8, specks=specks)), Frame.of_volume(_flat(shape)))
    go_to_slice(viewer, results.view, 0)
    assert {drawn.shape for drawn in tiles_of(viewer, results.view).values()} == {(side, side, 3)}


def test_specks_alone_are_shown(viewer):
    results, shape = ResultLayers(viewer), (90, 90, 2)
    events = list(_with_specks(shape, members=8, specks=1, lesion=False))
    play(results, events, Frame.of_volume(_flat(shape)))
    go_to_slice(viewer, results.view, 0)
    tiles = tiles_of(viewer, results.view)
    assert is_green(tiles[0]).any()
    assert tiles[0].shape == (24, 24, 3)


def _flat(shape):
    return Volume(data=np.zeros(shape, np.float32), affine=np.eye(4), header=None, path=None, notes=())


def _with_specks(shape, *, members, specks, lesion=True):
    """All members see a square of ten voxels in the middle, the first of them a voxel in two corners, too."""
    case = SimpleNamespace(id="case", shape=shape)
    fake = FakeSegmenter(Recipe(modalities=("t1",), labels=("lesion",)), steps=1)
    for event in fake.segment(case, SegmentRequest(members=members)):
        if not isinstance(event, Sampled):
            yield event
            continue
        mask = np.zeros_like(event.mask)
        mask[..., 40:50, 40:50] = lesion
        mask[..., 2, 3] = event.member < specks
        mask[..., 87, 86] = lesion and event.member < specks
        yield replace(event, mask=mask)


def test_the_image_below_is_the_uppermost_visible_one_by_its_contrast(viewer, results):
    frame = Frame.of_volume(volume())
    data = frame.to_display(np.full(SHAPE, 5.0, np.float32))
    for name, high in (("bright", 5.0), ("half", 10.0)):
        viewer.add_image(data, name=name, contrast_limits=(0, high), **frame.layer_attributes())
    go_to_slice(viewer, results.view, 0)  # no member marks anything there
    assert tiles_of(viewer, results.view)[0].max() == 128
    viewer.layers["half"].visible = False
    assert tiles_of(viewer, results.view)[0].max() == 255


def test_members_that_are_hidden_and_slices_not_asked_for_have_no_tiles(viewer, results):
    results.summarise(Summary(), first=2)
    assert sorted(tiles_of(viewer, results.view)) == [0, 1]
    play(results, events_of(members=2, slices="2:3"))
    go_to_slice(viewer, results.view, 4)
    assert tiles_of(viewer, results.view) == {}


def test_a_click_tells_the_member_and_tiles_wrap_to_the_width(qtbot):
    wall = TileGrid()
    qtbot.addWidget(wall)
    wall.resize(250, 400)
    wall.set_tiles(dict.fromkeys((0, 2, 5, 7), GREY), pixel_mm=(1.0, 1.0))
    places = wall.tiles()
    assert places[0].left() == places[7].left() == 0
    assert places[7].top() > places[5].top() == places[0].top()
    assert wall.sizeHint().height() > places[7].bottom()
    with qtbot.waitSignal(wall.picked) as told:
        qtbot.mouseClick(wall, Qt.MouseButton.LeftButton, pos=places[5].center())
    assert told.args == [5]
    wall.resize(330, 400)
    assert {place.top() for place in wall.tiles().values()} == {0}


def test_a_wall_has_so_many_tiles_and_no_more(qtbot):
    wall = TileGrid()
    qtbot.addWidget(wall)
    wall.set_tiles(dict.fromkeys(range(MOST_TILES + 5), GREY), pixel_mm=(1.0, 1.0))
    assert list(wall.tiles()) == list(range(MOST_TILES))


def test_the_wall_follows_the_slice_while_it_is_unfolded_and_rests_while_folded(viewer, results, qtbot, monkeypatch):
    box = ExploreBox()
    qtbot.addWidget(box)
    follower = MemberTiles(viewer, results, box.wall)
    box.resize(320, 900)
    box.show()
    drawn = []
    monkeypatch.setattr(box.wall, "set_tiles", lambda tiles, **_: drawn.append(tiles))
    go_to_slice(viewer, results.view, 1)
    qtbot.wait(200)
    assert drawn == []
    fold = box.findChild(QCollapsible, "diffseg_wall_fold")
    fold.expand(animate=False)
    assert len(drawn) == 1
    go_to_slice(viewer, results.view, 2)
    qtbot.waitUntil(lambda: len(drawn) == 2, timeout=60_000)
    assert [is_green(tiles[0]).any() for tiles in drawn] == [True, True]
    fold.collapse(animate=False)
    go_to_slice(viewer, results.view, 3)
    qtbot.wait(200)
    assert len(drawn) == 2
    follower.close()


def test_without_a_run_the_wall_says_what_to_do(viewer, qtbot):
    wall = TileGrid()
    qtbot.addWidget(wall)
    follower = MemberTiles(viewer, ResultLayers(viewer), wall)
    follower.draw()
    assert (wall.nothing, wall.tiles()) == ("Run first.", {})
    follower.close()
