"""Buttons and lines of words, each with the name by which scripts and tests find it, and with what it is for."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QPushButton


def named_button(name: str, text: str, tip: str) -> QPushButton:
    """A button, called `diffseg_` and its name."""
    button = QPushButton(text)
    button.setObjectName(f"diffseg_{name}")
    button.setToolTip(tip)
    return button


def named_label(name: str, tip: str) -> QLabel:
    """A line for words that may be long, and that may come from files, so that nothing in them is taken for markup."""
    label = QLabel()
    label.setObjectName(f"diffseg_{name}")
    label.setToolTip(tip)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    return label
