"""The part of the panel that sums up the ensemble on the screen: consensus, threshold, uncertainty, members shown.

Below are the colours of the maps with their units, and the votes on the voxel under the cursor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.ensemble.summary import HIGHEST_THRESHOLD, LOWEST_THRESHOLD, Measure, Rule, Summary
from napari_diffseg.plugin.canvas.result_style import colors_of, mean_style, uncertainty_style
from napari_diffseg.plugin.widgets.controls import guard_from_wheel
from napari_diffseg.plugin.widgets.legend import Legend
from napari_diffseg.plugin.widgets.named import named_label
from napari_diffseg.recipe import HIGHEST_SMOOTHING_MM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_diffseg.regions import Region

_PERCENT: Final = 100
_STEP: Final = 5
_SMOOTHING_STEP_MM: Final = 0.5
_READING_WIDTH: Final = 44
"""Least room for what a slider says; 10 of 10 members need more."""
_SHORT: Final = {
    Rule.MAJORITY: "majority",
    Rule.MEAN: "mean > threshold",
    Rule.PROBABILITY: "probability > 0.5",
    Rule.STAPLE: "STAPLE",
    Measure.PROBABILITY: "p (1 - p)",
}
"""What fits where the panel is narrow; the tooltips say it in full."""
_SHORTEST: Final = {
    Rule.MAJORITY: "majority",
    Rule.MEAN: "mean",
    Rule.PROBABILITY: "probability",
    Rule.STAPLE: "STAPLE",
}
"""The checkpoint's rule, where the word *default* stands before it."""
_SQUARE: Final = 12
"""Pixels of the colour beside a region."""
_NO_VOTES: Final = "Point at a voxel to read its votes."


