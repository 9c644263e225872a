"""What a file's name says: image or not, modality, case. Standard library only, so that it imports in milliseconds."""

from __future__ import annotations

import difflib
import logging
import os
import re
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.mask_names import is_brain_mask_name
from napari_diffseg.imaging.pairs import is_voxels_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

logger = logging.getLogger(__name__)

MODALITIES: Final = ("t1", "t1ce", "t2", "flair")
"""The canonical modalities, in the order in which the original authors stack them."""

REFERENCE: Final = "seg"
"""What `modality_of` calls a mask drawn by people."""

OTHER: Final = "other"
"""What a user calls a channel that is not to be read."""

_SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".hdr", ".hdr.gz")
_FOREIGN = (".mha", ".mhd", ".nrrd", ".nhdr", ".dcm", ".mnc")
_VOXEL_SUFFIXES = (".img", ".img.gz")
_CONTRAST = "ce|c|gd|gad|gado|contrast"
_STATED = re.compile(
    rf"""(?<![a-z0-9])(?:
      (?P<seg>(?<!brain[^a-z0-9])(?:seg|segmentation|mask|groundtruth|gtv|consensus
        | (?:labels?|lesions?|roi|gt|truth|ot)(?!.*[^a-z0-9](?:t1|t2|fla))))
    | (?P<beside>(?<=_)(?:space|desc|res)-[a-z0-9]+(?=_|$)
        | (?:in|on|onto|to)[^a-z0-9]?(?:t2[^a-z0-9]?flair | t1w?[^a-z0-9](?:{_CONTRAST}|post) | (?:t1|t2|fla)[a-z0-9]*))
    | (?P<unclear>t1w?[^a-z0-9]?(?:fla|flair))
    | (?P<t1ce>t1(?:{_CONTRAST}|post) | t1w?[^a-z0-9](?:{_CONTRAST}|post(?:[^a-z0-9]?contrast|$)))
    | (?P<flair>fla|flair|t2f|t2[^a-z0-9]?flair)
    | (?P<t1>t1[nw]?(?![^a-z0-9]post))
    | (?P<t2>t2w?)
    | (?P<agent>(?:^|(?<=_))ce-[a-z0-9]+(?=_))
    )(?![a-z0-9])""",
    re.IGNORECASE | re.VERBOSE,
)
"""The words of a name that say what it is. `beside` is the space an image lies in, not what it shows; `unclear` is a
T1-weighted FLAIR, or the FLAIR of a case whose name ends in t1."""

_VSD = re.compile(r"(VSD\..*)\.\d+")
"""Names of BraTS 2012 to 2016, which end in another number for each image."""

_SCANNED = 1000
_NAMED = 5


def is_image_name(name: str) -> bool:
    """Whether a file of this name may be an image: NIfTI (a pair by its .hdr) or FreeSurfer, and not hidden.

    In a list of a folder's images a pair so counts once; `may_be_given` also knows it by its .img.
    """
    return not name.startswith(".") and name.lower().endswith(_SUFFIXES)


def may_be_given(name: str) -> bool:
    """Whether a file of this name may be given for an image: as `is_image_name`, or the .img of a pair."""
    return is_image_name(name) or is_voxels_name(name)


def shown_name(path: Path | str) -> str:
    """A file's name for messages, without the control characters that a hostile one may hold."""
    return "".join(c if c.isprintable() else "?" for c in Path(path).name) or str(path)


def modality_of(filename: str) -> str | None:
    """The modality that a file's name states.

    Whole words are compared, whatever separates them: `t1` is not found in `out12`. The spellings of every BraTS
    year, the contrast agent of BIDS (`ce-gd_T1w`) and the original authors' slices are known. Of several modalities the
    last decides, as those before it may be the case's own name; the space that an image lies in (`space-T1w`,
    `in_t1`) is none. Channel numbers, as in `_0000`, say nothing and are not guessed.

    Parameters
    ----------
    filename : str
        Name or path; folders in it are ignored.

    Returns
    -------
    str or None
        One of `MODALITIES`, or "seg" for a reference mask; None where the name states none, or is that of a mask of
        the brain.
    """
    words = list(_STATED.finditer(file_stem(filename)))
    kinds = {word.lastgroup for word in words}
    if is_brain_mask_name(file_stem(filename)):
        return None
    if REFERENCE in kinds:
        return REFERENCE
    last = _deciding(words)
    if last is None or last.lastgroup == "unclear":
        return None
    return "t1ce" if last.lastgroup == "t1" and "agent" in kinds else last.lastgroup


