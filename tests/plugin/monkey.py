"""A user without a plan: random, seeded actions on real viewers with panels."""

from __future__ import annotations

import contextlib
import json
import random
import time
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QLineEdit,
    QMenu,
    QPushButton,
    QSlider,
    QSpinBox,
    QTableWidget,
    QWidget,
)

from napari_diffseg.errors import RunFailed
from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.session.session import Session
from plugin_fakes import MODALITIES, FakeLoader, FakeSegmenter, write_images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.viewer import Viewer

    from napari_diffseg.recipe import Recipe

LONGEST_S = 30.0
"""An action that takes longer counts as a hang; machines are busy, so it says nothing of speed."""

_MOST = 8
"""Members, timesteps and all else that can be counted stay small, so that runs end."""
_KEYS = (Qt.Key.Key_U, Qt.Key.Key_N)


class Hang(AssertionError):
    """An action, or the end, took too long."""


class Monkey:
    """Acts on one or two viewers, and remembers what it did.

    Parameters
    ----------
    seed : int
        Decides every action; how far runs have come at each is up to the machine.
    make_viewer : callable
        Opens a viewer.
    recipe : Recipe
        Of the checkpoint.
    folder : Path
        For cases, runs and exports.
    """

    def __init__(self, seed: int, make_viewer: Callable[[], Viewer], *, recipe: Recipe, folder: Path) -> None:
        self._rng = random.Random(seed)
        self._make_viewer, self._recipe, self._folder = make_viewer, recipe, folder
        self._viewers: list[Viewer] = []
        self._panels: dict[int, DiffsegPanel] = {}
        self._opened = 0
        self.log: list[str] = []
        self.cases = [
            write_images(folder / "case_1"),
            write_images(folder / "case_2", shape=(10, 9, 4), case_id="case_2"),
            write_images(folder / "odd", case_id="odd", modalities=MODALITIES[:2]),
        ]
        self.many = folder / "many"
        for k in range(1, 4):
            write_images(self.many / f"p{k}", shape=(8, 7 + k, 3), case_id=f"p{k}")
        write_images(self.many / "p4", case_id="p4", modalities=MODALITIES[:1])  # cannot be sampled
        self._actions: tuple[tuple[int, Callable[[], str | None]], ...] = (
            (8, self._run),
            (4, self._cancel),
            (20, self._poke),
            (5, self._open_case),
            (4, self._next_case),
            (2, self._open_folder),
            (6, self._pick_case),
            (3, self._start_batch),
            (2, self._use_batch),
            (5, self._paint),
            (3, self._choose_checkpoint),
            (6, self._scroll),
            (3, self._turn_dimensions),
            (4, self._press_key),
            (5, self._remove_layers),
            (2, self._rename_layer),
            (4, self._show_or_hide_layer),
            (3, self._move_layer),
            (2, self._select_layer),
            (2, self._add_foreign_layer),
            (2, self._draw_box),
            (2, self._use_menu),
            (4, self._wait),
            (1, self._second_viewer),
            (1, self._close_dock),
            (1, self._close_viewer),
        )

    def act(self) -> None:
        """Do something, anywhere, and let the window have its turn.

        Raises
        ------
        Hang
            If it takes too long.
        """
        if not self._viewers:
            self._open_viewer()
        weights, actions = zip(*self._actions, strict=True)
        [action] = self._rng.choices(actions, weights)
        began = time.monotonic()
        self.log.append(f"{action.__name__} begins")
        self.log[-1] = f"{action.__name__}: {action()}"
        self.check()
        self.settle(self._rng.choice((0.0, 0.0, 0.01, 0.05)))
        if time.monotonic() - began > LONGEST_S:
            raise Hang(f"{self.log[-1]} took {time.monotonic() - began:.0f} s.")

    def finish(self) -> None:
        """Close everything, as a user who has had enough."""
        while self._viewers:
            self._close_viewer()
        self.settle(0.1)

    def settle(self, seconds: float) -> None:
        """Let the window have its turns for so long."""
        end = time.monotonic() + seconds
        while True:
            QApplication.processEvents()
            if time.monotonic() >= end:
                return
            time.sleep(0.002)

    def _open_viewer(self) -> None:
        viewer = self._make_viewer()
        viewer.window.resize(900, 600)
        self._viewers.append(viewer)
        self._add_panel(viewer)

    def _add_panel(self, viewer: Viewer) -> None:
        pause = self._rng.choice((0.0, 0.001, 0.01))
        segmenter = FakeSegmenter(self._recipe, pause=pause)
        if self._rng.random() < 0.2:
            segmenter.fail_at, segmenter.error = self._rng.randrange(30), RunFailed("The device is gone: try again.")
        runs = self._folder / "runs"
        session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=runs)
        panel = DiffsegPanel(viewer, session=session)
        self._dock(viewer, panel)
        panel.case.opened.emit([str(self.cases[0])])
        panel.checkpoint.choose("demo")

    def _dock(self, viewer: Viewer, panel: DiffsegPanel) -> None:
        viewer.window.add_dock_widget(panel, name=f"Diffusion ensemble {self._opened}", area="right")
        self._opened += 1
        self._panels[id(viewer)] = panel

    def _any_viewer(self) -> Viewer:
        return self._rng.choice(self._viewers)

    def _any_panel(self) -> DiffsegPanel | None:
        there = [self._panels[id(viewer)] for viewer in self._viewers if id(viewer) in self._panels]
        return self._rng.choice(there) if there else None

    def _any_layer(self) -> tuple[Any, Any] | None:
        viewer = self._any_viewer()
        return (viewer, self._rng.choice(list(viewer.layers))) if len(viewer.layers) else None

    def _run(self) -> str | None:
        panel = self._any_panel()
        if panel is None or not panel.run_box.run.isEnabled():
            return "not offered"
        QTest.mouseClick(panel.run_box.run, Qt.MouseButton.LeftButton)
        return None

    def _cancel(self) -> str | None:
        panel = self._any_panel()
        buttons = () if panel is None else (panel.run_box.cancel, panel.run_box.pause, panel.run_box.resume)
        offered = [button for button in buttons if button.isEnabled() and button.isVisible()]
        if not offered:
            return "not offered"
        button = self._rng.choice(offered)
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        return button.text()

    def _poke(self) -> str | None:
        """Anything in the panel that is enabled and not folded away; what is scrolled out of sight, too."""
        panel = self._any_panel()
        if panel is None:
            return "no panel"
        kinds = (QAbstractButton, QComboBox, QSlider, QSpinBox, QLineEdit, QTableWidget)
        offered = [w for kind in kinds for w in panel.findChildren(kind) if _is_offered(w, panel)]
        if not offered:
            return "nothing offered"
        widget = self._rng.choice(offered)
        return f"{widget.objectName() or type(widget).__name__} {self._poke_at(widget)}"

    def _poke_at(self, widget: QWidget) -> object:
        rng = self._rng
        match widget:
            case QPushButton() if widget.menu() is not None:
                return "has a menu"
            case QAbstractButton():
                widget.click()
                return widget.text()
            case QComboBox():
                widget.setCurrentIndex(rng.randrange(widget.count()) if widget.count() else -1)
                return widget.currentText()
            case QSlider() | QSpinBox():
                low = widget.minimum()
                widget.setValue(rng.randint(low, max(low, min(widget.maximum(), low + _MOST))))
                return widget.value()
            case QLineEdit():
                widget.setText(rng.choice(("", "1:3", "9:", "demo", "bad", "x" * 40, "7")))
                widget.editingFinished.emit()
                return widget.text()
            case QTableWidget() if widget.rowCount() and widget.columnCount():
                row, column = rng.randrange(widget.rowCount()), rng.randrange(widget.columnCount())
                widget.cellClicked.emit(row, column)
                return f"row {row}"
        return None

    def _use_menu(self) -> str | None:
        panel = self._any_panel()
        if panel is None:
            return "no panel"
        menu = self._rng.choice(panel.findChildren(QMenu) or [None])
        if menu is None:
            return "no menu"
        menu.aboutToShow.emit()
        actions = [action for action in menu.actions() if action.isEnabled() and action.menu() is None]
        if not actions:
            return "empty"
        action = self._rng.choice(actions)
        text = action.text()  # some of them are made anew by what they do
        action.trigger()
        return text

    def _open_case(self) -> str | None:
        panel = self._any_panel()
        if panel is None or not panel.case.buttons.isEnabled():
            return "not offered"
        case = self._rng.choice(self.cases)
        panel.case.opened.emit([str(case)])
        return case.name

    def _next_case(self) -> str | None:
        """Another case than the one that is chosen."""
        panel = self._any_panel()
        if panel is None or not panel.case.buttons.isEnabled():
            return "not offered"
        others = [case for case in self.cases if case.name not in panel.case.title()]
        case = self._rng.choice(others)
        panel.case.opened.emit([str(case)])
        return case.name

    def _open_folder(self) -> str | None:
        """A folder of cases to go through."""
        panel = self._any_panel()
        if panel is None or not panel.case.buttons.isEnabled():
            return "not offered"
        panel.case.opened.emit([str(self.many)])
        return None

    def _pick_case(self) -> str | None:
        """The next case, the one before, or any, by the picker."""
        panel = self._any_panel()
        picker = None if panel is None else panel.case.picker
        if picker is None or not (picker.isVisible() and picker.isEnabled()):
            return "not offered"
        what = self._rng.choice(("next", "previous", "any"))
        if what == "any":
            picker.asked.emit(self._rng.randrange(len(panel.picking.folder.cases)))
        else:
            getattr(picker, what).click()
        return what

    def _start_batch(self) -> str | None:
        """Over some cases of the folder, with the settings that are chosen."""
        panel = self._any_panel()
        if panel is None or panel.picking.folder is None or not panel.case.picker.isVisible():
            return "not offered"
        panel.batching.open()
        window = panel.batching.window
        names = [row.name for row in window.table.rows]
        window.table.tick(self._rng.sample(names, self._rng.randint(0, len(names))))
        window.replace.setChecked(self._rng.random() < 0.3)
        if not window.start.isEnabled():
            return "not enabled"
        window.start.click()
        return " ".join(window.table.ticked)

    def _use_batch(self) -> str | None:
        """Cancel it, open the case of a line, or close its window."""
        panel = self._any_panel()
        window = None if panel is None else panel.batching.window
        if window is None or not window.isVisible():
            return "not offered"
        what = self._rng.choice(("cancel", "line", "close"))
        match what:
            case "cancel":
                window.cancel.click()
            case "line" if window.table.rows and panel.case.picker.isEnabled():
                window.case_asked.emit(self._rng.choice(window.table.rows).name)
            case "close":
                window.close()
        return what

    def _paint(self) -> str | None:
        """Paint, erase or undo in a mask, as somebody who corrects it."""
        viewer = self._any_viewer()
        masks = [
            layer for layer in viewer.layers if "| mask" in layer.name and hasattr(layer, "paint") and layer.visible
        ]
        if not masks or viewer.dims.ndisplay != 2:  # napari lets nobody paint what is hidden, or in 3-D with the mouse
            return "no mask in sight"
        layer = self._rng.choice(masks)
        what = self._rng.choice((0, 1, 1, "undo"))
        if what == "undo":
            layer.undo()
        else:
            layer.paint(tuple(self._rng.randrange(n) for n in layer.data.shape), what)
        return f"{what} in {layer.name}"

    def check(self) -> None:
        """Every result is of its case: what is on the screen is of the images that are chosen, and so are its files."""
        for panel in self._panels.values():
            session, view = panel.session, panel.results.view
            entry = session.runs.on_screen
            assert (view is None) == (entry is None)
            assert panel.results_box.title() == ("Results" if entry is None else f"Results of {entry.title}")
            if entry is not None:
                assert view.ensemble is entry.result.ensemble
                assert not session.images or entry.plan.is_of(session.images), entry.title
                for edited in view.edited:
                    assert edited.layer is not view.mask
            self._check_batch(panel)
            for run in session.runs.records:
                assert run.started.case_id == run.plan.case.id
                assert run.result.ensemble.source_shape == run.plan.case.shape
                record = run.plan.folder / "run.json"
                assert not record.exists() or json.loads(record.read_text())["case"] == run.case

    def _check_batch(self, panel: DiffsegPanel) -> None:
        """What a batch says is done is on disk, of its own case, on that case's voxels."""
        for row in panel.session.batch.rows:
            if not row.state.has_results:
                continue
            record = json.loads((row.folder / "run.json").read_text())
            number = int(row.name.removeprefix("p"))
            assert (record["case"], row.folder.name) == (row.name, row.name)
            assert nib.load(row.folder / "mask.nii.gz").shape == (8, 7 + number, 3)

    def _choose_checkpoint(self) -> str | None:
        panel = self._any_panel()
        if panel is None or not panel.checkpoint.isEnabled():
            return "not offered"
        text = self._rng.choice(("demo", "demo", "demo", "bad", ""))
        panel.checkpoint.choose(text)
        return text

    def _scroll(self) -> str | None:
        viewer = self._any_viewer()
        for axis in range(viewer.dims.ndim):
            steps = viewer.dims.nsteps[axis]
            viewer.dims.set_current_step(axis, self._rng.randrange(max(int(steps), 1)))
        return str(viewer.dims.current_step)

    def _turn_dimensions(self) -> str | None:
        viewer = self._any_viewer()
        viewer.dims.ndisplay = 5 - viewer.dims.ndisplay
        return str(viewer.dims.ndisplay)

    def _press_key(self) -> str | None:
        canvas = self._any_viewer().window._qt_viewer.canvas.native
        key = self._rng.choice(_KEYS)
        shift = self._rng.choice((Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier))
        QTest.keyClick(canvas, key, shift)
        return f"{key} {shift}"

    def _remove_layers(self) -> str | None:
        """One, or half of all."""
        layers = self._any_viewer().layers
        if not len(layers):
            return "no layer"
        count = self._rng.choice((1, len(layers) // 2 + 1))
        layers.selection = set(self._rng.sample(list(layers), count))
        names = ", ".join(sorted(layer.name for layer in layers.selection))
        layers.remove_selected()
        return names

    def _rename_layer(self) -> str | None:
        found = self._any_layer()
        if found is None:
            return "no layer"
        before = found[1].name
        found[1].name = self._rng.choice(("mine", "t1", "diffseg 1 | mean", "µ <b>x</b>"))
        return f"{before} to {found[1].name}"

    def _show_or_hide_layer(self) -> str | None:
        found = self._any_layer()
        if found is None:
            return "no layer"
        found[1].visible = not found[1].visible
        return found[1].name

    def _move_layer(self) -> str | None:
        layers = self._any_viewer().layers
        if len(layers) < 2:
            return "too few"
        source, target = self._rng.randrange(len(layers)), self._rng.randrange(len(layers))
        layers.move(source, target)
        return f"{source} to {target}"

    def _select_layer(self) -> str | None:
        found = self._any_layer()
        if found is None:
            return "no layer"
        found[0].layers.selection.active = found[1]
        return found[1].name

    def _add_foreign_layer(self) -> str | None:
        viewer = self._any_viewer()
        what = self._rng.choice(("image", "labels", "plane", "other grid"))
        match what:
            case "image":
                viewer.add_image(np.ones((5, 12, 14), np.float32), name="somebody's t1")
            case "labels":
                viewer.add_labels(np.ones((5, 12, 14), np.uint8), name="drawn")
            case "plane":
                viewer.add_image(np.ones((7, 7)), name="plane")
            case _:
                viewer.add_image(np.ones((3, 4, 4)), name="flair", scale=(2, 2, 2))
        return what

    def _draw_box(self) -> str | None:
        viewer = self._any_viewer()
        size = self._rng.uniform(1, 20)
        viewer.add_shapes([np.array([[0, 0], [0, size], [size, size], [size, 0]]) - 5], name="box")
        return f"{size:.1f}"

    def _wait(self) -> str | None:
        seconds = self._rng.choice((0.05, 0.2, 0.5))
        self.settle(seconds)
        return f"{seconds} s"

    def _second_viewer(self) -> str | None:
        if len(self._viewers) > 1:
            return "two are open"
        self._open_viewer()
        return None

    def _close_dock(self) -> str | None:
        """Close the panel, or open another where it was closed."""
        viewer = self._any_viewer()
        panel = self._panels.pop(id(viewer), None)
        if panel is None:
            self._dock(viewer, DiffsegPanel(viewer))  # it takes up the session of the panel before
            return "opened again"
        viewer.window.remove_dock_widget(panel)
        return "closed"

    def _close_viewer(self) -> str | None:
        viewer = self._any_viewer()
        self._viewers.remove(viewer)
        self._panels.pop(id(viewer), None)
        with contextlib.suppress(RuntimeError):
            viewer.close()
        return f"{len(self._viewers)} left"


def _is_offered(widget: QWidget, panel: QWidget) -> bool:
    """Whether a user could use it; no part of another control, such as the line of a spin box."""
    is_part = widget.objectName().startswith("qt_") or isinstance(widget.parent(), QSpinBox | QComboBox)
    return widget.isEnabled() and widget.isVisibleTo(panel) and not is_part
