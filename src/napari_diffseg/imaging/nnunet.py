"""Folders as nnU-Net has them: a file for each channel of a case, named by number, and a `dataset.json`."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from napari_diffseg.errors import BadCase, BadImage
from napari_diffseg.imaging.naming import OTHER, file_stem, images_in, modalities_named, modality_of, shown_name
from napari_diffseg.imaging.nifti import count_channels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NUMBERED = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")
_DESCRIPTION = "dataset.json"
_LARGEST = 64 << 20


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
    named = channels if channels is not None else _channel_names(folder)
    highest = max(int(match["channel"]) for match in numbered)
    if _has_another_meaning(images, highest, named):
        return {}
    if named is None:
        raise BadCase(
            f"Folder {shown_name(folder)} holds a file for each channel ({shown_name(images[0])}), and no "
            f"{_DESCRIPTION} in it or above says what they are: name them in the order of their numbers "
            "(--channels flair,t1,t1ce,t2, if that is the order)."
        )
    names = modalities_named(named, modalities)
    read = [name for name in names if name != OTHER]
    if highest >= len(names) or len(set(read)) < len(read):
        raise BadCase(
            f"Folder {shown_name(folder)} holds channels up to {highest:04d}, counted from 0000, but {len(names)} are "
            f"named ({', '.join(names)}): name each once (--channels)."
        )
    cases: dict[str, dict[str, Path]] = {}
    for path, match in zip(images, numbered, strict=True):
        name = names[int(match["channel"])]
        if name != OTHER:
            cases.setdefault(match["case"], {})[name] = path
    return cases


def _has_another_meaning(images: Sequence[Path], highest: int, named: Sequence[str] | None) -> bool:
    """Whether the numbers at the ends of names count something else: cases of one channel, or 4-D files."""
    if (highest == 0) != (named is not None and len(named) == 1):
        return True
    if named is None and any(modality_of(path.name) for path in images):
        return True
    try:
        return count_channels(images[0]) > 1
    except BadImage:  # said when the case is read
        return False


def _channel_names(folder: Path) -> list[str] | None:
    """What `dataset.json` calls the channels, of which old ones say `modality`; None where there is none."""
    absolute = folder.absolute()
    for path in (absolute / _DESCRIPTION, absolute.parent / _DESCRIPTION):
        if path.is_file():
            said = _read(path)
            names = said.get("channel_names", said.get("modality")) if isinstance(said, dict) else None
            if not isinstance(names, dict) or not all(_is_channel(*item) for item in names.items()):
                raise BadCase(f"{path}: it does not say by number what the channels are: correct it, or take it away.")
            ordered = sorted((int(number), str(name)) for number, name in names.items())
            if ordered[:1] and ordered[0][0] == 0 and all(b[0] == a[0] + 1 for a, b in pairwise(ordered)):
                return [name for _, name in ordered]
            raise BadCase(f"{path}: its channels are not numbered 0, 1, 2 ...: correct it, or take it away.")
    return None


def _is_channel(number: Any, name: Any) -> bool:
    return isinstance(number, str) and number.isascii() and number.isdigit() and isinstance(name, str)


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST:
            raise BadCase(f"{path} is too large to say what channels are: take it away.")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise BadCase(f"{path} cannot be read ({err}): correct it, or take it away.") from err
