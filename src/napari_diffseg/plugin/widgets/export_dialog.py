"""The window that asks what to export, under which names, on which voxels, and where to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_diffseg.errors import BadRequest
from napari_diffseg.extras import has_extra
from napari_diffseg.plugin.widgets.controls import breakable
from napari_diffseg.plugin.widgets.layer_combo import LayerCombo
from napari_diffseg.regions import own_values, with_values_of
from napari_diffseg.runs.layout import DEFAULT_PATTERN, Names, Style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from napari.layers import Layer

    from napari_diffseg.appearance import Convention
    from napari_diffseg.ensemble.summary import Summary
    from napari_diffseg.extras import ExtraName
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.regions import Region
    from napari_diffseg.reporting import ReportChoice
    from napari_diffseg.runs.export import ExportChoice, What

_REPORTS: Final = (
    ("page", "Report", "The run on one page of HTML: volumes, slices, lesions, settings, how to make it again."),
    ("pictures", "Pictures", "A PNG of every slice with lesion: mask, outlines of agreement, uncertainty."),
)
_WHAT: Final = (
    ("mask", "Mask", "One mask of all members, by the rule of the result box."),
    ("label-map", "Label map", "All regions in one file, with the label values below and a table of them."),
    ("mean", "Mean", "The share of the members that mark each voxel."),
    ("uncertainty", "Uncertainty", "The measure of the result box."),
    ("probability", "Probability", "The smoothed probability of each voxel, where the vote map is smoothed."),
    ("expected", "One-step", "The one-step estimate (x_0 after one evaluation) of each voxel, where the run has it."),
    ("members", "Members", "Each sampled mask in a file of its own."),
)

_OTHERS: Final = (
    ("npz", "nnU-Net .npz", "The probabilities as nnU-Net writes them (CASE.npz, CASE.pkl), for nnUNetv2_ensemble."),
    ("dicom", "DICOM SEG", "Mask and probability as segmentations of the DICOM series that the images came from."),
)
"""For other programs."""
_ALWAYS: Final = ("label-map", "npz", "dicom")
"""What nnU-Net's names leave to choose: the label map is always written."""

_STYLES: Final = (
    ("By a pattern", Style.PATTERN),
    ("BIDS derivative", Style.BIDS),
    ("nnU-Net: label map and dataset.json", Style.NNUNET),
)
_VALUES: Final[dict[str | None, str]] = {
    None: "As in training",
    "brats2021": "BraTS until 2022",
    "brats2023": "BraTS from 2023",
    "nnunet": "nnU-Net",
}
"""Label values by their words, as `with_values_of` takes them."""


@dataclass(frozen=True, slots=True)
class ExportWish:
    """What the user wants: folder, maps, names, and the layer whose grid they are resampled to (None: the source's).

    `page` and `pictures` ask for the run on one page, and for its slices as pictures; `edited` for the edited mask;
    `label_values` are those of the label map, None for the checkpoint's own; `series` is for DICOM segmentations.
    """

    folder: Path
    what: tuple[What, ...]
    style: Style
    pattern: str
    like: Layer | None
    page: bool = False
    pictures: bool = False
    edited: bool = False
    label_values: str | None = None
    series: Path | None = None

    def choice(self, summary: Summary, *, images: tuple[Volume, ...] = (), overwrite: bool = False) -> ExportChoice:
        """The export itself, with the ensemble summed up as it is on the screen.

        Parameters
        ----------
        summary : Summary
            How.
        images : tuple of Volume
            Of the run: they tell whether a DICOM series shows the same patient.
        overwrite : bool
            Replace files that are there.

        Raises
        ------
        BadImage
            If the layer has no grid to resample to.
        """
        from napari_diffseg.plugin.grid.layer_volume import frame_of_layer
        from napari_diffseg.runs.dicom_seg import SegChoice
        from napari_diffseg.runs.export import ExportChoice

        like = None if self.like is None else frame_of_layer(self.like).volume
        return ExportChoice(
            self.what,
            self.style,
            self.pattern,
            summary,
            like,
            overwrite,
            label_values=self.label_values,
            seg=None if self.series is None else SegChoice(self.series, images),
        )

    def also(self, image_name: str, image: Volume, convention: Convention) -> ReportChoice:
        """The page and the pictures, with an image behind the masks, and the patient's left where the panel has it.

        Raises
        ------
        BadRequest
            If neither is wanted, or what draws them is not installed.
        """
        from napari_diffseg.reporting import ReportChoice

        return ReportChoice(self.page, self.pictures, image, image_name, convention)


