"""Opens NIfTI files and folders of one case in napari; nothing slow is imported until a file is ours."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.case_files import find_case_images, looks_like_case, modality_said_for
from napari_diffseg.imaging.dataset_json import channels_said_for
from napari_diffseg.imaging.names.dicom_files import holds_dicom
from napari_diffseg.imaging.names.grouping import case_id_of
from napari_diffseg.imaging.names.naming import REFERENCE, may_be_given, modality_named, modality_of, read_name
from napari_diffseg.imaging.names.pairs import each_pair_once, other_half
from napari_diffseg.imaging.names.pattern import Pattern
from napari_diffseg.imaging.nnunet import channel_case_of
from napari_diffseg.plugin.files.opened_run import looks_like_run, run_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.plugin.grid.layer_data import LayerData


Paths = str | list[str]

_UPPER_PERCENTILE = 99.5
_LABELS = Pattern(r"(?<![a-z0-9])(?:dseg|aseg|aparc[a-z0-9]*)(?![a-z0-9])", re.IGNORECASE)
"""How BIDS and FreeSurfer name files of labels that are nobody's reference; so they name some maps, too."""


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """The reader of these paths, or None at once where one of them is not ours.

    Ours are images by their name, and folders that hold the images of one case or a series of DICOM files, or that a
    run left.
    """
    paths = [Path(p) for p in _listed(path)]
    if not paths or not all(_is_ours(p) for p in paths):
        return None
    return read_unless_open if len(paths) == 1 and other_half(paths[0]) is not None else read_layers


def _listed(path: Paths) -> list[str]:
    return [path] if isinstance(path, str) else [str(p) for p in path]


def _is_ours(path: Path) -> bool:
    if path.is_dir():
        return looks_like_run(path) or looks_like_case(path) or holds_dicom(path)
    return may_be_given(path.name)


def read_unless_open(path: Paths) -> list[Any]:
    """As `read_layers`, but no layer for one half of a pair whose other half is open.

    Of files that are dropped together napari asks for each by itself.
    """
    [half] = map(other_half, map(Path, _listed(path)))
    return [(None,)] if half is not None and _is_open(half) else read_layers(path)


def _is_open(file: Path) -> bool:
    """Whether a layer of the viewer was read from this file."""
    from napari import current_viewer

    viewer = current_viewer()
    sources = [layer.source.path for layer in viewer.layers] if viewer is not None else []
    return any(source is not None and Path(source) == file for source in sources)


def read_layers(path: Paths) -> list[LayerData]:
    """One layer an image: intensities in grey, a reference mask (`seg`) as labels; of several, the last is shown.

    A file with channels gives a layer for each. The layers lie upright, in mm, and keep their file's grid in their
    metadata, so that whatever is computed from them can be written on the file's own voxels.

    Raises
    ------
    BadImage
        If a file is damaged, too large, or no image.
    BadCase
        If a folder holds no case, or several, or a run that cannot be read.
    """
    paths = each_pair_once(Path(p) for p in _listed(path))
    runs = [p for p in paths if looks_like_run(p)]
    files: list[tuple[Path, str | None]] = []
    for p in _each_series_once(paths):
        if p not in runs:
            files += find_case_images(p) if p.is_dir() and not holds_dicom(p) else [(p, modality_said_for(p))]
    return [*read_case_layers(files), *(layer for run in runs for layer in run_layers(run))]


def read_case_layers(files: Sequence[tuple[Path, str | None]]) -> list[LayerData]:
    """One layer an image of files of which it is known what they show; of several, the last image is shown.

    Parameters
    ----------
    files : sequence of (Path, str or None)
        Each file, and its modality, or "seg" for a reference mask; None where only its name tells.

    Raises
    ------
    BadImage
        If a file is damaged, too large, or no image.
    """
    layers = _read_files(files)
    images = [attributes for _, attributes, kind in layers if kind == "image"]
    promised = [_promises_labels(_volume_of(one).path) for one in images]
    shown = max(range(len(images)), key=lambda n: (not promised[n], n), default=None)
    for _, attributes, _ in layers:
        if shown is not None and attributes is not images[shown]:  # a reference would lie over what is to be found
            attributes["visible"] = False
    return layers


