"""From an empty viewer to an exported mask of the sample by mouse clicks; takes the pictures of docs/first_steps.md.

Under a virtual screen, from the repository's root:

    xvfb-run -a -s "-screen 0 1400x900x24" python scripts/first_steps.py docs/images
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clicking import Hand, newcomer, settle
from qtpy.QtWidgets import QApplication, QDialogButtonBox

from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.plugin.widgets.export_dialog import ExportDialog

if TYPE_CHECKING:
    from collections.abc import Callable

_WINDOW = (1280, 860)


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
        self.look = look
        self._hand = Hand(viewer, seconds=seconds)

    @property
    def clicks(self) -> int:
        """How many there were."""
        return self._hand.clicks

    def go(self) -> None:
        """All of it; raises TimeoutError where something does not come."""
        hand, look = self._hand, self.look
        panel = hand.open_panel()
        look("panel")
        hand.press(panel, "open_sample")
        hand.wait(panel.run_box.run.isEnabled, "Run")
        look("sample")
        hand.press(panel, "run")
        session, bar = panel.session, panel.run_box.bar
        hand.wait(lambda: bar.value() >= bar.maximum() // 4 or session.phase is Phase.IDLE, "the run")
        look("running")
        hand.wait_until_idle(session, "the end of the run")
        look("done")
        hand.when_dialog(ExportDialog, self._save)
        hand.press(panel, "export")
        hand.wait_until_idle(session, "the export")
        look("exported")

    def _save(self, dialog: ExportDialog) -> None:
        self.look("export")
        button = dialog.buttons.button(QDialogButtonBox.StandardButton.Save)
        assert button is not None  # the dialog's constructor asked for it
        self._hand.click(button)


def _take_pictures(folder: Path) -> None:
    from napari_diffseg.plugin.demo import _go_to_largest

    folder.mkdir(parents=True, exist_ok=True)
    width, height = _WINDOW
    with newcomer(width=width, height=height) as (viewer, _, home):

        def look(stage: str) -> None:
            if stage == "done":
                _go_to_largest(viewer)
            settle()
            screen = QApplication.primaryScreen()
            assert screen is not None  # there is a window on it
            screen.grabWindow(width=width, height=height).save(str(folder / f"first_steps_{stage}.png"))
            print(f"{stage}: {time.monotonic() - began:.0f} s")

        began = time.monotonic()
        walk = FirstSteps(viewer, look)
        walk.go()
        print(f"{walk.clicks} clicks; {sorted(path.name for path in home.glob('*.nii.gz'))}")


if __name__ == "__main__":
    _take_pictures(Path(sys.argv[1]))
