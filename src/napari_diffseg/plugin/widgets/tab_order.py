"""The order in which the Tab key goes through controls: as they are read, whenever they were made."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractScrollArea, QGridLayout, QLayout, QScrollArea, QWidget

if TYPE_CHECKING:
    from collections.abc import Iterator


def follow_the_eye(root: QWidget) -> None:
    """Let Tab go through the controls below a widget from top to bottom and from left to right."""
    for before, after in pairwise(in_reading_order(root)):
        QWidget.setTabOrder(before, after)


def in_reading_order(root: QWidget) -> Iterator[QWidget]:
    """The controls below a widget that Tab stops at, hidden ones too, in the order of the layouts that hold them."""
    if root.focusPolicy() & Qt.FocusPolicy.TabFocus and root.focusProxy() is None:
        yield root
    if isinstance(root, QScrollArea) and (inside := root.widget()) is not None:
        yield from in_reading_order(inside)
    elif not isinstance(root, QAbstractScrollArea) and (layout := root.layout()) is not None:
        yield from _in_layout(layout)


def _in_layout(layout: QLayout) -> Iterator[QWidget]:
    places = range(layout.count())
    if isinstance(layout, QGridLayout):
        places = sorted(places, key=lambda n: layout.getItemPosition(n)[:2])  # type: ignore[assignment]
    for n in places:
        item = layout.itemAt(n)
        if item is None:
            continue
        if (widget := item.widget()) is not None:
            yield from in_reading_order(widget)
        elif (inner := item.layout()) is not None:
            yield from _in_layout(inner)