def modality_named(word: str, among: Sequence[str] = MODALITIES) -> str:
    """Which of some modalities a user means: in any case, and by any spelling that the names of files may have.

    Parameters
    ----------
    word : str
        As it was typed, such as `T1Gd` or `FLAIR`.
    among : sequence of str
        The modalities there are; canonical ones by default.

    Returns
    -------
    str
        One of `among`, or the word itself where it means none of them.
    """
    word = word.strip()
    if word in among:
        return word
    return next((name for name in among if _canonical(name) == _canonical(word)), word)


def modalities_named(words: Iterable[str], wanted: Sequence[str] = ()) -> list[str]:
    """What the channels of a file are, by the words that a user has for them.

    Parameters
    ----------
    words : iterable of str
        One a channel; "other" for one that is not to be read.
    wanted : sequence of str
        Modalities that are looked for.

    Raises
    ------
    BadCase
        If a word is no modality that is known, while one that is wanted is missing.
    """
    names = [modality_named(word, (*wanted, *MODALITIES)) for word in words]
    missing = [name for name in wanted if name not in names]
    strange = [name for name in names if name not in (*wanted, *MODALITIES, REFERENCE, OTHER)]
    if missing and strange:
        close = difflib.get_close_matches(strange[0].casefold(), missing, n=1, cutoff=0.5)
        meant = f"did you mean {close[0]}? Spell" if close else "spell"
        raise BadCase(
            f"Channels are named {', '.join(names)}: {strange[0]} is no modality that is known, and there is no "
            f"{', '.join(missing)}: {meant} it as one of {', '.join(dict.fromkeys((*wanted, *MODALITIES)))}, "
            f"or call a channel that is not to be read {OTHER}."
        )
    return names


def case_id_of(files: Sequence[Path]) -> str:
    """What the names of one case's images have in common: their stem without the modality.

    Files that are named by modality alone (`t1.nii.gz`) take the name of their folder; stems that differ, what they
    begin with. What cannot be printed becomes `_`: folders of results take this name.
    """
    stems = {case_stem(path.name) for path in files}
    stem = stems.pop() if len(stems) == 1 else _common_start(stems)
    # of a folder given as `..` only its absolute path, tidied, has the name
    name = stem or os.path.basename(os.path.dirname(os.path.abspath(files[0]))) or "case"
    return printable(name)


def printable(name: str) -> str:
    """A name for folders of results: what cannot be printed is `_`."""
    return "".join(c if c.isprintable() else "_" for c in name)


def case_stem(filename: str) -> str:
    """A file's name without suffix and without the words that state its modality; may be empty.

    A modality before the one that decides belongs to the case's name, as in `t2_shift_t1`.
    """
    stem = file_stem(filename)
    if numbered := _VSD.fullmatch(stem):
        stem = numbered[1]
    words = list(_STATED.finditer(stem))
    masks = [word.span() for word in words if word.lastgroup == REFERENCE]
    last = None if masks else _deciding(words)
    for word in reversed(words):
        shows = word is last or any(word.start() - 1 == end or word.end() + 1 == start for start, end in masks)
        if shows or word.lastgroup in (REFERENCE, "agent", "beside"):
            stem = f"{stem[: word.start()]}\0{stem[word.end() :]}"
    return re.sub("[^A-Za-z0-9]?\0", "", stem).strip("_-. ")


def images_in(folder: Path) -> list[Path]:
    """The images that lie in a folder, by name.

    Raises
    ------
    BadCase
        If the folder cannot be read.
    """
    try:
        return sorted(p for p in folder.iterdir() if is_image_name(p.name) and not p.is_dir())
    except OSError as err:
        raise BadCase(f"Folder {shown_name(folder)} cannot be read: {err.strerror}: choose another.") from err


