"""One patient: the images of several modalities on one grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from napari_diffseg.errors import BadCase, BadImage, GridMismatch, Remedy
from napari_diffseg.imaging.case_files import find_case_files, masks_in, warn_of_unread
from napari_diffseg.imaging.dataset_json import channels_said_for
from napari_diffseg.imaging.formats.nifti import count_channels, read_channels, read_mask, read_volume
from napari_diffseg.imaging.geometry.regrid import has_same_voxels
from napari_diffseg.imaging.geometry.resampling import resample_image, resample_mask
from napari_diffseg.imaging.names.grouping import case_id_of, group_images
from napari_diffseg.imaging.names.naming import (
    MODALITIES,
    OTHER,
    REFERENCE,
    modalities_named,
    modality_named,
    shown_name,
)
from napari_diffseg.imaging.names.pairs import each_pair_once
from napari_diffseg.imaging.volume import Volume, describe_grid, same_grid

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    import numpy.typing as npt

Source = Path | str | Sequence[Path | str] | Mapping[str, Path | str]


@dataclass(frozen=True, eq=False)
class Case:
    """Volumes of one patient that share a grid.

    Attributes
    ----------
    id : str
        A name for people and for folders of results.
    volumes : mapping of str to Volume
        By modality, at least one.
    reference : Volume or None
        A mask drawn by people, on the same grid.
    notes : tuple of str
        What a user should know about the case, such as why a mask that lies beside its images is not used.

    Raises
    ------
    BadCase
        If there is no volume.
    GridMismatch
        If two volumes, or a volume and the reference, have different grids.
    """

    id: str
    volumes: Mapping[str, Volume]
    reference: Volume | None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.volumes:
            raise BadCase(f"Case {self.id}: it has no image: give at least one modality.")
        (first, grid), *others = self.volumes.items()
        if self.reference is not None:
            others.append(("the reference mask", self.reference))
        for name, volume in others:
            if not same_grid(grid, volume):
                raise GridMismatch(
                    f"Case {self.id}: {name} is {describe_grid(volume)}, but {first} is {describe_grid(grid)}"
                    f"{_where(grid, volume)}. The modalities of a case must share one grid: "
                    f"resample them to {first}.",
                    Remedy("resample", first),
                )
        object.__setattr__(self, "volumes", MappingProxyType(dict(self.volumes)))

    def __reduce__(self) -> tuple[type[Case], tuple[str, dict[str, Volume], Volume | None, tuple[str, ...]]]:
        return Case, (self.id, dict(self.volumes), self.reference, self.notes)

    @property
    def grid_volume(self) -> Volume:
        """The first volume: results are written on its grid."""
        return next(iter(self.volumes.values()))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the three axes of the files."""
        return self.grid_volume.shape

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel indices to RAS+ mm, (4, 4)."""
        return self.grid_volume.affine


def read_case(
    source: Source,
    *,
    modalities: Sequence[str] | None = None,
    may_miss: bool = False,
    channels: Sequence[str] | None = None,
    resample_to: str | None = None,
    case_id: str | None = None,
    pick: Sequence[str] = (),
) -> Case:
    """Read the images of one patient.

    Parameters
    ----------
    source : path, sequence of paths, or mapping of modality to path
        A folder; files whose names state their modality; one file, 4-D or of a single modality; or files by modality,
        whatever their names, "seg" being the reference mask.
    modalities : sequence of str, optional
        Those wanted, in order; others are not read. All that are found by default.
    may_miss : bool
        Whether some of those wanted may be missing, as long as one is there.
    channels : sequence of str, optional
        What the channels of one file are, in its order; needed for a 4-D file, whose channels no name states, unless a
        `dataset.json` does. In any spelling; "other" for those that are not to be read.
    resample_to : str, optional
        Modality whose grid the others are brought to, by linear interpolation, when grids differ; the reference mask
        takes the nearest label.
    case_id : str, optional
        What the case is called; what the names of its files have in common by default.
    pick : sequence of str
        Which of several images of one modality to take: patterns of names, such as `*_bias*`, or entities of BIDS,
        such as `acq-3d`.

    Returns
    -------
    Case
        Without reference, and with a note that says why, where the mask beside the images cannot be used.

    Raises
    ------
    BadImage
        If an image cannot be read.
    BadCase
        If a modality is missing, given twice or not recognised, or the files are of several cases.
    GridMismatch
        If grids differ and `resample_to` is not given.
    """
    wanted = _Wanted(None if modalities is None else tuple(modalities), may_miss, case_id, tuple(pick))
    if isinstance(source, Mapping):
        case = _from_files({m: Path(p) for m, p in source.items()}, wanted)
    else:
        paths = [Path(source)] if isinstance(source, (str, Path)) else [Path(p) for p in source]
        case = _from_paths(each_pair_once(paths), wanted, channels)
    name, volumes, mask = case
    if resample_to is not None:
        volumes, mask = _resampled(name, volumes, mask, resample_to)
    volumes = _in_one_order(volumes)
    mask = mask.on_grid_of(next(iter(volumes.values())))
    return Case(name, volumes, mask.volume, mask.notes)


@dataclass(frozen=True, slots=True)
class _Mask:
    """The mask beside a case's images, and why it is not used where it cannot be: most jobs do without."""

    volume: Volume | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            return cls(read_mask(path))
        except BadImage as err:
            return cls(notes=(f"the mask beside the images is not used: {err}",))

    def or_note(self, masks: Sequence[Path]) -> _Mask:
        """The mask as it is; where there is none, a note that several lie there."""
        if self.volume is not None or self.notes or len(masks) < 2:
            return self
        names = ", ".join(shown_name(path) for path in masks[:5])
        return _Mask(notes=(f"of several masks beside the images ({names}) none is used",))

    def on_grid_of(self, grid: Volume) -> _Mask:
        if self.volume is None or same_grid(grid, self.volume):
            return self
        if has_same_voxels(self.volume, grid):
            return _Mask(resample_mask(self.volume, grid, "the images"))
        name = "it" if self.volume.path is None else shown_name(self.volume.path)
        note = (
            f"the mask beside the images is not used: {name} is {describe_grid(self.volume)}, the images are "
            f"{describe_grid(grid)}{_where(grid, self.volume)}; masks and images must share one grid"
        )
        return _Mask(notes=(*self.notes, note))


