"""The part of the panel that chooses a checkpoint and says what it is."""

from __future__ import annotations

import re
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QAction, QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.plugin.widgets.controls import breakable
from napari_diffseg.plugin.widgets.dropping import dropped_paths
from napari_diffseg.plugin.widgets.fold import Fold
from napari_diffseg.plugin.widgets.named import named_button

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEMO = "demo"
"""The name of the checkpoint that is shipped."""
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")
_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
_FILTER = f"Checkpoints ({' '.join(f'*{suffix}' for suffix in _SUFFIXES)});;All files (*)"


class CheckpointBox(QGroupBox):
    """A line for the checkpoint's path, buttons that fill it, and a card with its description."""

    chosen = Signal(str)
    """Path of a checkpoint, `demo`, or nothing."""
    unload_asked = Signal()
    check_asked = Signal()
    reading_wanted = Signal(dict)
    """Fields of the recipe that are to be other than stated."""

    def __init__(self) -> None:
        super().__init__("Checkpoint")
        self.line = QLineEdit()
        self.line.setObjectName("diffseg_checkpoint")
        self.line.setPlaceholderText("a .safetensors or .pt file, or demo")
        self.line.setToolTip("The trained network: a .safetensors or .pt file, or demo for the shipped one.")
        self.line.editingFinished.connect(self._tell_if_new)
        self._told = ""
        self.card = Fold(
            "card", "About this checkpoint", tip="What the checkpoint takes and gives, and what had to be guessed."
        )
        self.card.setVisible(False)
        self.verdict = QWidget()
        self.verdict.setObjectName("diffseg_checkpoint_verdict")
        self.verdict.setToolTip("Which reading of the checkpoint fits the case's reference best.")
        self.verdict.setVisible(False)
        self.setAcceptDrops(True)
        self.line.setAcceptDrops(False)  # it would take a dropped file for text, and its address for a path
        layout = QVBoxLayout(self)
        layout.addWidget(self.line)
        layout.addLayout(self._make_buttons())
        layout.addWidget(self.card)
        layout.addWidget(self.verdict)

    def add_below(self, part: QWidget) -> None:
        """Put a part below the rest."""
        layout = self.layout()
        assert layout is not None  # it is made with one
        layout.addWidget(part)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take one checkpoint, and leave images to the viewer."""
        if event is not None and _dropped(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Choose the checkpoint that was dropped."""
        if event is not None and (path := _dropped(event)):
            event.acceptProposedAction()
            self.choose(path)

    def _make_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        for name, text, tip, slot in (
            ("browse", "Browse…", "Choose a checkpoint file.", self._ask_file),
            (
                "demo",
                "Demo",
                "The checkpoint that is shipped; trained on phantoms, not for patients.",
                self._choose_demo,
            ),
        ):
            button = named_button(f"checkpoint_{name}", text, tip)
            button.clicked.connect(slot)
            row.addWidget(button)
        self.recent = named_button("checkpoint_recent", "Recent", "Checkpoints that were loaded before.")
        self._recent_menu = QMenu(self.recent)
        self._recent_menu.setToolTipsVisible(True)
        self.recent.setMenu(self._recent_menu)
        self.show_recent(())
        row.addWidget(self.recent)
        return row

    def show_recent(self, checkpoints: Sequence[str]) -> None:
        """Offer checkpoints that were loaded before, by the names of their files."""
        self._recent_menu.clear()
        for text in checkpoints:
            action = QAction(PurePath(text).name.replace("&", "&&"), self._recent_menu)
            action.setToolTip(text)
            action.triggered.connect(partial(self._choose_recent, text))
            self._recent_menu.addAction(action)
        self.recent.setVisible(bool(checkpoints))

    def _choose_recent(self, text: str, _checked: object = None) -> None:
        self.choose(text)

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Checkpoint", filter=_FILTER)
        if path:
            self.choose(path)

    def _choose_demo(self) -> None:
        self.choose(DEMO)

    def choose(self, text: str) -> None:
        """Fill in a checkpoint and tell of it, even if it is the same: its file may be another by now."""
        self.line.setText(text)
        self._told = text
        self.chosen.emit(text)

    def show_chosen(self, text: str) -> None:
        """Show a checkpoint that is chosen already, and tell nobody."""
        self.line.setText(text)
        self._told = text

    def choose_if_none(self, text: str) -> None:
        """Fill in a checkpoint where the line is empty; one that is there stays."""
        if not self.line.text().strip():
            self.choose(text)

    def _tell_if_new(self) -> None:
        text = self.line.text().strip()
        if text != self._told:
            self.choose(text)

    def show_rows(self, rows: Sequence[tuple[str, str]]) -> None:
        """Show a description; none hides the card."""
        card = QWidget()
        form = QFormLayout(card)
        form.setContentsMargins(0, 0, 0, 0)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapAllRows)
        for name, value in dict.fromkeys(rows):  # who trained it may say again what it says of itself
            form.addRow(_plain(name, heading=True), _plain(value, heading=False))
        unload = QPushButton("Unload")
        unload.setObjectName("diffseg_unload")
        unload.setToolTip("Free the network's memory; the next run loads it again.")
        unload.clicked.connect(self.unload_asked)
        check = QPushButton("Check this checkpoint")
        check.setObjectName("diffseg_check")
        check.setToolTip(
            "Try other readings of its recipe (channel order, mask coding, normalisation, directions) on the images "
            "and the reference on the screen, a few evaluations each, and say which fits best."
        )
        check.clicked.connect(self.check_asked)
        form.addRow(check)
        form.addRow(unload)
        self.show_verdict((), (), {})
        self.card.replace_content(card)
        self.card.setVisible(bool(rows))

    def show_verdict(
        self, rows: Sequence[tuple[str, str]], ranking: Sequence[tuple[str, float]], better: Mapping[str, object]
    ) -> None:
        """Show what a check found, and offer the reading that fits better; without rows, nothing.

        Parameters
        ----------
        rows : sequence of (str, str)
            What was found, by name.
        ranking : sequence of (str, float)
            The readings that fit best, in words, each with its agreement, 0 to 1.
        better : mapping of str to any
            Fields of the recipe that fit better than those stated; empty where none do.
        """
        found = QWidget()
        found.setObjectName(self.verdict.objectName())
        found.setToolTip(self.verdict.toolTip())
        form = QFormLayout(found)
        form.setContentsMargins(0, 0, 0, 0)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapAllRows)
        for name, value in rows:
            form.addRow(_plain(name, heading=True), _plain(value, heading=False))
        if ranking:
            listed = "\n".join(f"{agreement:.2f}  {words}" for words, agreement in ranking)
            form.addRow(
                _plain("best readings, by agreement with the reference", heading=True), _plain(listed, heading=False)
            )
        if better:
            use = QPushButton("Use the reading that fits best")
            use.setObjectName("diffseg_use_reading")
            use.setToolTip(f"Load the checkpoint again with {_told(better)}.")
            use.clicked.connect(lambda: self.reading_wanted.emit(dict(better)))
            form.addRow(use)
        layout = self.layout()
        assert layout is not None  # the constructor made it
        layout.replaceWidget(self.verdict, found)
        self.verdict.deleteLater()
        self.verdict = found
        found.setVisible(bool(rows))


def _told(changes: Mapping[str, object]) -> str:
    """Fields of a recipe in words."""
    values = {name: ",".join(map(str, v)) if isinstance(v, tuple) else str(v) for name, v in changes.items()}
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def _dropped(event: QDropEvent) -> str:
    """The path of the one checkpoint that is being dropped; empty where it is something else."""
    paths = dropped_paths(event)
    return paths[0] if len(paths) == 1 and PurePath(paths[0]).suffix.lower() in _SUFFIXES else ""


def _plain(text: str, *, heading: bool) -> QLabel:
    """A label of plain text, never read as HTML, that breaks within long names and can be copied.

    Digests are shortened as everywhere; the whole ones are in the tooltip.
    """
    label = QLabel(breakable(_DIGEST.sub(r"\1…", text)))
    label.setToolTip("\n".join(match[0] for match in _DIGEST.finditer(text)))
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    if heading:
        label.setStyleSheet("font-weight: bold")
    return label