class ResultBox(QWidget):
    """Controls that show the ensemble in another way, at once and without sampling."""

    region_chosen = Signal(object)
    """The mask channel, from 0, that is shown and measured; None is all regions together."""
    mask_chosen = Signal(object)
    """The number of the edited mask that is to be measured; None is the rule's."""
    changed = Signal(object, object)
    """A Summary, and how many members to show (None: all)."""

    def __init__(self) -> None:
        super().__init__()
        self.rule = _choice(
            "rule",
            Rule,
            "How members become one mask. Default: what the checkpoint says. Else the majority of the members, their "
            "mean above a threshold, the smoothed probability above 0.5, or STAPLE, which weighs each member by how "
            "well it agrees with the others (Warfield 2004).",
        )
        self.rule.insertItem(0, "", None)
        self.region = _list(
            "region",
            "Which region mean, uncertainty, outlines, volumes, lesions, convergence and Dice are of. The mask shows "
            "all.",
        )
        self.region_label = QLabel("Region")
        self.measured = _list(
            "measured_mask", "Which mask volume, lesions and Dice are of: the rule's, or one that you edited."
        )
        self.measured_label = QLabel("Measure")
        self.note = named_label(
            "rule_note", "How well each member agrees with what STAPLE takes for the truth: the least and the most."
        )
        self.note.setVisible(False)
        self.threshold = _slider("threshold", "A voxel is in the mask when a larger share of the members marks it.")
        self.threshold.setRange(round(LOWEST_THRESHOLD * _PERCENT), round(HIGHEST_THRESHOLD * _PERCENT))
        self.threshold.setSingleStep(1)
        self.threshold.setPageStep(_STEP)
        self.measure = _choice(
            "measure",
            Measure,
            "Of the members: unbiased variance, entropy, or the share of pairs that disagree on a voxel. Or p (1 - p) "
            "of the smoothed probability p.",
        )
        self.smoothing = _smoothing()
        self.refined = QCheckBox()
        self.refined.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # a long name widens no panel
        self.refined.setObjectName("diffseg_refined")
        self.refined.setToolTip(
            "Whether the smoothed probability takes the one-step estimate as it is refined by how bright the lesion is "
            "in this case: boundaries move to where the image changes. Members, mean and variance are not touched."
        )
        self.shown = _slider("shown", "Members that are shown and have a vote; the others are hidden, not deleted.")
        self._threshold_reading, self._shown_reading = QLabel(), QLabel()
        self.mean_legend = Legend("mean_legend", mean_style())
        self.mean_legend.set_texts("0", "mean", "1")
        self.uncertainty_legend = Legend("uncertainty_legend", uncertainty_style(1.0))
        self.unsampled = named_label(
            "unsampled", "Where nothing was sampled, an empty mask does not mean that there is no lesion."
        )
        self.unsampled.setVisible(False)
        self.votes = named_label("cursor", "What the members say of the voxel under the cursor, in 2-D.")
        self.votes.setText(_NO_VOTES)
        self._lay_out()
        self._begin()
        self.region.currentIndexChanged.connect(lambda _: self.region_chosen.emit(self.region.currentData()))
        self.measured.currentIndexChanged.connect(lambda _: self.mask_chosen.emit(self.measured.currentData()))
        for choice in (self.rule, self.measure):
            choice.currentIndexChanged.connect(self._tell)
        self.refined.toggled.connect(self._tell)
        for number in (self.threshold, self.smoothing, self.shown):
            number.valueChanged.connect(self._tell)

    def _begin(self) -> None:
        """Nothing to sum up yet."""
        self.set_own(Rule.MAJORITY, 0.0, "")
        self.set_summary(Summary())
        self.set_count(0)
        self.show_masks({}, None)
        self.show_regions((), None)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        threshold = _beside(self.threshold, self._threshold_reading)
        rows = (
            ("Mask", self.rule),
            ("Threshold", threshold),
            ("Uncertainty", self.measure),
            ("Smoothing", self.smoothing),
            ("Estimate", self.refined),
            ("Members", _beside(self.shown, self._shown_reading)),
        )
        for n, (text, widget) in enumerate(rows):
            label = QLabel(text)
            label.setToolTip(widget.toolTip())
            grid.addWidget(label, n, 0)
            grid.addWidget(widget, n, 1)
            if widget is threshold:
                self._threshold_row = (label, widget)
            if widget is self.refined:
                self._refined_row = (label, widget)
        grid.addWidget(self.region_label, len(rows) + 1, 0)
        grid.addWidget(self.region, len(rows) + 1, 1)
        grid.addWidget(self.measured_label, len(rows), 0)
        grid.addWidget(self.measured, len(rows), 1)
        layout.addLayout(grid)
        for widget in (self.note, self.uncertainty_legend, self.mean_legend, self.unsampled, self.votes):
            layout.addWidget(widget)

    def show_regions(self, regions: Sequence[Region], chosen: int | None) -> None:
        """Offer the regions of a run with several, each with its colour in the mask, and say which is shown."""
        self.region.blockSignals(True)
        self.region.clear()
        self.region.addItem("all regions", None)
        for n, (region, color) in enumerate(zip(regions, colors_of(regions), strict=True)):
            self.region.addItem(_square(color), region.name, n)
        self.region.setCurrentIndex(max(self.region.findData(chosen), 0))
        self.region.blockSignals(False)
        for widget in (self.region_label, self.region):
            widget.setVisible(len(regions) > 1)

    def show_masks(self, edited: Mapping[int, str], measured: int | None) -> None:
        """Offer the masks that were edited, each with its number and name, and say which mask is measured."""
        self.measured.blockSignals(True)
        self.measured.clear()
        self.measured.addItem("mask of the rule", None)
        for number, name in edited.items():
            self.measured.addItem(f"{name} mask", number)
        self.measured.setCurrentIndex(max(self.measured.findData(measured), 0))
        self.measured.blockSignals(False)
        for widget in (self.measured_label, self.measured):
            widget.setVisible(bool(edited))

    def show_cursor(self, words: str) -> None:
        """Show the votes on the voxel under the cursor; without any, say how to get some."""
        self.votes.setText(words or _NO_VOTES)

    def show_unsampled(self, words: str) -> None:
        """Say what is hatched; nothing is no line."""
        self.unsampled.setText(words)
        self.unsampled.setVisible(bool(words))

    def show_note(self, words: str) -> None:
        """What there is to say of the rule; nothing is no line."""
        self.note.setText(words)
        self.note.setVisible(bool(words))

    @property
    def summary(self) -> Summary:
        """The rule, threshold, measure, smoothing and refinement that are chosen."""
        mm = self.smoothing.value()
        return Summary(
            self.rule.currentData(),
            self.threshold.value() / _PERCENT,
            self.measure.currentData(),
            None if mm < 0 else mm,
            self.refined.isChecked(),
        )

    @property
    def first(self) -> int | None:
        """How many members to show; None is all."""
        return None if self.shown.value() == self.shown.maximum() else self.shown.value()

    def set_summary(self, summary: Summary) -> None:
        """Show a rule, threshold, measure, smoothing and refinement."""
        self.rule.setCurrentIndex(self.rule.findData(summary.rule))
        self.threshold.setValue(round(summary.threshold * _PERCENT))
        self.measure.setCurrentIndex(self.measure.findData(summary.measure))
        self.smoothing.setValue(-_SMOOTHING_STEP_MM if summary.smoothing_mm is None else summary.smoothing_mm)
        self.refined.setChecked(summary.refined)
        self._read()

    def set_own(self, rule: Rule, mm: float, refined_by: str) -> None:
        """Say what the checkpoint of the run on the screen does where nothing else is chosen.

        Parameters
        ----------
        rule : Rule
            How it makes its masks.
        mm : float
            Its Gaussian smoothing of the vote map; 0 is off.
        refined_by : str
            The modality by which its one-step estimate is refined; empty where it is not.
        """
        self.rule.setItemText(0, f"default ({_SHORTEST[rule]})")
        self.smoothing.setSpecialValueText(f"default ({f'{mm:g} mm' if mm else 'off'})")
        self.refined.setText(f"refined by {refined_by}")
        for widget in self._refined_row:
            widget.setVisible(bool(refined_by))

    def set_count(self, count: int) -> None:
        """Offer so many members, all of them shown; with none there is nothing to choose from."""
        self.shown.blockSignals(True)
        self.shown.setRange(min(count, 1), count)
        self.shown.setValue(count)
        self.shown.blockSignals(False)
        self._read()

    def _tell(self, *_: object) -> None:
        self._read()
        self.changed.emit(self.summary, self.first)

    def _read(self) -> None:
        has_threshold = self.rule.currentData() is Rule.MEAN
        for widget in self._threshold_row:
            widget.setVisible(has_threshold)
        self._threshold_reading.setText(f"{self.threshold.value() / _PERCENT:.2f}")
        measure: Measure = self.measure.currentData()
        name = "p (1 - p)" if measure is Measure.PROBABILITY else measure.value
        what = f"uncertainty: {name}{f', {measure.unit}' if measure.unit else ''}"
        self.uncertainty_legend.set_texts("0", what, f"{measure.largest:g}")
        self.shown.setEnabled(self.shown.maximum() > 1)
        self._shown_reading.setText(f"{self.shown.value()} of {self.shown.maximum()}" if self.shown.maximum() else "")
        readings = (self._threshold_reading, self._shown_reading)
        width = max(_READING_WIDTH, *(reading.sizeHint().width() for reading in readings))
        for reading in readings:  # alike, so that the sliders end at one line
            reading.setFixedWidth(width)