class ExportDialog(QDialog):
    """Asks for an export; `wish` is what was chosen once it has been accepted.

    Parameters
    ----------
    case : str
        The case's name, for the example.
    summary : Summary
        How the result box sums the ensemble up now; the export does the same.
    layers : iterable of Layer
        Images that can be resampled to.
    folder : Path
        Where to, to begin with.
    title : str
        Of the window; it says which run is exported.
    edited : str
        Name of the mask that was edited; empty where there is none.
    about : str
        The run in a line: case, time, scope, steps.
    series : Path or None
        The DICOM series that the images came from, where they did.
    regions : sequence of Region
        What the run's masks are; with several there may be a label map.
    parent : QWidget, optional
        Its window.
    """

    def __init__(
        self,
        case: str,
        *,
        summary: Summary,
        layers: Iterable[Layer],
        folder: Path,
        title: str = "Export results",
        edited: str = "",
        about: str = "",
        series: Path | None = None,
        regions: Sequence[Region] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self._case, self._summary, self._regions = case, summary, tuple(regions)
        self.boxes = {what: _check(what, title, tip) for what, title, tip in _WHAT}
        self.boxes["label-map"].setVisible(len(self._regions) > 1)
        self.boxes["label-map"].setChecked(len(self._regions) > 1)
        self.reports = {name: _check(name, title, tip) for name, title, tip in _REPORTS}
        self.others = {what: _check(what, title, tip) for what, title, tip in _OTHERS}
        for box in (*self.reports.values(), *self.others.values()):
            box.setChecked(False)
        _need("evaluation", *self.reports.values())
        _need("dicom", self.others["dicom"])
        self.about = _label("about", about)
        self.about.setVisible(bool(about))
        self.series = _line("series", "" if series is None else str(series))
        self.series.setPlaceholderText("Folder of the series on whose voxels the images are")
        self.edited = _check("edited", f"{edited.capitalize()} mask", "The mask as you edited it, beside the others.")
        self.edited.setVisible(bool(edited))
        self.edited.setChecked(bool(edited))
        self.style_choice = _combo("style", _STYLES)
        self.label_values = _combo("label_values", _possible_values(self._regions))
        self.label_values.setToolTip("Which number each region has in the label map.")
        self.pattern = _line("pattern", DEFAULT_PATTERN)
        self.pattern.setToolTip("File names, with {what} and {case}.")
        self.like = LayerCombo()
        self.like.setObjectName("diffseg_export_like")
        self.like.setToolTip("Without a layer: the images' own voxels, exactly. With one: resampled to its grid.")
        self.like.set_layers(list(layers))
        self.like.setItemText(0, "(the images' own voxels)")
        self.folder = _line("folder", str(folder))
        self.example = _label("example", "")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Save | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self._lay_out()
        self._show_examples()

    def _lay_out(self) -> None:
        what = QHBoxLayout()
        for box in (*self.boxes.values(), self.edited):
            what.addWidget(box)
        also = QHBoxLayout()
        for box in (*self.reports.values(), *self.others.values()):
            also.addWidget(box)
        also.addStretch(1)
        place = _with_browse(self.folder, "Folder for the results", self)
        self._series_row = QWidget()
        series = _with_browse(self.series, "Folder of the DICOM series", self)
        series.setContentsMargins(0, 0, 0, 0)
        self._series_row.setLayout(series)
        form = QFormLayout()
        form.addRow("What", what)
        form.addRow("Also", also)
        form.addRow("Names", self.style_choice)
        form.addRow("Pattern", self.pattern)
        form.addRow("Label values", self.label_values)
        form.setRowVisible(self.label_values, len(self._regions) > 1)
        form.addRow("DICOM series", self._series_row)
        form.setRowVisible(self._series_row, False)
        self.others["dicom"].toggled.connect(partial(form.setRowVisible, self._series_row))
        form.addRow("Resample to", self.like)
        form.addRow("Folder", place)
        layout = QVBoxLayout(self)
        layout.addWidget(self.about)
        layout.addLayout(form)
        layout.addWidget(self.example)
        layout.addWidget(self.buttons)

    @property
    def wish(self) -> ExportWish:
        """What is chosen now."""
        boxes = self.boxes | self.others
        style, is_dicom = self.style_choice.currentData(), self.others["dicom"].isChecked()
        chosen = tuple(what for what, box in boxes.items() if box.isChecked())
        if style is Style.NNUNET:
            chosen = tuple(what for what in _ALWAYS if what == "label-map" or boxes[what].isChecked())
        return ExportWish(
            folder=Path(self.folder.text()).expanduser(),
            what=chosen,  # type: ignore[arg-type]
            style=style,
            pattern=self.pattern.text(),
            like=self.like.layer(),
            page=self.reports["page"].isChecked(),
            pictures=self.reports["pictures"].isChecked(),
            edited=self.edited.isChecked(),
            label_values=self.label_values.currentData() if {"label-map", "npz"} & {*chosen} else None,
            series=Path(self.series.text()).expanduser() if is_dicom and self.series.text().strip() else None,
        )

    def _show_examples(self) -> None:
        """Show how files will be called, now and whenever that changes."""
        for box in (*self.boxes.values(), *self.others.values()):
            box.toggled.connect(self._show_example)
        self.series.textChanged.connect(self._show_example)
        self.style_choice.currentIndexChanged.connect(self._show_example)
        self.pattern.textChanged.connect(self._show_example)
        self.folder.textChanged.connect(self._show_example)
        self._show_example()

    def _first_name(self, wish: ExportWish) -> str:
        """How the first file will be called."""
        images = [what for what in wish.what if what in self.boxes]
        labels = [region.name for region in self._regions] or ["lesion"]
        only = len(images) <= 1 and images != ["members"] and (images == ["label-map"] or len(labels) == 1)
        names = Names(self._case, labels, wish.style, wish.pattern, only)
        if not images and wish.what:
            return f"{names.case_alone}.npz" if "npz" in wish.what else str(names.beside("mask", ".dcm"))
        what = "member" if images == ["members"] else (*images, "mask")[0]
        return f"{names.of(what, number=0 if what == 'member' else None)[0]}.nii.gz"

    def _show_example(self, _: object = None) -> None:
        """The first file's name, or why it cannot be exported so."""
        wish = self.wish
        self.pattern.setEnabled(wish.style is Style.PATTERN)
        for box in self.boxes.values():
            box.setEnabled(wish.style is not Style.NNUNET)
        reason = "" if wish.what else "Choose what to export."
        if not self.folder.text().strip():
            reason = "Choose a folder."
        if "dicom" in wish.what and wish.series is None:
            reason = "Choose the folder of the DICOM series that the images came from."
        try:
            first = self._first_name(wish)
        except BadRequest as err:
            reason = str(err)
        save = self.buttons.button(QDialogButtonBox.StandardButton.Save)
        assert save is not None  # the constructor asked for it
        save.setEnabled(not reason)
        rule = f"Mask: {self._summary.words}. Uncertainty: {self._summary.measure.title}."
        if self._summary.smoothing_mm:
            rule = f"{rule} Gaussian smoothing of the vote map: {self._summary.smoothing_mm:g} mm."
            if self._summary.refined:
                rule = f"{rule} One-step estimate refined by brightness."
        self.example.setText(breakable(reason or f"As in {first}. {rule}"))


def _line(name: str, text: str) -> QLineEdit:
    line = QLineEdit(text)
    line.setObjectName(f"diffseg_export_{name}")
    return line


def _label(name: str, text: str) -> QLabel:
    """Words that came from files, as they are."""
    label = QLabel(breakable(text))
    label.setObjectName(f"diffseg_export_{name}")
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    return label


def _need(extra: ExtraName, *boxes: QCheckBox) -> None:
    """Switch off what needs an extra that is not installed, and say which."""
    if not has_extra(extra):
        for box in boxes:
            box.setEnabled(False)
            box.setToolTip(f"Needs the extra: pip install 'napari-diffseg[{extra}]'.")


def _with_browse(line: QLineEdit, title: str, parent: QWidget) -> QHBoxLayout:
    """A folder's path with a button that asks for it."""

    def ask() -> None:
        folder = QFileDialog.getExistingDirectory(parent, title, line.text())
        if folder:
            line.setText(folder)

    row = QHBoxLayout()
    browse = QPushButton("Browse…")
    browse.clicked.connect(ask)
    row.addWidget(line, 1)
    row.addWidget(browse)
    return row


def _combo(name: str, items: Iterable[tuple[str, object]]) -> QComboBox:
    """A list of what can be chosen, each as it is read and as it is meant."""
    combo = QComboBox()
    combo.setObjectName(f"diffseg_export_{name}")
    for words, value in items:
        combo.addItem(words, value)
    return combo


def _possible_values(regions: tuple[Region, ...]) -> Iterator[tuple[str, str | None]]:
    """Label values that regions can have: how a user reads them, and the word for them."""
    for word, words in _VALUES.items():
        try:
            values = own_values(with_values_of(regions, word))
        except BadRequest:
            continue
        listed = ", ".join(f"{region.name} {value}" for region, value in zip(regions, values, strict=True))
        yield f"{words}: {listed}", word


def _check(what: str, title: str, tip: str) -> QCheckBox:
    box = QCheckBox(title)
    box.setObjectName(f"diffseg_export_{what}")
    box.setToolTip(tip)
    box.setChecked(True)
    return box
