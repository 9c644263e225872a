"""A histogram in which each member is a brick that can be clicked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPalette
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_diffseg.appearance import MASK_COLOR

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEIGHT: Final = 84
_MARGIN: Final = 2
_LARGEST_BRICK: Final = 18.0


@dataclass(frozen=True)
class Bins:
    """Members in bins of equal width, from the smallest to the largest value.

    Attributes
    ----------
    low, high : float
        Ends of the axis; equal where all values are.
    stacks : tuple of tuple of int
        Members of each bin, the smallest value at the bottom.
    """

    low: float
    high: float
    stacks: tuple[tuple[int, ...], ...]


def bins_of(values: Mapping[int, float], most: int) -> Bins:
    """Values by member as bins; about twice the square root of their number, `most` at most."""
    low, high = min(values.values()), max(values.values())
    count = 1 if high == low else max(1, min(most, math.ceil(2 * math.sqrt(len(values)))))
    stacks: list[list[int]] = [[] for _ in range(count)]
    for member in sorted(values, key=lambda k: (values[k], k)):
        place = 0 if high == low else int((values[member] - low) / (high - low) * count)
        stacks[min(place, count - 1)].append(member)
    return Bins(low, high, tuple(tuple(stack) for stack in stacks))


class BrickHistogram(QWidget):
    """Bricks by volume, the mean as a line, their interval as a bar below; the chosen member stands out.

    Parameters
    ----------
    unit : str
        Unit of the values.
    """

    picked = Signal(int)
    """The member whose brick was clicked."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.setObjectName("diffseg_histogram")
        self.setToolTip("Each block is one member: click it to see that member.")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self._unit = unit
        self._values: dict[int, float] = {}
        self._mean = 0.0
        self._interval = (0.0, 0.0)
        self._chosen: int | None = None

    def set_values(self, values: Mapping[int, float], mean: float, interval: tuple[float, float]) -> None:
        """Show values by member, their mean and where they lie, as `spread_of` says."""
        self._values, self._mean, self._interval = dict(values), mean, interval
        self.update()

    def choose(self, member: int | None) -> None:
        """Let the brick of a member stand out, or none."""
        self._chosen = member
        self.update()

    def sizeHint(self) -> QSize:
        """A low strip."""
        return QSize(200, _HEIGHT)

    def bricks(self) -> dict[int, QRectF]:
        """Where each member's brick lies in the widget."""
        if not self._values:
            return {}
        bins = bins_of(self._values, most=24)
        plot = self._plot()
        width = plot.width() / len(bins.stacks)
        height = min(plot.height() / max(len(stack) for stack in bins.stacks), _LARGEST_BRICK)
        return {
            member: QRectF(plot.left() + column * width, plot.bottom() - (row + 1) * height, width, height)
            for column, stack in enumerate(bins.stacks)
            for row, member in enumerate(stack)
        }

    def _plot(self) -> QRectF:
        below = self.fontMetrics().height() + 6
        return QRectF(_MARGIN, _MARGIN, self.width() - 2 * _MARGIN, self.height() - below - _MARGIN)

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw bricks, mean, interval and the two ends of the axis."""
        if not self._values:
            return
        painter = QPainter(self)
        colors = self.palette()
        plain, strong = colors.color(QPalette.ColorRole.Mid), QColor(MASK_COLOR)  # as the member's mask
        text = colors.color(QPalette.ColorRole.WindowText)
        for member, brick in self.bricks().items():
            gap = 1.0 if brick.height() >= 4 else 0.0
            painter.fillRect(brick.adjusted(gap, gap, 0, 0), strong if member == self._chosen else plain)
        plot = self._plot()
        painter.setPen(text)
        painter.fillRect(QRectF(QPointF(self._x(self._interval[0]), plot.bottom() + 2),
                                QPointF(self._x(self._interval[1]) + 1, plot.bottom() + 4)), text)  # fmt: skip
        x = self._x(self._mean)
        painter.drawLine(QPointF(x, plot.top()), QPointF(x, plot.bottom() + 4))
        below = QRectF(plot.left(), plot.bottom() + 5, plot.width(), self.height() - plot.bottom() - 5)
        low, high = min(self._values.values()), max(self._values.values())
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, f"{low:.3g}")
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, self._unit)
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{high:.3g}")
        painter.end()

    def _x(self, value: float) -> float:
        low, high = min(self._values.values()), max(self._values.values())
        share = 0.5 if high == low else (value - low) / (high - low)
        plot = self._plot()
        return plot.left() + share * plot.width()

    def _member_at(self, place: QPointF) -> int | None:
        return next((member for member, brick in self.bricks().items() if brick.contains(place)), None)

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Tell whose brick was clicked."""
        member = self._member_at(event.position()) if event is not None else None
        if member is not None:
            self.picked.emit(member)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Name the member under the cursor."""
        member = self._member_at(event.position()) if event is not None else None
        if event is not None and member is not None:
            text = f"member {member + 1}: {self._values[member]:.3g} {self._unit}"
            QToolTip.showText(event.globalPosition().toPoint(), text, self)
