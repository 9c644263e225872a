"""A reliability diagram: predicted probability against observed frequency."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

if TYPE_CHECKING:
    from napari_diffseg.evaluation.metrics.calibration import Reliability

_SIDE: Final = 120
_MARGIN: Final = 6
_LARGEST_DOT: Final = 7.0
_SMALLEST_DOT: Final = 2.0


class ReliabilityPlot(QWidget):
    """Predicted probability (to the right) against observed frequency (upwards), a dot a bin.

    The diagonal is perfect calibration; below it the prediction is too sure of lesion. A dot's area grows with the
    voxels of its bin.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("diffseg_reliability")
        self.setToolTip("Calibration: of the voxels with one predicted probability, the share that is lesion.")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self._curve: Reliability | None = None
        self._of = "members' mean"

    def set_curve(self, curve: Reliability | None, *, of: str = "members' mean") -> None:
        """Show a curve and which map it is of, or none."""
        self._curve, self._of = curve, of
        self.setVisible(curve is not None and sum(curve.count) > 0)
        self.updateGeometry()
        self.update()

    def dots(self) -> list[tuple[QPointF, float, str]]:
        """Where the centre of each bin's dot lies, its radius, and what it says."""
        if self._curve is None:
            return []
        plot, most = self._plot(), max(self._curve.count)
        return [
            (
                QPointF(plot.left() + p * plot.width(), plot.bottom() - y * plot.height()),
                max(_LARGEST_DOT * math.sqrt(n / most), _SMALLEST_DOT),
                f"predicted {p:.2f}, observed {y:.2f}: {n} voxels",
            )
            for p, y, n in zip(self._curve.confidence, self._curve.frequency, self._curve.count, strict=True)
            if n
        ]

    def sizeHint(self) -> QSize:
        """A square and the words on its right."""
        return QSize(_SIDE + 120, _SIDE)

    def minimumSizeHint(self) -> QSize:
        """As `sizeHint`."""
        return self.sizeHint()

    def _plot(self) -> QRectF:
        return QRectF(_MARGIN, _MARGIN, _SIDE - 2 * _MARGIN, _SIDE - 2 * _MARGIN)

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the square, its diagonal, the dots and what the axes are."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        plot, colors = self._plot(), self.palette()
        faint, strong = colors.color(QPalette.ColorRole.Mid), colors.color(QPalette.ColorRole.WindowText)
        painter.setPen(QPen(faint, 1))
        painter.drawRect(plot)
        painter.drawLine(plot.bottomLeft(), plot.topRight())
        dots = self.dots()
        painter.setPen(QPen(strong, 1))
        for (here, _, _), (there, _, _) in pairwise(dots):
            painter.drawLine(here, there)
        painter.setBrush(strong)
        painter.setPen(Qt.PenStyle.NoPen)
        for place, radius, _ in dots:
            painter.drawEllipse(place, radius, radius)
        painter.setPen(strong)
        beside = QRectF(_SIDE + 4, _MARGIN, self.width() - _SIDE - 4, _SIDE - 2 * _MARGIN)
        words = f"right: predicted ({self._of})\nup: observed (reference)\ndiagonal: perfect calibration"
        painter.drawText(beside, Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextWordWrap, words)
        painter.end()

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Say what the dot under the cursor stands for."""
        if event is None:
            return
        for place, radius, words in self.dots():
            away = event.position() - place
            if math.hypot(away.x(), away.y()) <= radius + 2:
                QToolTip.showText(event.globalPosition().toPoint(), words, self)
                return