_Parts = tuple[str, dict[str, Volume], _Mask]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What to read of a case: see `read_case`. Without modalities all that are given."""

    modalities: tuple[str, ...] | None
    may_miss: bool
    case_id: str | None
    pick: tuple[str, ...]

    def among(self, case_id: str, given: Mapping[str, Any] | Sequence[str]) -> list[str]:
        """Those to read of what is given, at least one."""
        named = tuple(given) if self.modalities is None else self.modalities
        there = [m for m in named if m in given]
        missing = [m for m in named if m not in given]
        if not there or (missing and not self.may_miss):
            raise BadCase(
                f"Case {case_id}: no {', '.join(missing) or 'modality'} among its images "
                f"({', '.join(given) or 'no image'}): add what is missing, or choose a checkpoint that does without."
            )
        return there


def _from_paths(paths: list[Path], wanted: _Wanted, channels: Sequence[str] | None) -> _Parts:
    if not paths:
        raise BadCase("No file given: name a folder or the images of one case.")
    if len(paths) == 1 and _is_folder(paths[0]):
        if channels is not None:
            raise BadCase(f"Channels are named, but {shown_name(paths[0])} is a folder: name its 4-D file.")
        files = find_case_files(paths[0], wanted.modalities, pick=wanted.pick)
        warn_of_unread(paths[0], [m for m in wanted.modalities or () if m not in files])
        name, volumes, mask = _from_files(files, wanted)
        return name, volumes, mask.or_note(masks_in(paths[0]))
    if channels is not None or (len(paths) == 1 and count_channels(paths[0]) > 1):
        return _from_channels(paths, wanted, channels)
    return _from_files(_by_names(paths, wanted), wanted)


def _by_names(paths: list[Path], wanted: _Wanted) -> dict[str, Path]:
    """Files of one case by what their names state."""
    groups = group_images(paths)
    unclear = [path for group in groups for path in group.unclear] if groups else paths
    if unclear:
        names = ", ".join(map(shown_name, unclear[:5]))
        raise BadCase(
            f"{names}: the name states no modality, or not clearly: rename to, say, patient_flair.nii.gz, "
            "or say which modality it is.",
            Remedy("channels", "flair"),
        )
    if len(groups) > 1:
        raise BadCase(
            f"The files are of {len(groups)} cases ({', '.join(group.name for group in groups[:5])}): give the files "
            "of one, or name the modality of each.",
            Remedy("image", "t1=FILE"),
        )
    return groups[0].files(wanted.modalities, wanted.pick)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as err:
        raise BadCase(
            f"{shown_name(path)} cannot be looked at: {err.strerror}: name a folder or file of yours."
        ) from err


def _from_files(files: Mapping[str, Path], wanted: _Wanted) -> _Parts:
    images = {m: p for m, p in files.items() if m != REFERENCE}
    case_id = wanted.case_id or (case_id_of(list(images.values() or files.values())) if files else "without files")
    volumes = {m: read_volume(images[m]) for m in wanted.among(case_id, images)}
    return case_id, volumes, _Mask.read(files[REFERENCE]) if REFERENCE in files else _Mask()


def _from_channels(paths: list[Path], wanted: _Wanted, channels: Sequence[str] | None) -> _Parts:
    path, *others = paths
    if others:
        raise BadCase(f"Channels are named, but {len(paths)} files are given: channels belong to one 4-D file.")
    count = count_channels(path)
    channels = channels if channels is not None else channels_said_for(path)
    if channels is None:
        raise BadCase(
            f"{shown_name(path)} has {count} channels and does not say what they are: name them in the file's order.",
            Remedy("channels", ",".join(MODALITIES[:count])),
        )
    named = modalities_named(channels, wanted.modalities or ())
    read = [name for name in named if name != OTHER]
    if len(named) != count or len(set(read)) != len(read):
        raise BadCase(
            f"{shown_name(path)} has {count} channels, but {len(named)} are named ({', '.join(named)}): "
            "name each once, in the file's order."
        )
    case_id = wanted.case_id or case_id_of([path])
    names = wanted.among(case_id, read)
    volumes = read_channels(path, only=[named.index(m) for m in names])
    return case_id, dict(zip(names, volumes, strict=True)), _Mask()


def _resampled(
    case_id: str, volumes: Mapping[str, Volume], mask: _Mask, target: str
) -> tuple[dict[str, Volume], _Mask]:
    target = modality_named(target, tuple(volumes))
    if target not in volumes:
        raise BadCase(f"Case {case_id}: there is no {target} to resample to: choose among {', '.join(volumes)}.")
    grid = volumes[target]
    moved = {m: resample_image(v, grid, target) for m, v in volumes.items()}
    return moved, mask if mask.volume is None else _Mask(resample_mask(mask.volume, grid, target))


def _in_one_order(volumes: dict[str, Volume]) -> dict[str, Volume]:
    """The volumes, those whose voxels are the first one's, stored mirrored or in another order, in its order."""
    first, grid = next(iter(volumes.items()))
    return {m: resample_image(v, grid, first) if has_same_voxels(v, grid) else v for m, v in volumes.items()}


def _where(a: Volume, b: Volume) -> str:
    """Says that the position differs, where sizes and directions do not."""
    return ", elsewhere in space" if describe_grid(a) == describe_grid(b) else ""
