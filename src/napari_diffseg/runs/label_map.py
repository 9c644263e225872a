"""What the values of a label map mean, in a file beside it: a table as BIDS has it, or nnU-Net's `dataset.json`."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.appearance import region_colors
from napari_diffseg.errors import BadCase, OutputExists, Remedy
from napari_diffseg.imaging.atomic import atomic_write, write_json
from napari_diffseg.imaging.dataset_json import NAME, description_of
from napari_diffseg.regions import label_names, outermost_first, own_values, part_named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_diffseg.regions import Region

DATASET: Final = NAME
"""Name of nnU-Net's description."""


@dataclass(frozen=True, slots=True)
class LabelWords:
    """What the values of a label map mean, and where it is to be written.

    Attributes
    ----------
    regions : tuple of Region
        With the values of the map.
    table : Path or None
        For a table as in BIDS: a line a value, with its name and its colour.
    dataset : Path or None
        For nnU-Net's `dataset.json`, which all cases of a folder share.
    modalities : sequence of str
        Of the images, for the latter.

    References
    ----------
    BIDS 1.10, Derivatives, Imaging data types: common image-derived labels.
    https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/region_based_training.md
    """

    regions: tuple[Region, ...]
    table: Path | None = None
    dataset: Path | None = None
    modalities: Sequence[str] = ()

    @property
    def new_files(self) -> list[Path]:
        """Files that are of this label map alone."""
        return [] if self.table is None else [self.table]

    def check(self, *, overwrite: bool) -> None:
        """Refuse a folder whose `dataset.json` gives labels other meanings, unless it may be replaced.

        Raises
        ------
        OutputExists
            If it does, or cannot be read.
        """
        if self.dataset is None or overwrite or not self.dataset.exists():
            return
        try:
            found = description_of(self.dataset.parent)
        except BadCase:
            found = None
        if found is None or found[1].get("labels") != self.description["labels"]:
            raise OutputExists(
                f"{self.dataset} gives other meanings to labels: choose another folder, or allow overwriting.",
                Remedy("overwrite"),
            )

    def write(self, *, overwrite: bool) -> None:
        """Write it; a `dataset.json` that says the same of labels stays as it is.

        Raises
        ------
        OutputExists, OutputFailed
            As `check` and `atomic_write`.
        """
        if self.table is not None:
            content = self._table().encode()
            atomic_write(self.table, lambda file: file.write(content), overwrite=overwrite, size=len(content))
        self.check(overwrite=overwrite)
        if self.dataset is not None and (overwrite or not self.dataset.exists()):
            write_json(self.dataset, self.description, overwrite=overwrite)

    @property
    def description(self) -> dict[str, Any]:
        """What `dataset.json` says: each region's values, and in which order they are painted, outer regions first."""
        own, order = own_values(self.regions), outermost_first(self.regions)
        labels: dict[str, int | list[int]] = {"background": 0}
        for n in order:
            known = set(self.regions[n].values)
            within = {own[m] for m, inner in enumerate(self.regions) if inner.values and set(inner.values) < known}
            values = sorted({*known, own[n], *within})  # own parts, too, for which no label of the training was left
            labels[self.regions[n].name] = values if len(values) > 1 else values[0]
        return {
            "channel_names": {str(n): name for n, name in enumerate(self.modalities)},
            "labels": labels,
            "regions_class_order": [own[n] for n in order],
            "file_ending": ".nii.gz",
        }

    def _table(self) -> str:
        colors = region_colors([part_named(region.name) for region in self.regions])
        color_of = dict(zip(own_values(self.regions), colors, strict=True))
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter="\t", lineterminator="\n")
        writer.writerow(("index", "name", "color"))
        writer.writerow((0, "background", "#000000"))
        writer.writerows((value, name, color_of[value]) for value, name in label_names(self.regions).items())
        return text.getvalue()
