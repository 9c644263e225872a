"""What keeps the window from standing still: the canvas's painting put off, a colour bar drawn ahead."""

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QObject

from napari_diffseg.plugin.drawn_ahead import LETTERS, DrawnAhead
from napari_diffseg.plugin.gl_context import canvas_of
from napari_diffseg.plugin.painting import Painting


def test_the_canvas_is_painted_in_the_turn_after(viewer, qtbot):
    parent, canvas = QObject(), canvas_of(viewer).native
    painting = Painting(viewer, parent)
    with painting.put_off():
        assert not canvas.updatesEnabled()
    assert not canvas.updatesEnabled()
    qtbot.waitUntil(canvas.updatesEnabled, timeout=5000)


def test_what_fails_while_painting_is_put_off_leaves_a_canvas_that_is_painted(viewer, qtbot):
    parent, canvas = QObject(), canvas_of(viewer).native
    painting = Painting(viewer, parent)
    with pytest.raises(ValueError, match="no layer"), painting.put_off():
        raise ValueError("no layer")
    qtbot.waitUntil(canvas.updatesEnabled, timeout=5000)


def test_a_panel_that_closes_leaves_a_canvas_that_is_painted(viewer):
    parent = QObject()
    painting = Painting(viewer, parent)
    with painting.put_off():
        pass
    painting.resume()
    assert canvas_of(viewer).native.updatesEnabled()


def test_a_viewer_without_a_window_has_nothing_to_put_off_or_draw_ahead(qapp):
    parent = QObject()
    with Painting(ViewerModel(), parent).put_off():
        pass
    assert not DrawnAhead(ViewerModel(), parent).is_under_way


def test_the_letters_of_a_colour_bar_are_drawn_ahead_once_and_nobody_sees_the_bar(viewer, qtbot):
    from napari._vispy.visuals.colorbar import ColorBar

    parent = QObject()
    ahead = DrawnAhead(viewer, parent)
    qtbot.waitUntil(lambda: not ahead.is_under_way, timeout=20000)
    canvas = viewer.window._qt_viewer.canvas
    bars = [child for child in canvas.view.children if isinstance(child, ColorBar)]
    assert [bar.visible for bar in bars] == [False]
    assert set(LETTERS) <= set(bars[0].ticks._text._font._glyphs)
    assert not DrawnAhead(viewer, parent).is_under_way
