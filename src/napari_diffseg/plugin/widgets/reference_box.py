"""The part of the panel that says how good the result is against a mask that somebody drew."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_diffseg.evaluation.metrics.judgement import SURE, Verdict
from napari_diffseg.imaging.names.naming import REFERENCE, modality_of
from napari_diffseg.plugin.canvas.add_layer import bare
from napari_diffseg.plugin.grid.frame import RESULT_KEY
from napari_diffseg.plugin.grid.same_case import file_of, is_of_case, is_of_other_case
from napari_diffseg.plugin.layers.error_layer import COLORS
from napari_diffseg.plugin.widgets.layer_combo import LayerCombo
from napari_diffseg.plugin.widgets.lesion_table import in_ml
from napari_diffseg.plugin.widgets.named import named_label
from napari_diffseg.plugin.widgets.plots.reliability_plot import ReliabilityPlot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari.layers import Layer

    from napari_diffseg.evaluation.metrics.judgement import Judgement
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.plugin.layers.result_view import ResultView

_NOTHING = "Choose a labels layer: the mask is compared with it after a run."
_NOT_YET = "The mask is compared with it once a run has ended; measuring takes a moment."
_INSTALL = "for HD95: pip install 'napari-diffseg[evaluation]'"


@dataclass(frozen=True, eq=False)
class Judged:
    """A judgement, the Dice of each member by its number, the result that they are of, and which map is the curve's."""

    judgement: Judgement
    member_dice: dict[int, float]
    view: ResultView
    calibrated: str = "members' mean"


class ReferenceBox(QWidget):
    """A choice of the reference, its Dice and HD95, the errors with their colours, and the reliability curve."""

    chosen = Signal(object)
    """The reference's layer, or None."""
    shown = Signal(bool)
    """Whether the errors are to be on the canvas."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = LayerCombo()
        self.layer.setObjectName("diffseg_reference")
        self.layer.setToolTip("A labels layer that a person drew (ground truth); everything above 0 counts as lesion.")
        self.layer.layer_chosen.connect(self.chosen.emit)
        self.errors = QCheckBox("Show errors")
        self.errors.setObjectName("diffseg_show_errors")
        self.errors.setToolTip("What the mask misses, and what it marks wrongly, on the canvas.")
        self.errors.toggled.connect(self.shown.emit)
        self.line = named_label("scores", "Dice: overlap, 1 is the best. HD95: distance of the outlines in mm.")
        self.legend = named_label(
            "errors_legend", f"Sure: at least {SURE:.0%} of the members agree. Their votes do not tell of these errors."
        )
        self.legend.setTextFormat(Qt.TextFormat.RichText)
        self.plot = ReliabilityPlot()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.layer, self.line, self.errors, self.legend, self.plot):
            layout.addWidget(widget)
        self.show_judged(None)

    def set_layers(self, layers: Iterable[Layer]) -> None:
        """Offer the labels layers among these that are no results."""
        self.layer.set_layers([layer for layer in map(bare, layers) if _can_be_reference(layer)])

    def guess(self, layers: Iterable[Layer]) -> None:
        """A case has been opened with these layers: choose its reference, or none, never that of the case before."""
        named = [layer for layer in layers if _can_be_reference(layer) and modality_of(layer.name) == REFERENCE]
        self.layer.choose(named[0] if named else None)

    @property
    def is_without_file(self) -> bool:
        """Whether nothing tells of which case the reference is: somebody has drawn it here."""
        chosen = self.layer.layer()
        return chosen is not None and file_of(chosen) is None

    def follow_case(self, layers: Iterable[Layer], case: Case) -> None:
        """A run of this case is on the screen: a reference that is told to be of another gives way to its own."""
        chosen = self.layer.layer()
        if chosen is None or is_of_other_case(chosen, case):
            self.guess(layer for layer in map(bare, layers) if is_of_case(layer, case))

    def show_judged(self, judged: Judged | None) -> None:
        """Show how good the mask is, or that nothing is known yet."""
        nothing = _NOTHING if self.layer.layer() is None else _NOT_YET
        self.line.setText(nothing if judged is None else describe_judged(judged))
        self.legend.setText("" if judged is None else describe_errors(judged.judgement.ml))
        if judged is None:
            self.plot.set_curve(None)
        else:
            self.plot.set_curve(judged.judgement.curve, of=judged.calibrated)
        for widget in (self.errors, self.legend):
            widget.setVisible(judged is not None)

    def show_failure(self, sentence: str) -> None:
        """Say why nothing is known."""
        self.show_judged(None)
        self.line.setText(sentence)


def describe_judged(judged: Judged) -> str:
    """Dice of the mask and of its members, HD95 and calibration in one line."""
    found, dice = judged.judgement, judged.member_dice.values()
    members = f" (members {min(dice):.2f} to {max(dice):.2f})" if len(dice) > 1 else ""
    if found.hd95_mm is None:
        distance = _INSTALL
    elif math.isnan(found.hd95_mm):
        distance = "no HD95: one of the two is empty"
    else:
        distance = f"HD95 {found.hd95_mm:.1f} mm"
    calibration = f"calibration error (ECE) of the {judged.calibrated} {found.curve.ece:.3f}"
    return f"Dice {found.dice:.3f}{members}; {distance}; {calibration}."


def describe_errors(ml: Mapping[Verdict, float]) -> str:
    """Volumes of the errors as rich text, each with the colour that it has on the canvas."""

    def part(verdict: Verdict, words: str) -> str:
        return f'<span style="color:{COLORS[verdict]}">■</span>&nbsp;{words}&nbsp;{in_ml(ml[verdict])}'

    missed = f"{part(Verdict.MISSED, 'missed')}, {part(Verdict.SURELY_MISSED, 'confidently')} ml"
    false = f"{part(Verdict.FALSE, 'false')}, {part(Verdict.SURELY_FALSE, 'confidently')} ml"
    return f"{missed}<br>{false}"


def _can_be_reference(layer: Layer) -> bool:
    from napari.layers import Labels

    return isinstance(layer, Labels) and RESULT_KEY not in layer.metadata and layer.ndim == 3
