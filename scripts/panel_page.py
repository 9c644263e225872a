"""Takes the pictures of docs/panel.md: the panel from top to bottom, on phantoms, by clicks in a real viewer.

Under a virtual screen, from the repository's root; some minutes on two processor cores:

    xvfb-run -a -s "-screen 0 1600x1500x24" python scripts/panel_page.py docs/images/panel

With --theme light, --panel-width 320, or QT_SCALE_FACTOR=2 and a screen twice as large, the same can be looked at as
others see it. It complains where the panel has to be scrolled sideways.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from camera import Camera, place_of, seen
from clicking import Hand, newcomer, settle
from nibabel.nifti1 import Nifti1Image
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QCheckBox, QComboBox, QDialogButtonBox, QDockWidget, QScrollArea, QSpinBox, QWidget

from napari_diffseg.cli.phantom import phantom
from napari_diffseg.imaging.demo_case import demo_case_folder
from napari_diffseg.plugin.widgets.export_dialog import ExportDialog

if TYPE_CHECKING:
    from qtpy.QtGui import QPixmap
    from superqt import QCollapsible

MEMBERS: Final = 6
SLICES: Final = "58:68"
PHANTOMS: Final[tuple[Literal["glioma", "lowgrade", "ms"], ...]] = ("glioma", "lowgrade", "ms")
"""Kinds of the cases in a folder of several."""
HERE: Final = 63
"""The slice on screen."""
_WIDTH, _LOW, _TALL = 1180, 560, 1400
"""Of the window: low for pictures of the canvas, tall for those of the panel."""
_MARGIN: Final = 5
_MOST: Final = 342
"""Of the checkpoint's card, which goes on."""
_CLOSER: Final = 1.5
_FILL: Final = 0.7
_PATIENCE: Final = 300.0
"""Seconds for anything to come, also on a busy machine."""
_NO_MODIFIER: Final = Qt.KeyboardModifier.NoModifier
_LEFT: Final = Qt.MouseButton.LeftButton


