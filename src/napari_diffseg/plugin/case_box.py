"""The part of the panel that chooses a case: a folder, files, or a layer for each modality."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QGroupBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_diffseg.imaging.naming import may_be_given, modality_of
from napari_diffseg.plugin.adding import bare
from napari_diffseg.plugin.checkpoint_box import breakable
from napari_diffseg.plugin.dropping import dropped_paths
from napari_diffseg.plugin.frame import RESULT_KEY
from napari_diffseg.plugin.layer_combo import LayerCombo
from napari_diffseg.plugin.layer_notes import notes_of
from napari_diffseg.plugin.reopen_button import ReopenButton
from napari_diffseg.plugin.side_row import SideRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Layer
    from qtpy.QtGui import QDragEnterEvent, QDropEvent

    from napari_diffseg.plugin.run_store import RunStore

_LAST_ROW = 1000
_FILTER = "Brain images (*.nii *.nii.gz *.mgz *.mgh *.hdr *.img *.hdr.gz *.img.gz)"


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
        self._grid = QGridLayout()
        self._grid.setColumnStretch(1, 1)
        self.buttons = self._make_buttons()
        self.sides = SideRow()
        layout = QVBoxLayout(self)
        layout.addWidget(self.buttons)
        layout.addLayout(self._grid)
        self._grid.addWidget(self.sides.label, _LAST_ROW, 0)
        self._grid.addWidget(self.sides.choice, _LAST_ROW, 1)
        self.notes = self._make_notes()
        layout.addWidget(self.notes)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take what may be a case, which napari's own canvas would ask about first."""
        if event is not None and _dropped_case(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Open the case that was dropped."""
        if event is not None and self.buttons.isEnabled() and (paths := _dropped_case(event)):
            event.acceptProposedAction()
            self.opened.emit(paths)

    def _make_notes(self) -> QLabel:
        notes = QLabel()
        notes.setObjectName("diffseg_case_notes")
        notes.setTextFormat(Qt.TextFormat.PlainText)
        notes.setWordWrap(True)
        notes.setToolTip("What to know of the images that are chosen.")
        notes.setVisible(False)
        return notes

    def _make_buttons(self) -> QWidget:
        buttons = QWidget()
        row = QHBoxLayout(buttons)
        row.setContentsMargins(0, 0, 0, 0)
        for name, text, tip, slot in (
            ("folder", "Folder…", "Open a folder with one case's NIfTI images, named by modality.", self._ask_folder),
            ("files", "Files…", "Open the NIfTI images of one case.", self._ask_files),
            (
                "sample",
                "Sample",
                "Open the shipped case, and its checkpoint if none is chosen.",
                self.sample_asked,
            ),
        ):
            button = QPushButton(text)
            button.setObjectName(f"diffseg_open_{name}")
            button.setToolTip(tip)
            button.clicked.connect(slot)
            row.addWidget(button)
        row.addWidget(self.reopen)
        return buttons

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of one case")
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
        self._offer_leaving_out(may_miss)
        self.guess(self._layers)
        for name in self.combos:
            self._tell(name)

    def _offer_leaving_out(self, may_miss: bool) -> None:
        for combo in self.combos.values():
            if combo.may_leave_out != may_miss:
                combo.may_leave_out = may_miss
                combo.set_layers(self._layers)

    def _tell(self, name: str, _layer: Layer | None = None) -> None:
        combo = self.combos[name]
        self.assigned.emit(name, combo.layer(), combo.is_left_out)
        self._show_notes()

    def _show_notes(self) -> None:
        """Say what is to be known of the images that are chosen, whoever opened them."""
        layers = [layer for combo in self.combos.values() if (layer := combo.layer()) is not None]
        notes = dict.fromkeys(note for layer in layers for note in notes_of(layer))
        self.notes.setText(breakable(" ".join(f"{note[0].upper()}{note[1:].rstrip('.')}." for note in notes)))
        self.notes.setVisible(bool(notes))

    def set_layers(self, layers: Iterable[Layer]) -> None:
        """Offer the image layers among these; layers of results are left out."""
        self._layers = [layer for layer in map(bare, layers) if _can_be_input(layer)]
        for combo in self.combos.values():
            combo.set_layers(self._layers)

    @property
    def candidates(self) -> Sequence[Layer]:
        """The layers that are offered."""
        return tuple(self._layers)

    def guess(self, layers: Iterable[Layer], *, replace: bool = False) -> None:
        """Choose layers by the modality in their names; one that is chosen already stays, unless `replace`."""
        for layer in map(bare, layers):
            combo = self.combos.get(modality_of(layer.name) or "")
            if combo is not None and (replace or (combo.layer() is None and not combo.is_left_out)):
                combo.choose(layer)


def _dropped_case(event: QDropEvent) -> list[str]:
    """The folders and images that are being dropped; none where one of them is something else."""
    paths = dropped_paths(event)
    return paths if all(Path(path).is_dir() or may_be_given(Path(path).name) for path in paths) else []


def _can_be_input(layer: Layer) -> bool:
    from napari.layers import Image

    return isinstance(layer, Image) and RESULT_KEY not in layer.metadata and not layer.rgb and layer.ndim == 3
