"""A strip of a map's colours with the values at its ends and what they are, for the panel."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QColor, QImage, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

_STRIP: Final = 8
_GAP: Final = 2
_COLORS: Final = 256


class Legend(QWidget):
    """The colours of a map from its lowest to its highest value, on black, as they lie on a dark image.

    Parameters
    ----------
    name : str
        Object name, without the plugin's prefix.
    style : dict
        Layer attributes with a `colormap`, as of `map_style`.
    """

    def __init__(self, name: str, style: dict[str, Any]) -> None:
        super().__init__()
        self.setObjectName(f"diffseg_{name}")
        self._image = _strip_of(style["colormap"])
        self.texts = ("", "", "")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_texts(self, low: str, what: str, high: str) -> None:
        """The value at the left end, what the values are, and the value at the right end."""
        self.texts = (low, what, high)
        self.setToolTip(f"{what}, from {low} to {high}")
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """The strip and a line of text, wide enough for all three."""
        metrics = self.fontMetrics()
        width = sum(metrics.horizontalAdvance(text) for text in self.texts) + 2 * metrics.horizontalAdvance("  ")
        return QSize(width, _STRIP + _GAP + metrics.height())

    def minimumSizeHint(self) -> QSize:
        """As `sizeHint`: nothing is cut off."""
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the strip and the texts below it."""
        painter = QPainter(self)
        painter.fillRect(QRect(0, 0, self.width(), _STRIP), QColor("black"))
        painter.drawImage(QRect(0, 0, self.width(), _STRIP), self._image)
        below = QRect(0, _STRIP + _GAP, self.width(), self.height() - _STRIP - _GAP)
        sides = (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight)
        for side, text in zip(sides, self.texts, strict=True):
            painter.drawText(below, side | Qt.AlignmentFlag.AlignVCenter, text)
        painter.end()


def _strip_of(colormap: Any) -> QImage:
    """A colormap as one row of pixels with its own transparency."""
    colors = np.ascontiguousarray(np.round(colormap.map(np.linspace(0, 1, _COLORS)) * 255), np.uint8)
    image = QImage(colors.tobytes(), _COLORS, 1, 4 * _COLORS, QImage.Format.Format_RGBA8888)
    return image.copy()  # its own memory
