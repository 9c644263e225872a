"""A small plot of values that came one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPalette, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

_PLOT: Final = 44
_MARGIN: Final = 3
_DOT: Final = 3.0
_MOST_DOTS: Final = 60


class LinePlot(QWidget):
    """Values by number, with a title and the two ends of the value axis.

    Parameters
    ----------
    name : str
        Object name, without the plugin's prefix.
    title : str
        What the values are, with their unit.
    tip : str
        The tooltip.
    """

    def __init__(self, name: str, title: str, tip: str) -> None:
        super().__init__()
        self.setObjectName(f"diffseg_{name}")
        self.setToolTip(tip)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._title = title
        self.points: tuple[tuple[int, float], ...] = ()
        self.ends = (0.0, 1.0)

    def set_values(self, values: Sequence[float], *, first: int, ends: tuple[float, float] | None = None) -> None:
        """Show values.

        Parameters
        ----------
        values : sequence of float
            In the order in which they came.
        first : int
            Number of the first one.
        ends : (float, float), optional
            Ends of the value axis; by default those of the values.
        """
        self.points = tuple(enumerate((float(v) for v in values), start=first))
        numbers = [value for _, value in self.points] or [0.0]
        self.ends = ends or (min(numbers), max(numbers))
        self.update()

    def sizeHint(self) -> QSize:
        """A low strip with a line of text above."""
        return QSize(200, self.fontMetrics().height() + _PLOT)

    def minimumSizeHint(self) -> QSize:
        """As high as it has to be; the title fits."""
        return QSize(self.fontMetrics().horizontalAdvance(self._title + "  8888 - 8888"), self.sizeHint().height())

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the texts, the axis and the values."""
        painter = QPainter(self)
        line = self.fontMetrics().height()
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(QRectF(0, 0, self.width(), line), Qt.AlignmentFlag.AlignLeft, self._title)
        if self.points:
            low, high = self.ends
            last = self.points[-1]
            text = f"{last[1]:.3g}" if low == high else f"{low:.3g} – {high:.3g}"
            painter.drawText(QRectF(0, 0, self.width(), line), Qt.AlignmentFlag.AlignRight, text)
            below = QRectF(0, line, self.width(), self.height() - line)
            places = self._places(below.adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN))
            painter.drawPolyline(QPolygonF(places))
            if len(places) <= _MOST_DOTS:
                painter.setBrush(painter.pen().color())
                for place in places:
                    painter.drawRect(QRectF(place.x() - _DOT / 2, place.y() - _DOT / 2, _DOT, _DOT))
        painter.end()

    def _places(self, plot: QRectF) -> list[QPointF]:
        low, high = self.ends
        first, span = self.points[0][0], max(len(self.points) - 1, 1)
        height = max(high - low, 1e-12)
        return [
            QPointF(
                plot.left() + (number - first) / span * plot.width(),
                plot.bottom() - (0.5 if high == low else (value - low) / height) * plot.height(),
            )
            for number, value in self.points
        ]