def find_case_files(folder: Path) -> dict[str, Path]:
    """The images of the one case in a folder, by modality; "seg" is the reference mask.

    Images whose names state no modality are left out.

    Raises
    ------
    BadCase
        If the folder cannot be read, holds no image with a modality in its name, or several cases, or two files for
        one modality.
    """
    folder = Path(folder)
    images = images_in(folder)
    stated = [(p, m) for p in images if (m := modality_of(p.name)) is not None]
    if not any(m != REFERENCE for _, m in stated):
        if foreign := _foreign_images(folder):
            raise BadCase(
                f"Folder {shown_name(folder)} holds no NIfTI images, but {', '.join(foreign[:5])}: convert them to "
                "NIfTI (.nii.gz), each with its modality in its name."
            )
        names = ", ".join(shown_name(p) for p in images[:5]) or "no images at all"
        raise BadCase(
            f"Folder {shown_name(folder)} holds no image with t1, t1ce, t2 or flair in its name, but {names}: "
            "rename the files, or name the modality of each (--image t1=FILE), or of channels (--channels)."
        )
    cases = sorted({case_stem(p.name) for p, m in stated if m != REFERENCE})
    if len(cases) > 1:
        raise BadCase(
            f"Folder {shown_name(folder)} holds {len(cases)} cases ({_listed(cases)}): "
            "give each a folder of its own, or name the files of one (--image t1=FILE)."
        )
    return by_modality(stated)


def warn_of_unread(folder: Path, missing: Sequence[str]) -> None:
    """Name the images of a folder that are in no use, where a modality is missing: it may be among them."""
    unread = [shown_name(p) for p in images_in(folder) if modality_of(p.name) is None]
    if missing and unread:
        more = f" and {len(unread) - _NAMED} more" if len(unread) > _NAMED else ""
        logger.warning(
            "Folder %s: there is no %s, and %s%s is left out, as the name states no modality.",
            shown_name(folder),
            ", ".join(missing),
            ", ".join(unread[:_NAMED]),
            more,
        )


def by_modality(stated: Iterable[tuple[Path, str]]) -> dict[str, Path]:
    """Files by modality, canonical ones first.

    Raises
    ------
    BadCase
        If two files state one modality.
    """
    files: dict[str, Path] = {}
    for path, modality in stated:
        if modality in files:
            raise BadCase(
                f"{shown_name(files[modality])} and {shown_name(path)} both say {modality}: "
                "a case has one image of each modality; remove one, or name the files to use."
            )
        files[modality] = path
    order = (*MODALITIES, REFERENCE)
    return {m: files[m] for m in order if m in files}


def looks_like_case(path: Path) -> bool:
    """Whether a folder holds an image with a modality in its name; looks at a thousand entries, opens none."""
    try:
        with os.scandir(path) as entries:
            return any(
                is_image_name(e.name) and modality_of(e.name) in MODALITIES
                for _, e in zip(range(_SCANNED), entries, strict=False)
            )
    except OSError:
        return False


def _listed(stems: Sequence[str]) -> str:
    return ", ".join(stem or "one without a name" for stem in stems[:_NAMED])


def _foreign_images(folder: Path) -> list[str]:
    """Images of other formats in a folder that holds none of ours, or in the folders in it."""
    entries = islice(chain(folder.glob("*"), folder.glob("*/*")), _SCANNED)
    return sorted(shown_name(p) for p in entries if p.name.lower().endswith(_FOREIGN))


def _deciding(words: Sequence[re.Match[str]]) -> re.Match[str] | None:
    return next((word for word in reversed(words) if word.lastgroup in (*MODALITIES, "unclear")), None)


def _canonical(word: str) -> str:
    stated = _STATED.fullmatch(word)
    return stated.lastgroup if stated and stated.lastgroup in MODALITIES else word.casefold()


def _common_start(stems: Iterable[str]) -> str:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*stems, strict=False))
    return "".join(letters[0] for letters in same).strip("_-. ")


def file_stem(filename: str) -> str:
    """A file's name without the suffix of an image."""
    name = Path(filename).name
    suffix = next((s for s in (*_SUFFIXES, *_VOXEL_SUFFIXES) if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]
