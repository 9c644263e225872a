"""What the `dataset.json` beside images says of them: the Medical Segmentation Decathlon's, and nnU-Net's."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from napari_diffseg.errors import BadCase

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "dataset.json"
_LARGEST: Final = 64 << 20


def description_of(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The description in a folder, or in the one above it, and where it lies; None where there is none.

    Raises
    ------
    BadCase
        If it cannot be read.
    """
    absolute = folder.absolute()
    for path in (absolute / NAME, absolute.parent / NAME):
        if path.is_file():
            said = _read(path)
            return path, said if isinstance(said, dict) else {}
    return None


def channel_names(folder: Path) -> list[str] | None:
    """What the channels of a folder's images are, of which old descriptions say `modality`; None without one.

    Raises
    ------
    BadCase
        If the description cannot be read, or does not say it.
    """
    found = description_of(folder)
    if found is None:
        return None
    path, said = found
    names = said.get("channel_names", said.get("modality"))
    if not isinstance(names, dict) or not all(_is_channel(*item) for item in names.items()):
        raise BadCase(f"{path}: it does not say by number what the channels are: correct it, or take it away.")
    ordered = sorted((int(number), str(name)) for number, name in names.items())
    if ordered[:1] and ordered[0][0] == 0 and all(b[0] == a[0] + 1 for a, b in pairwise(ordered)):
        return [name for _, name in ordered]
    raise BadCase(f"{path}: its channels are not numbered 0, 1, 2 ...: correct it, or take it away.")


def label_names(folder: Path) -> dict[str, list[int]]:
    """What the labels of a folder's masks are called, each with its values; empty where nothing says so.

    Old descriptions name each value, new ones give the value, or of a region the values, of each name.
    """
    try:
        found = description_of(folder)
    except BadCase:
        return {}
    said = found[1].get("labels") if found is not None else None
    named: dict[str, list[int]] = {}
    for key, value in said.items() if isinstance(said, dict) else ():
        name, values = (value, key) if isinstance(value, str) and key.isdecimal() else (key, value)
        listed = values if isinstance(values, list) else [values]
        if all(isinstance(v, int) or (isinstance(v, str) and v.isdecimal() and len(v) < 6) for v in listed):
            named.setdefault(str(name), []).extend(map(int, listed))
    return named


def channels_said_for(image: Path) -> list[str] | None:
    """What the channels of a 4-D file are, where a description that is of its folder names several.

    Other programs have files of this name, too: one that says nothing of channels is passed over.
    """
    try:
        names = channel_names(image.parent)
    except BadCase:
        return None
    return names if names is not None and len(names) > 1 else None


def _is_channel(number: Any, name: Any) -> bool:
    return isinstance(number, str) and number.isascii() and number.isdigit() and isinstance(name, str)


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST:
            raise BadCase(f"{path} is too large to say what channels are: take it away.")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as err:
        raise BadCase(f"{path} cannot be read ({err}): correct it, or take it away.") from err
