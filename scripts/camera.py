"""Pictures of parts of the screen, for the docs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtCore import QPoint, QRect
from qtpy.QtGui import QPainter, QPixmap
from qtpy.QtWidgets import QApplication, QWidget

if TYPE_CHECKING:
    from pathlib import Path

_GAP: Final = 6


class Camera:
    """Sees what a person sees, so what covers a widget is in its picture, too.

    Parameters
    ----------
    folder : Path
        Gets the pictures.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def write(self, name: str, *parts: QPixmap) -> None:
        """Write parts side by side, on the colour that the last one has at its edge."""
        ratio = parts[0].devicePixelRatio()
        gap = round(_GAP * ratio)
        width = sum(part.width() for part in parts) + gap * (len(parts) - 1)
        whole = QPixmap(width, max(part.height() for part in parts))
        whole.fill(parts[-1].toImage().pixelColor(0, 0))
        painter, left = QPainter(whole), 0
        for part in parts:
            part.setDevicePixelRatio(1)
            painter.drawPixmap(left, 0, part)
            left += part.width() + gap
        painter.end()
        whole.save(str(self._folder / f"{name}.png"), "PNG", 0)  # the smallest


def seen(place: QRect) -> QPixmap:
    """What is at a place of the screen."""
    screen = QApplication.primaryScreen()
    assert screen is not None  # there is a window on it
    return screen.grabWindow(x=place.x(), y=place.y(), width=place.width(), height=place.height())


def place_of(*widgets: QWidget) -> QRect:
    """Where widgets are on the screen, from the first to the last."""
    whole = QRect()
    for widget in widgets:
        whole = whole.united(QRect(widget.mapToGlobal(QPoint(0, 0)), widget.size()))
    return whole
