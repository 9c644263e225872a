"""The members side by side on one slice, for the panel; a click on one tells which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QPointF, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent, QShowEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_diffseg.appearance import MASK_COLOR

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_TILES: Final = 60
_SIDE: Final = 76
_GAP: Final = 3


class TileGrid(QWidget):
    """As many square tiles in a row as there is room for, each with a member's number and its mask on the image."""

    picked = Signal(int)
    """The member whose tile was clicked."""
    wanted = Signal()
    """The wall has come into sight: what it shows may be old."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("diffseg_wall")
        self.setToolTip(
            f"Members on the slice on screen, the first {MOST_TILES}, cut to where a quarter of them see lesion. "
            "Click one to see it on the canvas, again to hide it."
        )
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._tiles: dict[int, QImage] = {}
        self._planes: dict[int, str] = {}
        self._chosen: int | None = None
        self.nothing = ""
        """What is said where there are no tiles."""
        self._rows = 1

    def say_nothing(self, why: str) -> None:
        """Show no tiles, and a sentence instead."""
        self.nothing = why
        self.set_tiles({}, pixel_mm=(1.0, 1.0))

    def set_tiles(
        self,
        tiles: Mapping[int, npt.NDArray[np.uint8]],
        *,
        pixel_mm: tuple[float, float],
        planes: Mapping[int, str] | None = None,
    ) -> None:
        """Show members by their number, the first `MOST_TILES` of them.

        Parameters
        ----------
        tiles : mapping of int to ndarray, (R, C, 3), uint8
            Red, green and blue.
        pixel_mm : (float, float)
            Height and width of a pixel.
        planes : mapping of int to str, optional
            What the plane is called of members that were sampled in another one than is seen.
        """
        self._planes = dict(planes or {})
        self._tiles = {k: _image(tiles[k], pixel_mm) for k in sorted(tiles)[:MOST_TILES]}
        self._fit()
        self.update()

    def choose(self, member: int | None) -> None:
        """Say which member is on the canvas."""
        self._chosen = member
        self.update()

    def words(self) -> dict[int, str]:
        """What is written on each member's tile: its number, from 1, and the plane where it is another."""
        return {k: f"{k + 1} {self._planes.get(k, '')}".rstrip() for k in self._tiles}

    def tiles(self) -> dict[int, QRect]:
        """Where each member's tile lies in the widget."""
        columns = self._columns()
        step = _SIDE + _GAP
        return {k: QRect((n % columns) * step, (n // columns) * step, _SIDE, _SIDE) for n, k in enumerate(self._tiles)}

    def minimumSizeHint(self) -> QSize:
        """Two tiles beside each other, and all rows that there are at the present width."""
        return QSize(2 * _SIDE + _GAP, self._rows * (_SIDE + _GAP))

    def sizeHint(self) -> QSize:
        """As `minimumSizeHint`: the height follows the width."""
        return self.minimumSizeHint()

    def _columns(self) -> int:
        return max((self.width() + _GAP) // (_SIDE + _GAP), 1)

    def _fit(self) -> None:
        """Ask for the height of all rows of tiles."""
        rows = max(-(-len(self._tiles) // self._columns()), 1)
        if rows != self._rows:
            self._rows = rows
            self.updateGeometry()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Another number of tiles may fit beside each other."""
        super().resizeEvent(event)
        self._fit()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Tell that something is to be shown."""
        super().showEvent(event)
        self.wanted.emit()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the tiles with their numbers, and a frame around the chosen one."""
        painter = QPainter(self)
        if not self._tiles:
            painter.drawText(self.rect(), Qt.TextFlag.TextWordWrap, self.nothing)
        words = self.words()
        for k, place in self.tiles().items():
            image = self._tiles[k]
            painter.fillRect(place, QColor("black"))
            painter.drawImage(place.center() - image.rect().center(), image)
            text = place.adjusted(4, 2, 0, 0)
            painter.setPen(QColor("black"))
            painter.drawText(text.translated(1, 1), Qt.AlignmentFlag.AlignLeft, words[k])
            painter.setPen(QColor("white"))
            painter.drawText(text, Qt.AlignmentFlag.AlignLeft, words[k])
            if k == self._chosen:
                painter.setPen(QPen(QColor(MASK_COLOR), 2))
                painter.drawRect(place.adjusted(1, 1, -1, -1))
        painter.end()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Tell whose tile was clicked."""
        place = event.position() if event is not None else QPointF(-1, -1)
        member = next((k for k, tile in self.tiles().items() if tile.contains(place.toPoint())), None)
        if member is not None:
            self.picked.emit(member)


def _image(rgb: npt.NDArray[np.uint8], pixel_mm: tuple[float, float]) -> QImage:
    """A tile as Qt draws it, with its own memory, true to scale and as large as there is room for."""
    rgb = np.ascontiguousarray(rgb)
    rows, columns, _ = rgb.shape
    image = QImage(rgb.tobytes(), columns, rows, 3 * columns, QImage.Format.Format_RGB888)
    height, width = rows * pixel_mm[0], columns * pixel_mm[1]
    scale = _SIDE / max(height, width)
    size = QSize(max(round(width * scale), 1), max(round(height * scale), 1))
    return image.scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation)
