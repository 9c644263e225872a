"""Draws a colour bar out of sight before the first run needs one, a part at a time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

from napari_diffseg.plugin.canvas.add_layer import bare
from napari_diffseg.plugin.canvas.gl_context import canvas_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.components import ViewerModel

logger = logging.getLogger(__name__)

LETTERS: Final = "0123456789.|abcdefghilmnoprstuvxyU()"
"""What the names of our maps and the numbers beside their colours are written in."""
_FIRST_MS: Final = 400
_REST_MS: Final = 30
_LETTERS_A_TURN: Final = 3
_FAR_AWAY: Final = (-2000.0, -2000.0)

_drawn: WeakSet[Any] = WeakSet()


class ColorBarWarmup(QObject):
    """Has the programs of a colour bar compiled, and its letters drawn, once for each canvas.

    Without it, the first run of a window on a machine without a graphics card stood still for a second, while the
    programs of the bar were compiled. With it, the longest gap of a first run is 0.25 s (`first run of the window` in
    `benchmarks/results/viewer.json`, by `python benchmarks/viewer.py`). napari has no public name for what a bar is
    made of: where it is made of something else, this does nothing, and the first bar takes its time.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Whose canvas it is; one without a window has none.
    parent : QObject
        With which it ends.
    first : callable, optional
        Something else that is to be done ahead, in a turn of its own.
    """

    def __init__(self, viewer: ViewerModel, parent: QObject, *, first: Callable[[], None] = lambda: None) -> None:
        super().__init__(parent)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._turn)
        self._canvas = canvas_of(viewer)
        self._first: Callable[[], None] | None = first
        self._steps: Iterator[None] = iter(())
        inner: Any = bare(viewer)
        if self._canvas is not None and inner not in _drawn:
            _drawn.add(inner)
            self._steps = _steps(inner.window._qt_viewer.canvas)  # noqa: SLF001 (napari gives no other way)
            self._timer.start(_FIRST_MS)

    @property
    def is_under_way(self) -> bool:
        """Whether something is left to draw."""
        return self._timer.isActive()

    def stop(self) -> None:
        """Leave undrawn what is undrawn."""
        self._first, self._steps = None, iter(())
        self._timer.stop()

    def _turn(self) -> None:
        if not isalive(self._canvas.native):
            return
        goes_on = self._draw_part() if self._first is None else self._do_first(self._first)
        if goes_on:
            self._timer.start(_REST_MS)

    def _do_first(self, first: Callable[[], None]) -> bool:
        """Do the other thing; whether somebody still wants a bar, as anything can have happened meanwhile."""
        self._first = None
        drawing = self._steps
        try:
            first()
        except Exception as err:  # whatever it is, it is done again, and said, when somebody needs it
            logger.info("What else was to be done ahead is not.", exc_info=err)
        return self._steps is drawing

    def _draw_part(self) -> bool:
        """Draw a part of the bar; whether another may be left."""
        try:
            self._canvas.set_current()
            next(self._steps)
        except StopIteration:
            return False
        except Exception as err:  # napari's inner parts, VisPy, a graphics driver: the first bar will say what is wrong
            logger.info("No colour bar can be drawn ahead here: the first one takes its time.", exc_info=err)
            return False
        return True


def _steps(canvas: Any) -> Iterator[None]:
    """Draw a part of a bar before each yield. The bar stays, unseen, until the canvas goes.

    VisPy would delete its textures whenever Python happens to collect it, in whatever OpenGL context is current then.
    """
    from napari._vispy.utils.gl import BLENDING_MODES
    from napari._vispy.visuals.colorbar import ColorBar
    from vispy.visuals.transforms import STTransform

    bar = ColorBar(font_info=canvas._font_info)  # noqa: SLF001
    bar.transform = STTransform(translate=_FAR_AWAY)
    lines_and_text = list(bar.ticks._subvisuals)  # noqa: SLF001
    for part in (bar.img, bar.box, bar.ticks, *lines_and_text):
        part.visible = False
    bar.parent = canvas.view
    bar.set_gl_state(**BLENDING_MODES["translucent_no_depth"])
    bar.set_size((25, 150))
    yield
    font = bar.ticks._text._font  # noqa: SLF001
    for start in range(0, len(LETTERS), _LETTERS_A_TURN):
        for letter in LETTERS[start : start + _LETTERS_A_TURN]:
            font[letter]  # a look makes it
        yield
    bar.set_ticks_and_get_text_size(tick_length=5, font_size=10, clim=(0.0, 0.25), color=(1.0, 1.0, 1.0, 1.0))
    bar.ticks.visible = True
    for part in (bar.img, bar.box, *lines_and_text):
        part.visible = True
        bar.update()
        yield
    bar.visible = False