class PanelPage:
    """Goes through the panel and takes a picture of each part.

    Parameters
    ----------
    viewer : Viewer
        Empty, its window shown.
    camera : Camera
        Takes the pictures.
    panel_width : int
        Of the panel, in pixels.
    """

    def __init__(self, viewer: Any, camera: Camera, *, panel_width: int) -> None:
        self.viewer, self.camera, self.hand = viewer, camera, Hand(viewer, seconds=_PATIENCE)
        self.panel: Any = self.hand.open_panel()
        self.session = self.panel.session
        self.complaints: list[str] = []
        self._canvas: QWidget = viewer.window._qt_viewer.canvas.native  # noqa: SLF001, napari has no public name for it
        self._scroll: Any = self.panel.findChild(QScrollArea)
        dock = next(dock for dock in self.hand.window.findChildren(QDockWidget) if dock.isAncestorOf(self.panel))
        self.hand.window.resizeDocks([dock], [panel_width], Qt.Orientation.Horizontal)

    def go(self, home: Path) -> None:
        """All of it; `home` is a folder for what is written on the way."""
        began = time.monotonic()
        for part in (
            self._start,
            self._case,
            self._settings,
            self._box,
            self._run,
            self._result,
            self._members,
            self._agreement,
            self._lesions,
            self._once_more,
            self._reference,
            self._keep,
        ):
            part()
            print(f"{part.__name__[1:]}: {time.monotonic() - began:.0f} s", flush=True)
        self._resample(home)
        self._cases(home)
        print(f"cases: {time.monotonic() - began:.0f} s", flush=True)

    def _start(self) -> None:
        self._resize(_LOW)
        self._write("start", seen(place_of(self.panel)))

    def _case(self) -> None:
        panel = self.panel
        self.hand.press(panel, "open_sample")
        self.hand.wait(panel.run_box.run.isEnabled, "Run")
        self._write("case", self._boxes(panel.case))
        self._unfold("card")
        self._write("checkpoint", self._boxes(panel.checkpoint, most=_MOST))
        self._fold("card")
        self._resize(_LOW)
        self._only("flair")
        self._look_at_slice()
        self._write("sides", self._seen_canvas(), self._boxes(panel.case.sides.label, panel.case.sides.choice))

    def _settings(self) -> None:
        self._number("members", MEMBERS)
        self.hand.press(self.panel, "preset_10")
        self._choose("scope", "slices A:B")
        QTest.keyClicks(self._find("slices").line, SLICES)
        settle()
        self._write("settings", self._boxes(self.panel.settings))
        self._write("advanced", self._boxes(self._unfold("advanced")))
        self._fold("advanced")

    def _box(self) -> None:
        self._choose("scope", "drawn box")
        settle()
        self._resize(_LOW)
        middle = self._canvas.rect().center()
        places = [middle + QPoint(x, y) for x, y in ((-115, -75), (-80, -40), (-20, 20), (0, 65))]
        QTest.mousePress(self._canvas, _LEFT, _NO_MODIFIER, places[0])
        for place in places[1:]:
            QTest.mouseMove(self._canvas, place)
            settle(0.1)
        QTest.mouseRelease(self._canvas, _LEFT, _NO_MODIFIER, places[-1])
        self._write("box", self._seen_canvas(), self._boxes(self.panel.settings.scope, self.panel.settings.forecast))
        self._choose("scope", "slices A:B")
        self.viewer.layers.remove_selected()

    def _run(self) -> None:
        panel, bar = self.panel, self.panel.run_box.bar
        self._look_at_slice(closer=_CLOSER)
        self.hand.press(panel, "run")
        self.hand.wait(lambda: bar.value() > bar.maximum() // 20, "the live view")
        self._write("live", self._seen_canvas(), self._boxes(panel.run_box))
        self._wait_until_idle("the end of the run")
        self.hand.wait(lambda: not panel.results.is_behind, "the layers")
        settle(2.0)

    def _result(self) -> None:
        self._resize(_LOW)
        self._point_at_uncertainty()
        canvas = self._seen_canvas()
        parts = (self.panel.exploring.box.line, self.panel.results_box.buttons, self.panel.result)
        self._write("result", canvas, self._boxes(*parts))

    def _members(self) -> None:
        self._unfold("volume_fold")
        self.hand.press(self.panel, "member_medoid")
        self._write("volume", self._boxes(self._find("volume_fold")))
        self.hand.press(self.panel, "member_none")
        self._fold("volume_fold")
        self._write("wall", self._boxes(self._unfold("wall_fold")))
        self._fold("wall_fold")

    def _agreement(self) -> None:
        before = self._only("flair")
        self._tick("agreement")
        outlines = self._seen_canvas()
        self.viewer.dims.ndisplay = 3
        layers = self.viewer.layers
        self.hand.wait(lambda: any("surface" in layer.name for layer in layers), "the surfaces")
        layers["phantom_glioma flair"].visible = False
        settle(1.0)
        self._look_around(layers["diffseg | surface 50 %"])
        self._write("agreement", outlines, self._seen_canvas())
        self.viewer.dims.ndisplay = 2
        self._tick("agreement")
        for layer in before:
            layer.visible = True
        self._look_at_slice(closer=_CLOSER)

    def _lesions(self) -> None:
        for name in ("lesions", "convergence"):
            self._write(name, self._boxes(self._unfold(f"{name}_fold")))
            self._fold(f"{name}_fold")

    def _once_more(self) -> None:
        """What samples the slice again: its denoising, and what if."""
        self._unfold("denoising_fold")
        self.hand.press(self.panel, "record")
        self._wait_until_idle("the recording")
        slider = self._find("denoising_step")
        QTest.keyClick(slider, Qt.Key.Key_Home)
        QTest.keyClick(slider, Qt.Key.Key_Right)
        self._write("denoising", self._seen_canvas(), self._boxes(self._find("denoising_fold")))
        self._tick("decided")
        self._write("decided", self._seen_canvas(), self._boxes(self._find("denoising_fold")))
        self._fold("denoising_fold")
        self._only("flair", "| mask", "| uncertainty")
        self._unfold("what_if_fold")
        self._choose("what_if_modality", "flair")
        self.hand.press(self.panel, "what_if")
        self._wait_until_idle("what if")
        self._write("what_if", self._seen_canvas(), self._boxes(self._find("what_if_fold")))
        self._fold("what_if_fold")

    def _reference(self) -> None:
        self._only("flair", "| mask")
        self._unfold("reference_fold")
        self._tick("show_errors")
        settle()
        self._write("reference", self._seen_canvas(), self._boxes(self._find("reference_fold")))
        self._tick("show_errors")
        self._fold("reference_fold")

    def _keep(self) -> None:
        """What was run, what is exported of it, and how it is brought back."""
        self.hand.when_dialog(ExportDialog, self._save)
        self.hand.press(self.panel, "export")
        self._wait_until_idle("the export")
        self._number("members", 3)
        self.hand.press(self.panel, "preset_1")
        self._choose("scope", "this slice")
        self.hand.press(self.panel, "run")
        self._wait_until_idle("the second run")
        self._unfold("runs_fold")
        self._write("runs", self._boxes(self.panel.runs_box))
        button = self._find("reopen")
        self._boxes(button)
        menu = button.menu()
        menu.popup(button.mapToGlobal(QPoint(0, button.height())))
        settle()
        self._write("reopen", seen(place_of(menu)))
        menu.close()

    def _save(self, dialog: ExportDialog) -> None:
        for box in dialog.reports.values():
            box.setChecked(True)
        folder = dialog.folder.text()  # of this process: nobody's
        dialog.folder.setText("~/results")
        settle()
        self._write("export", seen(place_of(dialog)))
        dialog.folder.setText(folder)
        button = dialog.buttons.button(QDialogButtonBox.StandardButton.Save)
        assert button is not None  # the dialog's constructor asked for it
        self.hand.click(button)

    def _resample(self, home: Path) -> None:
        """Another image of the patient, opened in napari and chosen: on voxels twice as large."""
        fine = Nifti1Image.from_filename(next(demo_case_folder().glob("*_t2.nii.gz")))
        coarse = home / "phantom_glioma_coarse_t2.nii.gz"
        fine.slicer[::2, ::2, ::2].to_filename(coarse)
        self.viewer.open(coarse, plugin="napari-diffseg")  # the file dialog is the system's
        self._choose("layer_t2", "phantom_glioma_coarse t2")
        self.hand.wait(self.panel.resampling.row.isVisible, "the offer to resample")
        self._wait_until_idle("the coarse image")
        self._write("resample", self._boxes(self.panel.resampling.row, self.panel.run_box))

    def _cases(self, home: Path) -> None:
        """Three phantoms in a folder: the row that goes from one to the next, and a batch of them."""
        for seed, kind in enumerate(PHANTOMS, start=1):
            phantom(out=home / "phantoms", kind=kind, seed=seed, spacing_mm=1.5)
        self.panel.case.opened.emit([str(home / "phantoms")])  # the file dialog is the system's
        self.hand.wait(lambda: self.session.case_in_folder != "", "the cases")
        self._wait_until_idle("the first case")
        self.hand.wait(lambda: not self.panel.picking.looking.is_busy, "runs and references")
        self._number("members", 3)
        self.hand.press(self.panel, "preset_1")
        self._choose("scope", "slices A:B")
        self._write("cases", self._boxes(self.panel.case))
        self.hand.press(self.panel, "batch")
        window = self.panel.batching.window
        self.hand.click(window.start)
        self.hand.wait(lambda: not self.session.batch.is_going_on, "the batch")
        window.out.setText("~/phantoms_diffseg")  # of this process: nobody's
        settle()
        self._write("batch", seen(place_of(window)))
        window.close()

    def _write(self, name: str, *parts: QPixmap) -> None:
        self.camera.write(name, *parts)

    def _look_at_slice(self, *, closer: float = 1.0) -> None:
        self._resize(_LOW)
        self.viewer.reset_view()
        self.viewer.dims.set_point(0, self.viewer.layers[0].data_to_world((HERE, 0, 0))[0])
        self.viewer.scene.camera.zoom *= closer

    def _point_at_uncertainty(self) -> None:
        """Put the mouse on the voxel of the slice that the members differ on most."""
        layer = next(layer for layer in self.viewer.layers if layer.name.endswith("| uncertainty"))
        plane = layer.data[HERE]
        world = layer.data_to_world((HERE, *np.unravel_index(np.argmax(plane), plane.shape)))
        drawn = self.viewer.window._qt_viewer.canvas.view.scene.transform  # noqa: SLF001, as above
        x, y = drawn.map([world[2], world[1]])[:2]
        QTest.mouseMove(self._canvas, QPoint(round(x), round(y)))

    def _look_around(self, surface: Any) -> None:
        """Turn what is seen in 3-D, with a surface in the middle."""
        self._resize(_LOW)
        camera, corners = self.viewer.scene.camera, surface.extent.world
        camera.center = tuple(corners.mean(axis=0))
        camera.angles = (0, 25, 60)
        camera.zoom = _FILL * self._canvas.height() / (corners[1] - corners[0]).max()

    def _boxes(self, *widgets: QWidget, most: int = _TALL) -> QPixmap:
        """Parts of the panel that lie below one another, scrolled to and seen in a tall window, or the `most` of it."""
        self._resize(_TALL)
        inner = self._scroll.widget()
        if inner.isAncestorOf(widgets[0]):
            top = widgets[0].mapTo(inner, QPoint(0, 0)).y()
            self._scroll.verticalScrollBar().setValue(top - _MARGIN)
        settle(0.4)
        if self._scroll.horizontalScrollBar().maximum() > 0:
            self.complaints.append(f"The panel has to be scrolled sideways with {widgets[0].objectName()} in sight.")
        place = place_of(*widgets).adjusted(0, -_MARGIN, 0, _MARGIN)
        place.setHeight(min(place.height(), most))
        return seen(place & place_of(self.panel))

    def _seen_canvas(self) -> QPixmap:
        self._resize(_LOW)
        return seen(place_of(self._canvas))

    def _resize(self, height: int) -> None:
        if self.hand.window.height() != height:
            self.viewer.window.set_geometry(0, 0, _WIDTH, height)
            settle(0.6)
        settle(0.4)

    def _find(self, name: str, kind: type[QWidget] = QWidget) -> Any:
        found = self.panel.findChild(kind, f"diffseg_{name}")
        assert found is not None, name
        return found

    def _choose(self, name: str, text: str) -> None:
        """Type the first word of a choice into a combo box; a space would open it."""
        box = self._find(name, QComboBox)
        QTest.keyClicks(box, text.split()[0])
        assert box.currentText() == text, (name, box.currentText())

    def _number(self, name: str, value: int) -> None:
        box = self._find(name).findChild(QSpinBox)
        box.selectAll()
        QTest.keyClicks(box, str(value))
        QTest.keyClick(box, Qt.Key.Key_Return)
        box.lineEdit().deselect()

    def _tick(self, name: str) -> None:
        """Tick a box, or take its tick away."""
        box = self._find(name, QCheckBox)
        before = box.isChecked()
        self.hand.click(box, QPoint(_MARGIN, box.height() // 2))
        assert box.isChecked() is not before, name
        settle(0.5)

    def _unfold(self, name: str) -> QWidget:
        fold: QCollapsible = self._find(name)
        if not fold.isExpanded():
            self._fold(name)
        settle(0.3)
        return fold

    def _fold(self, name: str) -> None:
        self.hand.click(self._find(name).toggleButton())

    def _only(self, *endings: str) -> list[Any]:
        """Leave only layers in sight whose names end so; those that were in sight before."""
        before = [layer for layer in self.viewer.layers if layer.visible]
        for layer in self.viewer.layers:
            layer.visible = layer.name.endswith(endings)
        return before

    def _wait_until_idle(self, what: str) -> None:
        self.hand.wait_until_idle(self.session, what)
        settle(1.0)


def main() -> int:
    """Take the pictures; the number of complaints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="gets the pictures")
    parser.add_argument("--theme", default="dark", choices=("dark", "light"))
    parser.add_argument("--panel-width", type=int, default=380, help="in pixels, 320 at least")
    options = parser.parse_args()
    with newcomer(width=_WIDTH, height=_TALL) as (viewer, _, home):
        viewer.theme = options.theme
        page = PanelPage(viewer, Camera(options.folder), panel_width=options.panel_width)
        page.go(home)
        print(*page.complaints, sep="\n")
        return len(page.complaints)


if __name__ == "__main__":
    sys.exit(main())
