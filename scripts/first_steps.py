"""From an empty viewer to an exported mask of the sample by mouse clicks; takes the pictures of docs/first_steps.md.

Under a virtual screen, from the repository's root:

    xvfb-run -a -s "-screen 0 1400x900x24" python scripts/first_steps.py docs/images
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QMenu, QPushButton, QWidget

from napari_diffseg.plugin.export_dialog import ExportDialog
from napari_diffseg.plugin.task import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

PANEL = "Diffusion ensemble (napari-diffseg)"
_SETTLE_SECONDS = 1.0
_DIALOG_SECONDS = 60.0


class FirstSteps:
    """Clicks its way through a viewer and counts.

    Parameters
    ----------
    viewer : Viewer
        Empty, its window shown.
    look : callable
        Called with the name of each stage once it is on the screen.
    seconds : float
        The longest that anything may take.
    """

    def __init__(self, viewer: Any, look: Callable[[str], None], *, seconds: float = 3600.0) -> None:
        self.viewer, self.look, self.seconds = viewer, look, seconds
        self.clicks = 0
        self._window = viewer.window._qt_window  # noqa: SLF001, napari has no public name for it

    def go(self) -> None:
        """All of it; raises TimeoutError where something does not come."""
        self._open_panel()
        panel = self._panel()
        self.look("panel")
        self._press(panel, "diffseg_open_sample")
        run: QPushButton = panel.findChild(QPushButton, "diffseg_run")
        self._wait(run.isEnabled, "Run")
        self.look("sample")
        self._press(panel, "diffseg_run")
        session, bar = panel.session, panel.run_box.bar
        self._wait(lambda: bar.value() >= bar.maximum() // 4 or _idle(session), "the run")
        self.look("running")
        self._wait(lambda: _idle(session), "the end of the run")
        self.look("done")
        QTimer.singleShot(0, self._save)  # the dialog has a loop of its own
        self._press(panel, "diffseg_export")
        self._wait(lambda: _idle(session), "the export")
        self.look("exported")

    def _open_panel(self) -> None:
        bar = self._window.menuBar()
        menu: QMenu = self.viewer.window.plugins_menu
        self._click(bar, bar.actionGeometry(menu.menuAction()).center())
        self._wait(menu.isVisible, "the menu")
        action = next(action for action in menu.actions() if action.text() == PANEL)
        self._click(menu, menu.actionGeometry(action).center())

    def _panel(self) -> Any:
        window = self._window
        self._wait(lambda: window.findChild(QWidget, "diffseg_panel") is not None, "the panel")
        return window.findChild(QWidget, "diffseg_panel")

    def _save(self) -> None:
        deadline = time.monotonic() + _DIALOG_SECONDS
        while not isinstance(dialog := QApplication.activeModalWidget(), ExportDialog):
            if time.monotonic() > deadline:
                raise TimeoutError("The export dialog did not come.")
            QApplication.processEvents()
        self.look("export")
        button = dialog.buttons.button(QDialogButtonBox.StandardButton.Save)
        assert button is not None  # the dialog's constructor asked for it
        self._click(button, button.rect().center())

    def _press(self, panel: Any, name: str) -> None:
        button = panel.findChild(QPushButton, name)
        self._wait(lambda: button.isVisible() and button.isEnabled(), name)
        self._click(button, button.rect().center())

    def _click(self, widget: QWidget, at: QPoint) -> None:
        self.clicks += 1
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"Waited {self.seconds:.0f} s for {what}.")
            QApplication.processEvents()
            time.sleep(0.01)


def _idle(session: Any) -> bool:
    return session.phase is Phase.IDLE


def _take_pictures(folder: Path) -> None:
    import napari

    from napari_diffseg.plugin import panel, remembered
    from napari_diffseg.plugin.demo import _go_to_largest
    from napari_diffseg.plugin.session import Session
    from napari_diffseg.plugin.worker import end_all, launch

    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        Path.home = classmethod(lambda cls: home)  # type: ignore[assignment, method-assign]
        remembered.settings_path = panel.settings_path = lambda: home / "panel.ini"  # type: ignore[attr-defined]
        session = Session(launch=launch, runs_folder=home / "runs")
        panel._new_session = lambda: session  # noqa: SLF001, the panel is made by the menu
        viewer = napari.Viewer(title="napari")
        viewer.window.set_geometry(0, 0, 1280, 860)

        def look(stage: str) -> None:
            if stage == "done":
                _go_to_largest(viewer)
            deadline = time.monotonic() + _SETTLE_SECONDS
            while time.monotonic() < deadline:
                QApplication.processEvents()
                time.sleep(0.02)
            screen = QApplication.primaryScreen()
            assert screen is not None  # there is a window on it
            screen.grabWindow(0, 0, 0, 1280, 860).save(str(folder / f"first_steps_{stage}.png"))
            print(f"{stage}: {time.monotonic() - began:.0f} s")

        began = time.monotonic()
        walk = FirstSteps(viewer, look)
        walk.go()
        print(f"{walk.clicks} clicks; {sorted(path.name for path in home.glob('*.nii.gz'))}")
        session.close()
        viewer.close()
        end_all()


if __name__ == "__main__":
    _take_pictures(Path(sys.argv[1]))
