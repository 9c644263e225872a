"""What a file's name says: image or not, modality, case. Standard library only, so that it imports in milliseconds."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.names.bids import entities_of, session_of, without_entities
from napari_diffseg.imaging.names.mask_names import is_brain_mask_name, kinds_of, words_of
from napari_diffseg.imaging.names.pairs import is_voxels_name
from napari_diffseg.imaging.names.pattern import Pattern
from napari_diffseg.imaging.names.sequence_words import (
    BARE,
    CONTRAST,
    CONTRAST_BEFORE,
    LESION_MAP,
    MPRAGE,
    NOT_WEIGHTED,
    NOT_WEIGHTED_BEFORE,
    PROCESSING,
    SAID_CONTRAST,
    SAID_FLAIR,
    SAID_OTHER,
    T2_STAR,
    TIME_BEFORE,
    WITHOUT,
    WITHOUT_AGENT,
    image_in_space,
    is_processing_before,
    stated_by,
    tells_protocol,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MODALITIES: Final = ("t1", "t1ce", "t2", "flair")
"""The canonical modalities, in the order in which the original authors stack them."""

RUN_RECORD: Final = "run.json"
"""The record of a run: a folder that holds one holds results, and no images of a case."""
REFERENCE: Final = "seg"
"""What `modality_of` calls a mask drawn by people."""

OTHER: Final = "other"
"""What a user calls a channel that is not to be read."""

_SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh", ".hdr", ".hdr.gz", ".mha", ".mhd", ".nrrd", ".nhdr")
_OF_A_SERIES = (".dcm", ".ima")
_VOXEL_SUFFIXES = (".img", ".img.gz")

FOREIGN_SUFFIXES: Final = (*_OF_A_SERIES, ".mnc", ".mif", ".mif.gz")
"""Of files that are no images by themselves, or are not read here."""

_VSD = Pattern(r"((?:VSD|SMIR)\..*)\.\d+")
"""Names of BraTS 2012 to 2016 and ISLES 2015 to 2018, which end in another number for each image."""

_TRIMMED = "_-. "
_NUMBER = Pattern(r"\d{1,4}$")
_BRINGS = ("reg", "registered", "coreg", "aligned", "warped", "2")
"""Between two modalities these leave open which of them the image shows, and which it was brought to: `T2_reg_T1`."""
_WORD = Pattern(r"[A-Za-z0-9+*]+")

_IDENTIFIES = Pattern(
    r"(?:19|20)\d{6}|[a-z]*0\d+$|(?:ses|session|visit|tp|timepoint|scan|month|week|day|year|baseline|bl|followup|fu)\d*$"
)
"""Words after a modality that tell one case from another: dates, numbers with a 0 in front, visits."""

_MASK_ALONE = Pattern(
    r"(?:manual|expert|hand)?(?:seg|segs|segm|segment|segmentations?|masks?|msk|groundtruth|gtv|consensus)"
    r"|manuallycorrected|glistrboost"
)
_MASK_UNLESS_IMAGE = Pattern(
    r"labels?|lesions?|tumou?rs?|rois?|gt|truth|ot|otmulticlass|annot|annotations?|contours?|delineations?|gold|goldstandard|wmh"
)
"""Words of a mask that may also belong to the name of a case, as in `lesion_7_flair`."""

_NO_MASK = Pattern(
    r"prob|probs|probseg|probabilit(?:y|ies)|probmap|softmax|pmap|uncertainty|logits?|entropy|variance|heatmap|sdf"
    r"|distance|pve\w*|dseg"
)
_MACHINE = Pattern(
    r"auto|automated|automatic|approx|pred|preds|predicted|prediction|algo\d*|ai|nnunet|unet|cnn|glistr(?:boost)?"
)
_BY_HAND = Pattern(r"manual(?:ly)?|corrected|edited")
_BESIDE_MASK = Pattern(r"final|standard|corrected|edited|binary|bin|manual|expert|whole|reader|rater|v\d")


def is_image_name(name: str) -> bool:
    """Whether a file of this name may be an image: NIfTI (a pair by its .hdr), FreeSurfer, MetaImage, NRRD; not hidden.

    In a list of a folder's images a pair so counts once; `may_be_given` also knows it by its .img.
    """
    return not name.startswith(".") and name.lower().endswith(_SUFFIXES)


def may_be_given(name: str) -> bool:
    """Whether a file of this name may be given for an image: as `is_image_name`, the .img of a pair, a DICOM file."""
    is_slice = not name.startswith(".") and name.lower().endswith(_OF_A_SERIES)
    return is_image_name(name) or is_voxels_name(name) or is_slice


def shown_name(path: Path | str) -> str:
    """A file's name for messages, without the control characters that a hostile one may hold."""
    return "".join(c if c.isprintable() else "?" for c in Path(path).name) or str(path)


