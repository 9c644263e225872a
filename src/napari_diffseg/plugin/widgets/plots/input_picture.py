"""The images that a run would take, one slice of each, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QImage, QPainter
from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from qtpy.QtGui import QPaintEvent

    from napari_diffseg.plugin.grid.upright_slice import UprightSlice

_HEIGHT: Final = 96
_GAP: Final = 2


@dataclass(frozen=True, eq=False)
class Picture:
    """A slice with the name of its modality, in grey from 0 to 255, and a mark behind L and R where they are unsure."""

    name: str
    grey: npt.NDArray[np.uint8]
    upright: UprightSlice
    unsure: str = ""


class InputPicture(QWidget):
    """Draws the slices; nothing is no widget."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("diffseg_input_picture")
        self.setFixedHeight(_HEIGHT)
        self.setToolTip(
            "The middle slice of each image, as the network takes it: upright, with the patient's sides. Does it look "
            "right, and is each image the modality below it?"
        )
        self.pictures: tuple[Picture, ...] = ()
        self.setVisible(False)

    def show_pictures(self, pictures: Sequence[Picture]) -> None:
        """Show these, from left to right."""
        self.pictures = tuple(pictures)
        self.setVisible(bool(pictures))
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw each in a part of the width, as large as it fits."""
        if not self.pictures:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        width = (self.width() + _GAP) / len(self.pictures) - _GAP
        for n, picture in enumerate(self.pictures):
            self._draw(painter, picture, QRectF(n * (width + _GAP), 0, width, self.height()))
        painter.end()

    def _draw(self, painter: QPainter, picture: Picture, place: QRectF) -> None:
        line = painter.fontMetrics().height()
        grey = np.ascontiguousarray(picture.grey)
        rows, columns = grey.shape
        image = QImage(grey.tobytes(), columns, rows, columns, QImage.Format.Format_Grayscale8)
        high, wide = (n * mm for n, mm in zip((rows, columns), picture.upright.pixel_mm, strict=True))
        scale = min(place.width() / wide, (place.height() - line) / high)
        shown = QRectF(0, 0, wide * scale, high * scale)
        shown.moveCenter(QRectF(place.left(), place.top(), place.width(), place.height() - line).center())
        painter.fillRect(shown, QColor("black"))
        painter.drawImage(shown, image)
        painter.setPen(QColor("#ffd740"))
        edges = (
            (picture.upright.left, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter),
            (picture.upright.right, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter),
            (picture.upright.top, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop),
            (picture.upright.bottom, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom),
        )
        for letter, where in edges:
            painter.drawText(shown, where, letter + (picture.unsure if letter in "LR" else ""))
        painter.setPen(self.palette().color(self.foregroundRole()))
        painter.drawText(place, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom, picture.name)