def _square(color: str) -> QIcon:
    square = QPixmap(_SQUARE, _SQUARE)
    square.fill(QColor(color))
    return QIcon(square)


def _list(name: str, tip: str) -> QComboBox:
    box = QComboBox()
    box.setObjectName(f"diffseg_{name}")
    box.setToolTip(tip)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    guard_from_wheel(box)
    return box


def _choice(name: str, kind: type[Rule] | type[Measure], tip: str) -> QComboBox:
    box = _list(name, tip)
    for choice in kind:
        box.addItem(_SHORT.get(choice, choice.title), choice)
    return box


def _slider(name: str, tip: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setObjectName(f"diffseg_{name}")
    slider.setToolTip(tip)
    guard_from_wheel(slider)
    return slider


def _smoothing() -> QDoubleSpinBox:
    """Below 0 mm lies what the checkpoint says."""
    box = QDoubleSpinBox()
    box.setObjectName("diffseg_smoothing")
    box.setToolTip(
        "Gaussian smoothing (mm) of the vote map; 0 = off. It makes the smoothed probability, and the mask where that "
        "is its rule. Members, mean and variance are not smoothed."
    )
    box.setRange(-_SMOOTHING_STEP_MM, HIGHEST_SMOOTHING_MM)
    box.setSingleStep(_SMOOTHING_STEP_MM)
    box.setDecimals(1)
    box.setSuffix(" mm")
    guard_from_wheel(box)
    return box


def _beside(slider: QSlider, reading: QLabel) -> QWidget:
    both = QWidget()
    both.setToolTip(slider.toolTip())
    row = QHBoxLayout(both)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(slider, 1)
    row.addWidget(reading)
    return both