@dataclass(frozen=True, slots=True)
class ImageName:
    """What the name of one file says by itself; `case_files` reads the names of a folder together.

    Attributes
    ----------
    modality : str or None
        One of `MODALITIES`, "seg" for a mask that people drew, None where it is not clear.
    case : str
        The rest: what stands before the modality, and what stands after it and says nothing about the image.
    before : str
        Only what stands before; empty where the name begins with the modality.
    after : tuple of str
        Words after the modality that say nothing about the image: a date, the number of a series, a patient.
    last_word : tuple of (str, str) or None
        Another reading, for names such as `P1_T2_FLAIR`: the modality of the last word alone, and what stands before.
    manner : tuple of str
        Words after the modality that say how the image was made or processed.
    is_map : bool
        Whether it is that of a mask of the brain, or of a probability map.
    """

    modality: str | None
    case: str
    before: str
    after: tuple[str, ...] = ()
    last_word: tuple[str, str] | None = None
    manner: tuple[str, ...] = ()
    is_map: bool = False


def modality_of(filename: str) -> str | None:
    """The modality that a file's name states.

    Whole words are compared, whatever separates them: `t1` is not found in `out12`. The spellings of every BraTS
    year, of scanners (`t1_mprage_sag_KM`, `t2_tirm_tra_dark-fluid`), of BIDS and of the original authors' slices are
    known. One word does not decide: a map (`T1_map`), another contrast (`T2_star`, `t2_swi`) or a mask of the brain is
    none. Of several modalities the last decides, as those before it may be the case's own name; the space that an
    image lies in (`space-T1w`, `in_t1`) is none. Channel numbers, as in `_0000`, say nothing and are not guessed.

    Parameters
    ----------
    filename : str
        Name or path; folders in it are ignored.

    Returns
    -------
    str or None
        One of `MODALITIES`, or "seg" for a reference mask; None where the name states none, is not clear, or is that
        of a mask of the brain.
    """
    return read_name(filename).modality


def case_stem(filename: str) -> str:
    """What a file's name calls its case: the name without the words that say what the image is; may be empty.

    In BIDS that is the subject and session. A modality before the one that decides belongs to the case's name, as in
    `t2_shift_t1`. Where a name begins with the modality, as in `T1_N4_bet`, it says nothing of the case.
    """
    return read_name(filename).case


@lru_cache(maxsize=16384)
def read_name(filename: str) -> ImageName:
    """What a file's name says: its modality, and what it calls its case.

    Parameters
    ----------
    filename : str
        Name or path; folders in it are ignored.
    """
    stem = file_stem(filename)
    if numbered := _VSD.fullmatch(stem):
        stem = numbered[1]
    plain = without_entities(stem)
    words = [_Word(_text_of(found, plain), *found.span()) for found in _WORD.finditer(plain)]
    if (mask := _mask_word(stem, words)) is not None:
        return _read_mask(stem, plain, words, mask)
    statements = _statements(words)
    if not statements:
        rest = session_of(plain) or plain.strip(_TRIMMED)
        return ImageName(None, rest, rest)
    return _read_image(plain, words, statements, entities_of(stem))


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


def is_machine_made(filename: str) -> bool:
    """Whether the name of a mask says that a program made it and nobody corrected it, as in `p1_automated_segm`."""
    words = words_of(file_stem(filename))
    return any(map(_MACHINE.fullmatch, words)) and not any(map(_BY_HAND.fullmatch, words))


_NO_CASE = Pattern(
    r"anat|nii|nifti\w*|images?|imgs?|mris?|mr|raw\w*|data|scans?|brains?|pre_?proc\w*|processed\w*|orig|skull_?strip\w*"
    r"|stripped|reg|registered|coreg\w*|native|mni\w*|derivatives|final|input|inputs|original|segmentations?|masks?",
    re.IGNORECASE,
)
_VISIT = Pattern(
    r"(?:ses|session|visit|tp|time_?point|t|scan|study|exam|month|week|day|year|fu|follow_?up)[-_ ]?\d+(?:[-_.]\d+)*"
    r"|ses-\w+|baseline|bl|follow_?up|pre|post|pre_?op|post_?op|(?:19|20)\d{2}[-_.]?[01]\d[-_.]?[0-3]\d|\d{1,2}",
    re.IGNORECASE,
)


