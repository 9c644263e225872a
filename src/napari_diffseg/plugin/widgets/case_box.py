"""The part of the panel that chooses a case: a folder, files, or a layer for each modality."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QGroupBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_diffseg.imaging.names.grouping import case_id_of
from napari_diffseg.imaging.names.naming import modality_of, shown_name
from napari_diffseg.plugin.canvas.add_layer import bare
from napari_diffseg.plugin.grid.frame import RESULT_KEY
from napari_diffseg.plugin.grid.layer_notes import notes_of
from napari_diffseg.plugin.grid.same_case import are_apart, are_one_case, are_rivals, are_two_cases, case_of, file_of
from napari_diffseg.plugin.widgets.axes_row import AxesRow
from napari_diffseg.plugin.widgets.case_picker import CasePicker
from napari_diffseg.plugin.widgets.controls import breakable
from napari_diffseg.plugin.widgets.dropping import dropped_paths
from napari_diffseg.plugin.widgets.layer_combo import LayerCombo
from napari_diffseg.plugin.widgets.named import named_button, named_label
from napari_diffseg.plugin.widgets.plots.input_picture import InputPicture
from napari_diffseg.plugin.widgets.reopen_button import ReopenButton
from napari_diffseg.plugin.widgets.side_row import SideRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari.layers import Layer
    from qtpy.QtGui import QDragEnterEvent, QDropEvent

    from napari_diffseg.plugin.session.run_store import RunStore

_LAST_ROW = 1000
_SUFFIXES = "nii nii.gz mgz mgh hdr img hdr.gz img.gz mha mhd nrrd nhdr dcm ima"
_FILTER = f"Brain images ({' '.join(f'*.{suffix}' for suffix in _SUFFIXES.split())})"


class CaseBox(QGroupBox):
    """Buttons that open a case, and one combo box of open layers for each modality of the checkpoint."""

    opened = Signal(list)
    """Paths of a folder or of files that the user wants to open."""
    sample_asked = Signal()
    """The shipped case is wanted."""
    reopen_asked = Signal(str)
    """The folder of a kept run."""
    assigned = Signal(str, object, bool)
    """A modality, its layer or None, and whether there is none because it is left out."""

    def __init__(self, store: RunStore) -> None:
        super().__init__("Case")
        self.setAcceptDrops(True)
        self.reopen = ReopenButton(store)
        self.reopen.asked.connect(self.reopen_asked)
        self.combos: dict[str, LayerCombo] = {}
        self._labels: list[QLabel] = []
        self._layers: list[Layer] = []
        self._left_out: set[str] = set()
        """What the user leaves out, also while the checkpoint cannot do without it or is being loaded."""
        self._passed: WeakSet[Any] = WeakSet()
        """What was open when another case was: never chosen for what that one lacks."""
        self._grid = QGridLayout()
        self._grid.setColumnStretch(1, 1)
        self.buttons = self._make_buttons()
        self.sides = SideRow()
        self.axes = AxesRow()
        self.picture = InputPicture()
        self.picker = CasePicker()
        layout = QVBoxLayout(self)
        layout.addWidget(self.buttons)
        layout.addWidget(self.picker)
        layout.addLayout(self._grid)
        self._grid.addWidget(self.axes.label, _LAST_ROW - 1, 0)
        self._grid.addWidget(self.axes.choice, _LAST_ROW - 1, 1)
        self._grid.addWidget(self.sides.label, _LAST_ROW, 0)
        self._grid.addWidget(self.sides.choice, _LAST_ROW, 1)
        self.notes = named_label("case_notes", "What to know of the images that are chosen.")
        self.notes.setVisible(False)
        layout.addWidget(self.picture)
        layout.addWidget(self.notes)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take what napari's own canvas would ask about first; what is no case is told so by who reads it."""
        if event is not None and self._taken_of(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Open the case that was dropped."""
        if event is not None and (paths := self._taken_of(event)):
            event.acceptProposedAction()
            self.opened.emit(paths)

    def _taken_of(self, event: QDropEvent) -> list[str]:
        """What is opened of a drop: during a run nothing."""
        return dropped_paths(event) if self.buttons.isEnabled() else []

    def _make_buttons(self) -> QWidget:
        buttons = QWidget()
        row = QHBoxLayout(buttons)
        row.setContentsMargins(0, 0, 0, 0)
        for name, text, tip, slot in (
            ("folder", "Folder…", "Open a folder of one case, or of many to go through.", self._ask_folder),
            ("files", "Files…", "Open the NIfTI images of one case.", self._ask_files),
            (
                "sample",
                "Sample",
                "Open the shipped case, and its checkpoint if none is chosen.",
                self.sample_asked,
            ),
        ):
            button = named_button(f"open_{name}", text, tip)
            button.clicked.connect(slot)
            row.addWidget(button)
        row.addWidget(self.reopen)
        return buttons

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of one case, or of many")
        if folder:
            self.opened.emit([folder])

    def _ask_files(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(self, "Images of one case", filter=_FILTER)
        if files:
            self.opened.emit(files)

    def set_modalities(self, modalities: Sequence[str], *, may_miss: bool = False) -> None:
        """Ask for these modalities, in the order of the network's channels; layers chosen for one stay.

        Parameters
        ----------
        modalities : sequence of str
            Of the checkpoint.
        may_miss : bool
            Whether it can do without some, so that leaving one out is a choice.
        """
        if list(self.combos) == list(modalities):
            self._offer_leaving_out(may_miss)
            return
        chosen = {name: combo.layer() for name, combo in self.combos.items()}
        for widget in (*self._labels, *self.combos.values()):
            self._grid.removeWidget(widget)
            widget.deleteLater()
        self.combos, self._labels = {}, []
        for row, name in enumerate(modalities):
            label = QLabel(name)
            label.setToolTip(f"Channel {row + 1} of the network's input.")
            combo = LayerCombo()
            combo.setObjectName(f"diffseg_layer_{name}")
            combo.setToolTip(f"The layer that is given to the network as {name} (channel {row + 1}).")
            combo.set_layers(self._layers)
            combo.choose(chosen.get(name))
            combo.layer_chosen.connect(partial(self._tell, name))
            self._labels.append(label)
            self._grid.addWidget(label, row, 0)
            self._grid.addWidget(combo, row, 1)
            self.combos[name] = combo
        self._show_choices()
        self._offer_leaving_out(may_miss)
        self.guess(self._layers)
        for name in self.combos:
            self._tell(name)

    def _show_choices(self) -> None:
        """Ask for layers once there are some."""
        for widget in (*self._labels, *self.combos.values(), self.sides.label, self.sides.choice):
            widget.setVisible(bool(self._layers))

    def leave_out(self, names: Iterable[str]) -> None:
        """Leave modalities out, wherever the checkpoint can do without; until then there is no choice."""
        self._left_out.update(names)
        for name in self._left_out & self.combos.keys():
            combo = self.combos[name]
            combo.choose(None)
            combo.leave_out()

    def _offer_leaving_out(self, may_miss: bool) -> None:
        for name, combo in self.combos.items():
            if combo.may_leave_out != may_miss:
                combo.may_leave_out = may_miss
                combo.set_layers(self._layers)
            if name in self._left_out:
                combo.leave_out()

    def _tell(self, name: str, _layer: Layer | None = None) -> None:
        combo = self.combos[name]
        if combo.is_left_out:
            self._left_out.add(name)
        elif combo.may_leave_out or combo.layer() is not None:  # else leaving out was not offered
            self._left_out.discard(name)
        self.assigned.emit(name, combo.layer(), combo.is_left_out)
        self._show_notes()

    def _show_notes(self) -> None:
        """Say what is to be known of the images that are chosen, whoever opened them."""
        chosen = self._chosen()
        files = [file for layer in chosen.values() if (file := file_of(layer)) is not None]
        name = shown_name(case_id_of(files)) if files else ""
        self.setTitle(f"Case {name}" if name else "Case")
        notes = dict.fromkeys(
            [
                *_note_of_cases(chosen),
                *self._note_of_rivals(chosen),
                *(note for one in chosen.values() for note in notes_of(one)),
            ]
        )
        self.notes.setText(breakable(" ".join(f"{note[0].upper()}{note[1:].rstrip('.')}." for note in notes)))
        self.notes.setVisible(bool(notes))

    def set_layers(self, layers: Iterable[Layer]) -> None:
        """Offer the image layers among these; layers of results are left out."""
        had_images = bool(self._chosen())
        self._layers = [layer for layer in map(bare, layers) if _can_be_input(layer)]
        for combo in self.combos.values():
            combo.set_layers(self._layers)
        self._show_choices()
        if had_images and not self._chosen():
            self._forget_case()

    def _forget_case(self) -> None:
        """The case is closed: what was said of it does not hold for the next."""
        self._passed.clear()
        self._left_out.clear()
        for combo in self.combos.values():
            combo.choose(None)

    def choose_images(self, layers: Mapping[str, Layer]) -> None:
        """Choose the images of a case, by modality; others of the checkpoint's are chosen no more."""
        self._forget_case()
        self._passed = WeakSet(layer for layer in self._layers if layer not in layers.values())
        for name, layer in layers.items():
            if name in self.combos:
                self.combos[name].choose(layer)

    def choose_none(self) -> None:
        """Choose no image, and none of those that are open by itself."""
        self._forget_case()
        self._passed = WeakSet(self._layers)

    @property
    def candidates(self) -> Sequence[Layer]:
        """The layers that are offered."""
        return tuple(self._layers)

    def _chosen(self) -> dict[str, Layer]:
        """The layer of each modality that has one."""
        return {name: layer for name, combo in self.combos.items() if (layer := combo.layer()) is not None}

    def _note_of_rivals(self, chosen: Mapping[str, Layer]) -> list[str]:
        """That several images of the case may be one modality: order settles nothing."""
        notes = []
        for name in self.combos:
            of_case = [layer for layer in self._layers if modality_of(layer.name) == name and layer not in self._passed]
            if name in chosen:
                of_case = [layer for layer in of_case if layer is not chosen[name] and are_rivals(layer, chosen[name])]
                notes += [f"{name}: {layer.name} may be it, too" for layer in of_case]
            elif len(of_case) > 1 and name not in self._left_out:
                notes.append(f"{name}: {' and '.join(layer.name for layer in of_case)} may be it: choose one")
        return notes

    def guess(self, layers: Iterable[Layer]) -> None:
        """Choose layers by the modality in their names for what is not chosen, unless they are of another case.

        Of several that may be one modality none is chosen.
        """
        come = [bare(layer) for layer in layers]
        for layer in come:
            name = modality_of(layer.name)
            chosen = self._chosen()
            if name not in self.combos or name in chosen or name in self._left_out or layer in self._passed:
                continue
            rivals = [one for one in come if modality_of(one.name) == name and one is not layer]
            if any(are_rivals(layer, other) for other in rivals):
                continue
            if not any(are_two_cases(layer, other) for other in chosen.values()):
                self.combos[name].choose(layer)
        self._show_notes()

    def choose_case(self, layers: Iterable[Layer]) -> bool:
        """Choose what the user has opened, by the modality in its names; of another case nothing stays chosen.

        Of several opened together that may be one modality none is chosen.

        Returns
        -------
        bool
            Whether these are the first images of a case, rather than more of the one that is chosen.
        """
        opened = [bare(layer) for layer in layers]
        named = {name: layer for layer in opened if (name := modality_of(layer.name)) in self.combos}
        unclear = {
            name
            for name, layer in named.items()
            if any(modality_of(one.name) == name and are_rivals(one, layer) for one in opened if one is not layer)
        }
        before = {name: layer for name, layer in self._chosen().items() if layer not in opened}
        is_next = bool(named) and not (before and _goes_on(before, named))
        if is_next and before:
            self._passed = WeakSet(layer for layer in self._layers if layer not in opened)
            self._left_out.clear()
            for name in self.combos.keys() - named.keys():
                self.combos[name].choose(None)
        for name, layer in named.items():
            self.combos[name].choose(None if name in unclear else layer)
        self._show_notes()
        return is_next


def _goes_on(chosen: Mapping[str, Layer], opened: Mapping[str, Layer]) -> bool:
    """Whether opened images are of the case that is chosen.

    That is where they lie in its folder; or elsewhere, as where each modality has a folder, if names tell the same case
    and none of its images is replaced.
    """
    replaces = bool(chosen.keys() & opened.keys())
    return any(
        are_one_case(one, other) or (not replaces and case_of(one) != "" and case_of(one) == case_of(other))
        for one in chosen.values()
        for other in opened.values()
    )


def _note_of_cases(chosen: Mapping[str, Layer]) -> list[str]:
    """That the images are of several cases, where their files say so."""
    cases: dict[str, list[str]] = {}
    for name, layer in chosen.items():
        if case := case_of(layer):
            known = next((other for other in cases if not are_apart(case, other)), case)
            cases.setdefault(known, []).append(name)
    told = "; ".join(f"{', '.join(names)} of {shown_name(case)}" for case, names in cases.items())
    return [f"By their names these are images of {len(cases)} cases: {told}"] if len(cases) > 1 else []


def _can_be_input(layer: Layer) -> bool:
    from napari.layers import Image

    return isinstance(layer, Image) and RESULT_KEY not in layer.metadata and not layer.rgb and layer.ndim == 3
