"""The part of the panel that says what is in the ensemble: one line at first, more in folded boxes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QLabel, QVBoxLayout, QWidget

from napari_diffseg.appearance import AGREEMENT, AGREEMENT_NAMES
from napari_diffseg.ensemble.volumes import interval_title
from napari_diffseg.plugin.widgets.convergence_box import ConvergenceBox
from napari_diffseg.plugin.widgets.denoising_box import DenoisingBox
from napari_diffseg.plugin.widgets.fold import Fold
from napari_diffseg.plugin.widgets.lesion_table import LesionTable, in_ml
from napari_diffseg.plugin.widgets.plots.tile_grid import TileGrid
from napari_diffseg.plugin.widgets.reference_box import ReferenceBox
from napari_diffseg.plugin.widgets.volume_box import VolumeBox
from napari_diffseg.plugin.widgets.what_if_box import WhatIfBox

if TYPE_CHECKING:
    from napari_diffseg.ensemble.findings import EditedFindings, Findings

_NOTHING = "Volume and lesions are shown here once a member is finished."
_MEASURING = "Measuring…"


class ExploreBox(QWidget):
    """Volume with its spread in a line; members, lesions, convergence and a reference, folded away."""

    def __init__(self) -> None:
        super().__init__()
        self.line = QLabel(_NOTHING)
        self.line.setObjectName("diffseg_findings")
        self.line.setTextFormat(Qt.TextFormat.PlainText)
        self.line.setWordWrap(True)
        self.line.setToolTip(
            "Volume: the mean over the members, and where they lie: their range, or, of 39 and more, the middle 95 %."
        )
        self._findings: Findings | None = None
        self._edited: EditedFindings | None = None
        self.volume, self.lesions, self.convergence = VolumeBox(), LesionTable(), ConvergenceBox()
        self.wall, self.denoising, self.reference = TileGrid(), DenoisingBox(), ReferenceBox()
        self.what_if = WhatIfBox()
        self.agreement = QCheckBox("Outline 5, 50 and 95 % agreement")
        self.agreement.setObjectName("diffseg_agreement")
        colors = ", ".join(f"{level:.0%} {name}" for level, name in zip(AGREEMENT, AGREEMENT_NAMES, strict=True))
        self.agreement.setToolTip(f"Outlines of what this share of the members marks: {colors}. Surfaces in 3-D.")
        self.lesions.smallest_changed.connect(self._show_line)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.agreement)
        for name, title, content, tip in (
            ("volume_fold", "Members by volume", self.volume, "Lesion volume of each member; click one to see it."),
            ("wall_fold", "Members side by side", self.wall, "Every member on the slice on screen."),
            (
                "lesions_fold",
                "Lesions",
                self.lesions,
                "Connected components, and how many members mark each.",
            ),
            ("convergence_fold", "Convergence", self.convergence, "Whether more members still change the majority."),
            (
                "denoising_fold",
                "Denoising",
                self.denoising,
                "Denoising of one slice, from noise to masks, step by step.",
            ),
            (
                "what_if_fold",
                "What if",
                self.what_if,
                "The same members without one image, or with another one in its place.",
            ),
            ("reference_fold", "Compare with ground truth", self.reference, "Dice, HD95, errors and calibration."),
        ):
            layout.addWidget(Fold(name, title, tip=tip, content=content))

    def show_findings(self, findings: Findings | None) -> None:
        """Show what was measured, or that nothing has been."""
        self._findings, self._edited = findings, None
        self.volume.show_volumes(None if findings is None else findings.volumes)
        if findings is None:
            self.lesions.show_lesions((), 0.0)
        else:
            self.lesions.show_lesions(findings.components, findings.smallest_ml)
        self.convergence.show_convergence(None if findings is None else findings.convergence)
        self._show_line()

    def show_edited(self, edited: EditedFindings | None) -> None:
        """Show what was measured of the edited mask, before what was of the members; None is the rule's mask."""
        self._edited = edited
        if edited is not None:
            self.lesions.show_lesions(edited.components, edited.smallest_ml, of_one_mask=True)
            self._show_line()

    def _show_line(self) -> None:
        """Volume and lesions in a line, by the smallest size that the table shows."""
        findings, edited, chosen = self._findings, self._edited, self.lesions.smallest_ml
        if findings is None:
            self.line.setText(_NOTHING)
            return
        if chosen is not None:
            findings = replace(findings, smallest_ml=chosen)
            edited = None if edited is None else replace(edited, smallest_ml=chosen)
        line = describe_findings(findings)
        if edited is not None:
            count = len(edited.lesions)
            lesions = f"{count} lesion{'' if count == 1 else 's'}"
            line = f"Edited mask: {in_ml(edited.volume_ml)} ml in {lesions}. Members: {line}"
        self.line.setText(line)

    def choose_member(self, member: int | None) -> None:
        """Say which member is on the canvas; None is none."""
        self.volume.choose(member)
        self.wall.choose(member)

    def show_measuring(self) -> None:
        """Say that the numbers of what was chosen are on their way."""
        self.line.setText(_MEASURING)

    def show_failure(self, sentence: str) -> None:
        """Say why nothing could be measured."""
        self.line.setText(sentence)


def describe_findings(findings: Findings) -> str:
    """Volume and lesions in one line."""
    volumes = findings.volumes
    low, high = volumes.interval_ml
    count = len(findings.lesions)
    if len(volumes.by_member) == 1:
        return f"{in_ml(volumes.mean_ml)} ml in the one member; {count} lesion{'' if count == 1 else 's'}."
    spread = f"{interval_title(len(volumes.by_member))}: {in_ml(low)} to {in_ml(high)}"
    return f"{in_ml(volumes.mean_ml)} ml ({spread}); {_describe_lesions(findings)}."


def _describe_lesions(findings: Findings) -> str:
    """How many there are, and how many of them all members see."""
    count = len(findings.lesions)
    sure = sum(lesion.holders == lesion.asked for lesion in findings.lesions)
    if not count:
        return "no lesion"
    if count == 1:
        return f"1 lesion, {'' if sure else 'not '}seen by all members"
    return f"{count} lesions, {sure} of them seen by all members"