def folder_case_name(folder: Path) -> str:
    """What a case is called by the folder of its images."""
    named = naming_folder(folder)
    name = named.name
    while _VISIT.fullmatch(named.name) and named.parent.name:
        named = named.parent
        name = f"{named.name}_{name}"
    return printable(name)


def naming_folder(folder: Path) -> Path:
    """The folder that a case is called by: this one, or the first above it whose name is not `anat`, `raw` or alike."""
    # of a folder given as `..` only its absolute path, tidied, has the name
    path = Path(os.path.abspath(folder))
    return next((p for p in (path, *path.parents) if p.name and not _NO_CASE.fullmatch(p.name)), path)


def printable(name: str) -> str:
    """A name for folders of results: what cannot be printed is `_`, and it neither hides nor leaves their folder."""
    name = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in name).strip()
    dots = len(name) - len(name.lstrip("."))
    return "_" * dots + name[dots:] or "case"


def file_stem(filename: str) -> str:
    """A file's name without the suffix of an image."""
    name = Path(filename).name
    suffix = next((s for s in (*_SUFFIXES, *_VOXEL_SUFFIXES, *FOREIGN_SUFFIXES) if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a name, in small letters, and where it stands."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Statement:
    """What some words together state: those from `first` to `last`."""

    kind: str
    first: int
    last: int


def _text_of(found: re.Match[str], name: str) -> str:
    """A word in small letters; of `T1_C-` the C with its sign."""
    text = found[0].lower()
    return f"{text}-" if text == "c" and re.match(r"-(?![A-Za-z0-9])", name[found.end() :]) else text


def _statements(words: Sequence[_Word]) -> list[_Statement]:
    """The modalities that a name mentions, in their order; kind "space" for one that an image was brought to."""
    found: list[_Statement] = []
    i = 0
    while i < len(words):
        kind = stated_by(words[i].text) or image_in_space(words[i].text)
        if kind is None:
            i += 1
            continue
        last = i
        if (flair := _flair_after(words, i)) is not None and kind in ("t1", "t2"):
            kind, last = ("flair" if kind == "t2" else "unclear"), flair
        first = i
        if i and words[i - 1].text in ("in", "on", "onto", "to", "into"):
            first, kind = i - 1, "space"
            while last + 1 < len(words) and CONTRAST.fullmatch(words[last + 1].text):
                last += 1
        elif found and i == found[-1].last + 2 and words[i - 1].text in _BRINGS and kind != "space":
            kind = "unclear"
        found.append(_Statement(kind, first, last))
        i = last + 1
    # an MPRAGE is T1-weighted, also where its name does not say so
    return found or [_Statement("t1", i, i) for i, word in enumerate(words) if MPRAGE.fullmatch(word.text)]


def _flair_after(words: Sequence[_Word], at: int) -> int | None:
    """The last word of a FLAIR that follows a "T1" or "T2", with words for how it was acquired between them."""
    for i in range(at + 1, len(words)):
        text, following = words[i].text, words[i + 1].text if i + 1 < len(words) else ""
        if (text, following) in (("dark", "fluid"), ("da", "fl")):
            return i + 1
        if text == "dafl" or stated_by(text) == "flair":
            return i
        if not tells_protocol(text):
            break
    return None


def _read_image(
    plain: str, words: Sequence[_Word], statements: Sequence[_Statement], said: Mapping[str, str]
) -> ImageName:
    shown = [one for one in statements if one.kind != "space"]
    if not shown:
        rest = session_of(plain) or _without(plain, words, [(one.first, one.last) for one in statements])
        return ImageName(None, rest, rest)
    deciding = shown[-1]
    in_space = {i for one in statements if one.kind == "space" for i in range(one.first, one.last + 1)}
    after = [words[i] for i in range(deciding.last + 1, len(words)) if i not in in_space]
    first, before_words = _widened(words, deciding.first)
    modality = _modality(deciding.kind, [w.text for w in after], before_words, said)
    if _may_be_time(words, shown) or any(LESION_MAP.fullmatch(word.text) for word in words):
        modality = None
    kept = [w for w in after if not (PROCESSING.fullmatch(w.text) or CONTRAST.fullmatch(w.text))]
    before = plain[: words[first].start].strip(_TRIMMED)
    rest = "".join(plain[max(w.start - 1, 0) : w.end] for w in _identifying(kept)) if before else ""
    manner = tuple(w.text for w in after if PROCESSING.fullmatch(w.text) and w not in kept)
    may_name_case = any(CONTRAST_BEFORE.fullmatch(word) or NOT_WEIGHTED_BEFORE.fullmatch(word) for word in before_words)
    is_plain = modality is not None and not may_name_case and deciding.last == deciding.first
    last_word = None if is_plain else _last_word(plain, words, deciding, said)
    return ImageName(modality, (before + rest).strip(_TRIMMED), before, tuple(w.text for w in kept), last_word, manner)


def _identifying(words: Sequence[_Word]) -> list[_Word]:
    """Of the words after a modality those that tell cases apart: a date, a visit, a number with a 0 in front, the rest.

    Other numbers are those of series, which differ between the images of one case.
    """
    first = next((i for i, word in enumerate(words) if _IDENTIFIES.match(word.text)), len(words))
    return [word for word in words[first:] if _IDENTIFIES.match(word.text) or not word.text.isdigit()]


def _may_be_time(words: Sequence[_Word], shown: Sequence[_Statement]) -> bool:
    """Whether the last modality may as well be a time point, as in `FLAIR_P1_T2`: only a bare T1 or T2 can."""
    last = shown[-1]
    if last.first != last.last or not BARE.fullmatch(words[last.first].text):
        return False
    return any(one.first != one.last or not BARE.fullmatch(words[one.first].text) for one in shown[:-1])


def _last_word(
    plain: str, words: Sequence[_Word], deciding: _Statement, said: Mapping[str, str]
) -> tuple[str, str] | None:
    """The modality of the last word of a statement alone, all before it being the case's name."""
    word = words[deciding.last]
    kind = stated_by(word.text)
    before = plain[: word.start].strip(_TRIMMED)
    # what follows it counts here, too: no company makes an image of a T1_map
    modality = None if kind is None else _modality(kind, [w.text for w in words[deciding.last + 1 :]], [], said)
    return (modality, before) if modality in MODALITIES and before else None


def _widened(words: Sequence[_Word], first: int) -> tuple[int, list[str]]:
    """Where the words that belong to a modality begin, and those before it."""
    start = first
    while start and _belongs(words[start - 1].text):
        start -= 1
    is_agent = start < first and CONTRAST_BEFORE.fullmatch(words[start].text)
    if start and is_agent and (words[start - 1].text in ("post", "with") or WITHOUT.fullmatch(words[start - 1].text)):
        start -= 1
    return start, [word.text for word in words[start:first]]


def _belongs(text: str) -> bool:
    return bool(is_processing_before(text) and not TIME_BEFORE.fullmatch(text)) or bool(
        CONTRAST_BEFORE.fullmatch(text) or NOT_WEIGHTED_BEFORE.fullmatch(text)
    )


def _modality(kind: str, after: Sequence[str], before: Sequence[str], said: Mapping[str, str]) -> str | None:
    """What an image shows, by the word that states it and those around."""
    if kind == "unclear" or any(NOT_WEIGHTED_BEFORE.fullmatch(word) for word in before):
        return None
    if any(NOT_WEIGHTED.fullmatch(word) for word in after if not (kind == "flair" and word == "tirm")):
        return None
    if any(word == "sub" and not _NUMBER.match(following) for word, following in pairwise([*after, ""])):
        return None  # a subtraction; sub-01 is a patient
    if kind == "t2" and any(T2_STAR.fullmatch(word) or word == "ir" for word in after):
        return None  # with an inversion pulse it is a FLAIR or a STIR
    values = [said[key].lower() for key in ("acq", "desc", "rec") if key in said]
    if any(SAID_OTHER.fullmatch(value) for value in values) or said.get("part", "mag").lower() != "mag":
        return None
    if kind in ("t1", "t2") and any(SAID_FLAIR.fullmatch(value) for value in values):
        return None
    if kind not in ("t1", "t1ce"):
        return kind
    given = WITHOUT_AGENT.fullmatch(said.get("ce", "none")) is None
    given = given or any(SAID_CONTRAST.fullmatch(value) for value in values)
    if any(WITHOUT.fullmatch(word) for word in before):
        return kind if kind == "t1" and not given else None
    given = given or any(CONTRAST_BEFORE.fullmatch(word) for word in before)
    return _with_contrast(kind, after, given)


def _with_contrast(kind: str, after: Sequence[str], given: bool) -> str | None:
    """t1 or t1ce; None where words contradict each other, or "post" may mean a treatment."""
    without = False
    for i, word in enumerate(after):
        following = after[i + 1] if i + 1 < len(after) else ""
        if WITHOUT.fullmatch(word) and following != "space":
            without = True
        elif not CONTRAST.fullmatch(word) or (word != "post" and i and WITHOUT.fullmatch(after[i - 1])):
            continue
        elif word == "post" and following and not (CONTRAST.fullmatch(following) or PROCESSING.fullmatch(following)):
            if kind == "t1":
                return None
        else:
            given = True
    if kind == "t1ce":
        return None if without else kind
    if given and without:
        return None
    return "t1ce" if given else kind


def _mask_word(stem: str, words: Sequence[_Word]) -> int | None:
    """Which word says that a name is that of a mask, of whatever; None where none does."""
    texts = [word.text for word in words]
    certain = [i for i, text in enumerate(texts) if _is_certain(text) and not _is_of_number(words, i)]
    if certain:
        return certain[-1]
    if _NO_MASK.search(stem.lower()) and any(_NO_MASK.fullmatch(text) for text in texts):
        if _is_lesion_dseg(texts, stem):
            return texts.index("dseg")
        return next(i for i, text in enumerate(texts) if _NO_MASK.fullmatch(text)) if not _statements(words) else None
    shown = [one.last for one in _statements(words) if one.kind != "space"]
    last = max(shown, default=-1)
    likely = [i for i, text in enumerate(texts) if i > last and _MASK_UNLESS_IMAGE.fullmatch(text.rstrip("0123456789"))]
    named = len(texts) > 1 and any(c.isdigit() for c in texts[1])
    following = [*texts[1:], ""]
    return next((i for i in reversed(likely) if (i or not named) and following[i] not in ("filled", "filling")), None)


def _is_lesion_dseg(texts: Sequence[str], stem: str) -> bool:
    """Whether a `dseg`, which is of tissues as a rule, says that it is of lesions: `desc-lesion_dseg`."""
    others = any(_NO_MASK.fullmatch(text) for text in texts if text != "dseg")
    return "dseg" in texts and not others and any("lesion" in kinds_of(word) for word in words_of(stem))


def _is_of_number(words: Sequence[_Word], at: int) -> bool:
    """Whether a word for a mask is part of a case's number, before a modality: `VS-SEG-001_t1`, not `mask_1_t1`."""
    if not at or at + 2 >= len(words) or not words[at + 1].text.isdigit():
        return False
    return any(one.kind != "space" and one.first > at + 1 for one in _statements(words))


def _is_certain(text: str) -> bool:
    kinds = kinds_of(text)
    return bool(_MASK_ALONE.fullmatch(text.rstrip("0123456789")) or ("mask" in kinds and kinds - {"mask"}))


def _read_mask(stem: str, plain: str, words: Sequence[_Word], at: int) -> ImageName:
    first = last = at
    while first and (_is_of_mask(words[first - 1].text) or _is_agent(words, first - 1)):
        first -= 1
    if first == 0 and last + 1 < len(words) and all(word.text.isdigit() for word in words[last + 1 :]):
        first = 1 if "mask" not in kinds_of(words[0].text) and last else 0  # tumour_mask_01 is case tumour_01
    while last + 1 < len(words) and _is_of_mask(words[last + 1].text):
        last += 1
    rest = session_of(plain) or _without(plain, words, [(first, last)])
    texts = [word.text for word in words]
    no_mask = any(map(_NO_MASK.fullmatch, texts)) and not _is_lesion_dseg(texts, stem)
    is_other = no_mask or is_brain_mask_name(stem)
    before = plain[: words[at].start].strip(_TRIMMED)
    modality = None if is_other else REFERENCE
    last_word = (REFERENCE, before) if modality and before and before != rest else None
    return ImageName(modality, rest, rest, last_word=last_word, is_map=is_other)


def _is_of_mask(text: str) -> bool:
    return bool(
        kinds_of(text)
        or is_processing_before(text)
        or _MACHINE.fullmatch(text)
        or _BESIDE_MASK.fullmatch(text)
        or _NO_MASK.fullmatch(text)
        or stated_by(text)
    )


def _is_agent(words: Sequence[_Word], at: int) -> bool:
    """Whether a word is the contrast agent of the image before it, as in `t1_gd_seg`, and no patient's initials."""
    return at > 0 and bool(CONTRAST.fullmatch(words[at].text)) and stated_by(words[at - 1].text) is not None


def _without(plain: str, words: Sequence[_Word], cut: Iterable[tuple[int, int]]) -> str:
    """A name without some of its words, each with the sign before it."""
    for first, last in reversed(list(cut)):
        start = words[first].start
        plain = plain[: max(start - 1, 0) if start else 0] + plain[words[last].end :]
    return plain.strip(_TRIMMED)


def _canonical(word: str) -> str:
    said = read_name(word)
    return said.modality if said.modality in MODALITIES and not said.case else word.casefold()
