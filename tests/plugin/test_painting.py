"""What keeps the window from standing still: the canvas's painting put off, a colour bar drawn ahead."""

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication

from napari_diffseg.plugin.canvas.color_bar_warmup import LETTERS, ColorBarWarmup
from napari_diffseg.plugin.canvas.gl_context import canvas_of
from napari_diffseg.plugin.canvas.painting import Painting


def colour_bars(viewer):
    from napari._vispy.visuals.colorbar import ColorBar

    return [child for child in viewer.window._qt_viewer.canvas.view.children if isinstance(child, ColorBar)]


def raising(error):
    def fail(*_args, **_kwargs):
        raise error

    return fail


def test_the_canvas_is_painted_in_the_turn_after(viewer, qtbot):
    parent, canvas = QObject(), canvas_of(viewer).native
    painting = Painting(viewer, parent)
    with painting.put_off():
        canvas.update()
    assert painting.is_put_off
    qtbot.waitUntil(lambda: not painting.is_put_off, timeout=5000)


def test_what_was_seen_last_stays_in_sight_while_painting_is_put_off(viewer, qtbot):
    parent, canvas = QObject(), canvas_of(viewer).native
    viewer.add_image(np.full((8, 8), 200, np.uint8), contrast_limits=(0, 255))
    qtbot.waitUntil(lambda: seen_in(canvas) == 200, timeout=20000)
    painting = Painting(viewer, parent)
    with painting.put_off():
        viewer.layers[0].data = np.full((8, 8), 100, np.uint8)
        viewer.window._qt_window.repaint()
        assert seen_in(canvas) == 200
    qtbot.waitUntil(lambda: seen_in(canvas) == 100, timeout=20000)


def seen_in(canvas):
    """The grey in the middle of the canvas, as it is on the screen."""
    middle = canvas.mapToGlobal(canvas.rect().center())
    return QApplication.primaryScreen().grabWindow(0).toImage().pixelColor(middle).red()


def test_what_fails_while_painting_is_put_off_leaves_a_canvas_that_is_painted(viewer, qtbot):
    parent = QObject()
    painting = Painting(viewer, parent)
    with pytest.raises(ValueError, match="no layer"), painting.put_off():
        raise ValueError("no layer")
    qtbot.waitUntil(lambda: not painting.is_put_off, timeout=5000)


def test_a_panel_that_closes_leaves_a_canvas_that_is_painted(panel, viewer):
    with panel._painting.put_off():
        assert panel._painting.is_put_off
        viewer.window.remove_dock_widget(panel)
        assert not panel._painting.is_put_off


def test_a_viewer_without_a_window_has_nothing_to_put_off_or_draw_ahead(qapp):
    parent = QObject()
    with Painting(ViewerModel(), parent).put_off():
        pass
    assert not ColorBarWarmup(ViewerModel(), parent).is_under_way


def test_the_letters_of_a_colour_bar_are_drawn_ahead_once_and_nobody_sees_the_bar(viewer, qtbot):
    parent = QObject()
    ahead = ColorBarWarmup(viewer, parent)
    qtbot.waitUntil(lambda: not ahead.is_under_way, timeout=20000)
    bars = colour_bars(viewer)
    assert [bar.visible for bar in bars] == [False]
    assert set(LETTERS) <= set(bars[0].ticks._text._font._glyphs)
    assert not ColorBarWarmup(viewer, parent).is_under_way


@pytest.mark.parametrize("error", [RuntimeError("no context"), OSError("no font"), KeyError("gl"), TypeError("bar")])
def test_what_a_graphics_driver_refuses_while_drawing_ahead_reaches_nobody(viewer, qtbot, monkeypatch, error):
    from napari._vispy.visuals import colorbar

    parent = QObject()
    monkeypatch.setattr(colorbar, "ColorBar", raising(error))
    ahead = ColorBarWarmup(viewer, parent)
    qtbot.waitUntil(lambda: not ahead.is_under_way, timeout=20000)


@pytest.mark.parametrize("error", [RuntimeError("no bar"), AttributeError("gui")])
def test_what_else_is_done_ahead_may_fail_and_the_bar_is_drawn(viewer, qtbot, caplog, error):
    parent = QObject()
    with caplog.at_level("INFO", logger="napari_diffseg"):
        ahead = ColorBarWarmup(viewer, parent, first=raising(error))
        qtbot.waitUntil(lambda: not ahead.is_under_way, timeout=20000)
    assert len(colour_bars(viewer)) == 1
    assert not [record for record in caplog.records if "colour bar" in record.message]
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


def test_what_is_done_ahead_has_a_turn_of_its_own(viewer, qtbot):
    parent, seen = QObject(), []
    ahead = ColorBarWarmup(viewer, parent, first=lambda: seen.append(len(colour_bars(viewer))))
    qtbot.waitUntil(lambda: bool(seen), timeout=20000)
    assert seen == [0]
    qtbot.waitUntil(lambda: not ahead.is_under_way, timeout=20000)
    assert len(seen) == 1


def test_a_panel_that_closes_while_something_is_done_ahead_ends_the_drawing(viewer, qtbot):
    parent, made = QObject(), []
    made.append(
        ColorBarWarmup(viewer, parent, first=lambda: made[0].stop())
    )  # napari lets all happen while it makes a bar
    qtbot.wait(1000)
    assert not made[0].is_under_way
    assert not colour_bars(viewer)