def _each_series_once(paths: Sequence[Path]) -> list[Path]:
    """The paths in their order; of the DICOM files in one folder the first, which stands for its series."""
    series = {path: path.parent for path in paths if path.suffix.lower() in (".dcm", ".ima")}
    return [p for n, p in enumerate(paths) if p not in series or series[p] not in map(series.get, paths[:n])]


def _read_files(files: Sequence[tuple[Path, str | None]]) -> list[LayerData]:
    """The layers of files; a mask that cannot be read is left out beside images, the first of which then says so."""
    layers: list[LayerData] = []
    refusals: list[BadImage] = []
    for file, modality in files:
        try:
            layers += _read_file(file, modality)
        except BadImage as err:
            if not _promises_labels(file, modality):
                raise
            refusals.append(err)
    if refusals and not layers:
        raise refusals[0]
    for refusal in refusals:
        _note(layers[0], f"a mask beside it is left out: {refusal}")
    return layers


def _note(layer: LayerData, note: str) -> None:
    """Put a note to those of a layer's volume."""
    from napari_diffseg.plugin.grid.frame import METADATA_KEY

    volume = _volume_of(layer[1])
    frame = layer[1]["metadata"][METADATA_KEY]
    layer[1]["metadata"][METADATA_KEY] = replace(frame, volume=replace(volume, notes=(*volume.notes, note)))


def _volume_of(attributes: dict[str, Any]) -> Volume:
    from napari_diffseg.plugin.grid.frame import METADATA_KEY, Frame

    frame: Frame = attributes["metadata"][METADATA_KEY]
    return frame.volume


def _promises_labels(path: Path | None, modality: str | None = None) -> bool:
    """Whether a file's name, or what is known of it, says that it holds labels; it may hold something else."""
    if path is None:
        return False
    return REFERENCE in (modality, modality_of(path.name)) or _LABELS.search(path.name) is not None


def _read_file(path: Path, modality: str | None) -> list[LayerData]:
    from napari_diffseg.imaging.formats.nifti import read_channels, read_mask

    name = layer_name(path, modality)
    if _promises_labels(path, modality):
        with suppress(BadImage):  # probabilities, thickness: an image; what is damaged is refused below
            return [labels_layer(read_mask(path), name)]
    volumes = read_channels(path, constant=True)
    if len(volumes) == 1:
        return [image_layer(volumes[0], name)]
    said = channels_said_for(path) or []
    words = said if len(said) == len(volumes) else [f"channel {n}" for n in range(1, len(volumes) + 1)]
    return [image_layer(volume, f"{name} {modality_named(word)}") for volume, word in zip(volumes, words, strict=True)]


def layer_name(path: Path, modality: str | None = None) -> str:
    """`case_006_T1gd_bet.nii.gz` as `case_006 t1ce bet`: case, modality in its usual spelling, how it was processed."""
    said = read_name(path.name)
    if modality is not None and modality != said.modality:  # said by the folder's other names, or a description
        return f"{channel_case_of(path) or case_id_of([path])} {modality}"
    return " ".join([said.case, said.modality, *said.manner]).strip() if said.modality else said.case or path.name


def image_layer(volume: Volume, name: str) -> LayerData:
    """A grey image layer of a volume, its contrast from the brain's percentiles."""
    from napari_diffseg.plugin.grid.frame import Frame

    frame = Frame.of_volume(volume)
    attributes = {
        **frame.layer_attributes(),
        "name": name,
        "colormap": "gray",
        "contrast_limits": contrast_limits(volume),
    }
    return frame.to_display(volume.data), attributes, "image"


def labels_layer(volume: Volume, name: str) -> LayerData:
    """A labels layer of a mask volume."""
    from napari_diffseg.plugin.grid.frame import Frame

    frame = Frame.of_volume(volume)
    return frame.to_display(volume.data), {**frame.layer_attributes(), "name": name, "opacity": 0.5}, "labels"


def contrast_limits(volume: Volume) -> tuple[float, float]:
    """From the least value to the upper percentile of the voxels that are not background."""
    import numpy as np

    data = volume.data
    low = float(min(data.min(), 0))
    inside = data[data != 0]
    high = float(np.percentile(inside, _UPPER_PERCENTILE)) if inside.size else low
    return low, high if high > low else low + 1.0
