"""A hand that clicks and types in a real viewer, for the scripts that take the pictures of the docs."""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMenu, QPushButton, QScrollArea, QWidget

from napari_diffseg.plugin.session.task import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PANEL = "Diffusion ensemble (napari-diffseg)"
_DIALOG_SECONDS = 60.0
_BETWEEN_LOOKS = 0.01
_LOOK_MS = 20


class Hand:
    """Clicks, types, waits, and counts the clicks.

    Parameters
    ----------
    viewer : Viewer
        Its window is shown.
    seconds : float
        The longest that anything may take.
    """

    def __init__(self, viewer: Any, *, seconds: float = 3600.0) -> None:
        self.viewer, self.seconds = viewer, seconds
        self.window = viewer.window._qt_window  # noqa: SLF001, napari has no public name for it
        self.clicks = 0

    def open_panel(self) -> Any:
        """Open the plugin's panel from the menu; the panel."""
        bar = self.window.menuBar()
        menu: QMenu = self.viewer.window.plugins_menu
        self.click(bar, bar.actionGeometry(menu.menuAction()).center())
        self.wait(menu.isVisible, "the menu")
        action = next(action for action in menu.actions() if action.text() == PANEL)
        self.click(menu, menu.actionGeometry(action).center())
        self.wait(lambda: self.window.findChild(QWidget, "diffseg_panel") is not None, "the panel")
        return self.window.findChild(QWidget, "diffseg_panel")

    def press(self, panel: QWidget, name: str) -> None:
        """Click a button of the panel once it can be pressed."""
        button = panel.findChild(QPushButton, f"diffseg_{name}")
        assert button is not None, name
        self.wait(lambda: button.isVisible() and button.isEnabled(), name)
        self.click(button)

    def click(self, widget: QWidget, at: QPoint | None = None) -> None:
        """Scroll to a widget and click it, in its middle unless told where."""
        self.clicks += 1
        _scroll_to(widget)
        place = widget.rect().center() if at is None else at
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)

    def when_dialog(self, kind: type[QWidget], act: Callable[[Any], None]) -> None:
        """Do something with the next modal window of a kind: it has a loop of its own, so this returns before."""
        deadline = time.monotonic() + _DIALOG_SECONDS

        def meet() -> None:
            dialog = QApplication.activeModalWidget()
            if isinstance(dialog, kind):
                act(dialog)
            elif time.monotonic() > deadline:
                raise TimeoutError(f"No {kind.__name__} came within {_DIALOG_SECONDS:.0f} s.")
            else:
                QTimer.singleShot(_LOOK_MS, meet)

        QTimer.singleShot(0, meet)

    def wait_until_idle(self, session: Any, what: str) -> None:
        """Wait until nothing goes on."""
        self.wait(lambda: session.phase is Phase.IDLE, what)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Let Qt work until a condition holds; raises TimeoutError where it does not come to hold."""
        deadline = time.monotonic() + self.seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Waited {self.seconds:.0f} s for {what}.")
            QApplication.processEvents()
            time.sleep(_BETWEEN_LOOKS)


def _scroll_to(widget: QWidget) -> None:
    """Bring a widget in sight, as a person would before clicking."""
    around = widget.parentWidget()
    while around is not None:
        if isinstance(around, QScrollArea):
            QApplication.processEvents()  # what has just come has its place only now
            around.ensureWidgetVisible(widget)
        around = around.parentWidget()


def settle(seconds: float = 1.0) -> None:
    """Let everything be painted."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        QApplication.processEvents()
        time.sleep(_BETWEEN_LOOKS)


@contextmanager
def newcomer(*, width: int, height: int) -> Iterator[tuple[Any, Any, Path]]:
    """A viewer, the session that its panel will have, and an empty home: nothing of this machine's user is seen.

    Parameters
    ----------
    width, height : int
        Of the window, in pixels.
    """
    import napari

    from napari_diffseg.plugin.background.worker import end_all, launch
    from napari_diffseg.plugin.panel import panel, remembered
    from napari_diffseg.plugin.session.session import Session

    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        Path.home = classmethod(lambda cls: home)  # type: ignore[assignment, method-assign]
        remembered.settings_path = panel.settings_path = lambda: home / "panel.ini"  # type: ignore[attr-defined]
        session = Session(launch=launch, runs_folder=home / "runs")
        panel._new_session = lambda: session  # noqa: SLF001, the panel is made by the menu
        viewer = napari.Viewer(title="napari")
        viewer.window.set_geometry(0, 0, width, height)
        try:
            yield viewer, session, home
        finally:
            session.close()
            viewer.close()
            end_all()
