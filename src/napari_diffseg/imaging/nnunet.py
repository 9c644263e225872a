"""Folders as nnU-Net has them: a file for each channel of a case, named by number, and a `dataset.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.errors import BadCase, BadImage, Remedy
from napari_diffseg.imaging.dataset_json import NAME, channel_names, channels_said_for
from napari_diffseg.imaging.names.listing import images_in
from napari_diffseg.imaging.names.naming import (
    OTHER,
    file_stem,
    modalities_named,
    modality_named,
    modality_of,
    shown_name,
)
from napari_diffseg.imaging.names.pattern import Pattern

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NUMBERED = Pattern(r"(?P<case>.+)_(?P<channel>\d{4})")


def nnunet_cases(
    folder: Path, *, modalities: Sequence[str] = (), channels: Sequence[str] | None = None
) -> dict[str, dict[str, Path]]:
    """The cases of a folder whose images are `CASE_0000.nii.gz`, `CASE_0001.nii.gz` ..., one file a channel.

    Parameters
    ----------
    folder : Path
        Such as imagesTr or imagesTs.
    modalities : sequence of str
        Those that are looked for.
    channels : sequence of str, optional
        What the channels are, in the order of their numbers; by default what `dataset.json` in this folder or the one
        above says.

    Returns
    -------
    dict of str to dict of str to Path
        Of each case the files by modality; empty if the folder is of another kind.

    Raises
    ------
    BadCase
        If nothing says what the channels are, or a file has a number beyond them.
    """
    images = images_in(folder)
    numbered = [match for path in images if (match := _NUMBERED.fullmatch(file_stem(path.name)))]
    if not images or len(numbered) < len(images) or all(int(match["channel"]) for match in numbered):
        return {}
    named = channels if channels is not None else channel_names(folder)
    highest = max(int(match["channel"]) for match in numbered)
    if _has_another_meaning(images, highest, named):
        return {}
    if named is None:
        raise BadCase(
            f"Folder {shown_name(folder)} holds a file for each channel ({shown_name(images[0])}), and no "
            f"{NAME} in it or above says what they are: name them in the order of their numbers.",
            Remedy("channels", "flair,t1,t1ce,t2"),
        )
    names = modalities_named(named, modalities)
    read = [name for name in names if name != OTHER]
    if highest >= len(names) or len(set(read)) < len(read):
        raise BadCase(
            f"Folder {shown_name(folder)} holds channels up to {highest:04d}, counted from 0000, but {len(names)} are "
            f"named ({', '.join(names)}): name each once.",
            Remedy("channels"),
        )
    cases: dict[str, dict[str, Path]] = {}
    for path, match in zip(images, numbered, strict=True):
        name = names[int(match["channel"])]
        if name != OTHER:
            cases.setdefault(match["case"], {})[name] = path
    return cases


def channel_said_for(path: Path) -> str | None:
    """What a file such as `A_0001.nii.gz` shows, where the description of its folder names its channels."""
    numbered = _NUMBERED.fullmatch(file_stem(path.name))
    names = channels_said_for(path) if numbered is not None else None
    if numbered is None or names is None or int(numbered["channel"]) >= len(names):
        return None
    return modality_named(names[int(numbered["channel"])])


def channel_case_of(path: Path) -> str | None:
    """The case of a file such as `A_0001.nii.gz`, where the description of its folder names its channels."""
    numbered = _NUMBERED.fullmatch(file_stem(path.name))
    return numbered["case"] if numbered is not None and channel_said_for(path) is not None else None


def _has_another_meaning(images: Sequence[Path], highest: int, named: Sequence[str] | None) -> bool:
    """Whether the numbers at the ends of names count something else: cases of one channel, or 4-D files."""
    if (highest == 0) != (named is not None and len(named) == 1):
        return True
    if named is None and any(modality_of(path.name) for path in images):
        return True
    from napari_diffseg.imaging.formats.nifti import count_channels  # numpy is not needed to look at names

    try:
        return count_channels(images[0]) > 1
    except BadImage:  # said when the case is read
        return False
