"""Which images of a folder belong to which case, by their names read together. Opens no file."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from itertools import takewhile
from typing import TYPE_CHECKING

from napari_diffseg.errors import BadCase, Remedy
from napari_diffseg.imaging.names.bids import entities_of
from napari_diffseg.imaging.names.naming import (
    MODALITIES,
    REFERENCE,
    ImageName,
    file_stem,
    folder_case_name,
    is_machine_made,
    printable,
    read_name,
    shown_name,
)
from napari_diffseg.imaging.names.pattern import Pattern
from napari_diffseg.imaging.names.sequence_words import BARE, stated_by, tells_protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

_SERIES = Pattern(r"(?:(?P<stem>.+)[-_. ])?\d{1,4}")
_TISSUE = Pattern(r"(?:m?w|r|s)?c[1-6](?P<of>.+)")
"""Names that SPM gives the tissues of an image: a prefix before the image's own."""
_ENOUGH = 3
_WORD = Pattern(r"[A-Za-z0-9+*]+")
_NUMBERED = Pattern(r"(.+)_\d{4}")
"""Files of one case in nnU-Net's layout, one for each channel."""
_NAMED = 5


@dataclass(slots=True)
class Group:
    """The files of one case in a folder.

    Attributes
    ----------
    name : str
        What their names call the case; empty where they say nothing of it.
    images : dict of str to list of Path
        Of each modality those that may be it, by name; one in a case that is clear.
    masks : list of Path
        Whose names say that people drew them.
    unclear : list of Path
        Whose names state no modality.
    """

    name: str
    images: dict[str, list[Path]] = field(default_factory=dict)
    masks: list[Path] = field(default_factory=list)
    unclear: list[Path] = field(default_factory=list)

    def files(self, wanted: Sequence[str] | None = None, pick: Sequence[str] = ()) -> dict[str, Path]:
        """One file a modality, canonical ones first, and "seg" for the mask, where there is one only.

        Parameters
        ----------
        wanted : sequence of str, optional
            Modalities that must be clear; all that are there by default.
        pick : sequence of str
            Which of several to take: patterns of names, such as `*_bias*`, or entities of BIDS, such as `acq-3d`.

        Raises
        ------
        BadCase
            If several images may be one that is wanted.
        """
        picked: dict[str, list[Path]] = {m: _picked(self.images[m], pick) for m in MODALITIES if m in self.images}
        several = {m: files for m, files in picked.items() if len(files) > 1}
        asked = {m: files for m, files in several.items() if wanted is None or m in wanted}
        if asked:
            raise _which(self.name, asked)
        found = {m: files[0] for m, files in picked.items() if m not in several}
        if (mask := reference_among(self.masks)) is not None:
            found[REFERENCE] = mask
        return found


def reference_among(masks: Sequence[Path]) -> Path | None:
    """The mask that people drew, where there is one; those that say a machine made them come after it."""
    drawn = [path for path in masks if not is_machine_made(path.name)] or masks
    return drawn[0] if len(drawn) == 1 else None


def read_names(paths: Sequence[Path]) -> list[tuple[Path, ImageName]]:
    """What the names of a folder's images say, read together.

    What several share belongs to the case, also where it may be a modality: of `P1_T1_FLAIR`, `P1_T1_T1` and
    `P1_T1_T2` the first T1 is a time point, and of `FLAIR_P1_T2`, `T1_P1_T2` the last T2.
    """
    alone = _without_tissues(paths, [read_name(path.name) for path in paths])
    shared = _shared_ending(paths, alone)
    if shared is not None:
        return list(zip(paths, shared, strict=True))
    at: dict[str, Counter[str]] = defaultdict(Counter)
    for name in alone:
        for modality, before in _readings(name):
            at[before][modality] += 1
    return [(path, _in_company(name, at)) for path, name in zip(paths, alone, strict=True)]


def group_images(paths: Sequence[Path], modalities: Sequence[str] = MODALITIES) -> list[Group]:
    """The cases whose images lie in one folder; the time it takes grows as the number of files.

    Parameters
    ----------
    paths : sequence of Path
        The folder's images.
    modalities : sequence of str
        Those that are looked for.

    Returns
    -------
    list of Group
        By the order of names; empty where no name states a modality, of one group where it is one case.

    Raises
    ------
    BadCase
        If names may be read as several cases or as one.
    """
    named = read_names(paths)
    images = [(path, name) for path, name in named if name.modality in MODALITIES]
    if not images:
        return []
    keys = _partition(images, modalities)
    groups: dict[str, Group] = {}
    for (path, name), key in zip(images, keys, strict=True):
        group = groups.setdefault(key, Group(key))
        group.images.setdefault(str(name.modality), []).append(path)
    _add_the_rest(groups, [(path, name) for path, name in named if name.modality not in MODALITIES])
    return list(groups.values())


def case_id_of(files: Sequence[Path]) -> str:
    """The name of a case: what the names of its files call it; else what their folder is called.

    In BIDS that is the subject and session. Stems that differ have in common what they begin with. A folder such as
    `anat` or `nifti` has no name of a case, and that of a visit (`ses-2`, `baseline`) takes the one above before it.
    What cannot be printed becomes `_`: folders of results take this name.
    """
    numbered = {found[1] for path in files if (found := _NUMBERED.fullmatch(file_stem(path.name)))}
    if len(files) > 1 and len(numbered) == 1 and all(_NUMBERED.fullmatch(file_stem(path.name)) for path in files):
        return printable(numbered.pop())
    named = [name for _, name in read_names(files)]
    stems = next((found for found in ({n.case for n in named}, {n.before for n in named}) if len(found) == 1), None)
    stem = stems.pop() if stems else _common_start({name.case for name in named})
    return printable(stem) if stem else folder_case_name(files[0].parent)


def is_picked(path: Path, pick: Sequence[str]) -> bool:
    """Whether a name fits one of some patterns, of which one with `/` is for the whole path, or has an entity."""
    stem = file_stem(path.name)
    said = {f"{key}-{value}".lower() for key, value in entities_of(stem).items()}
    names = (path.name.lower(), f"/{path.as_posix().lower()}/")
    return any(p.lower() in said or fnmatch(names["/" in p], p.lower()) for p in pick)


def _picked(files: list[Path], pick: Sequence[str]) -> list[Path]:
    return [path for path in files if is_picked(path, pick)] or files if len(files) > 1 else files


def _which(name: str, asked: Mapping[str, Sequence[Path]]) -> BadCase:
    """That several images may be one modality; how one of them is chosen."""
    modality, files = next(iter(asked.items()))
    names = [shown_name(path) for path in files[:_NAMED]]
    listed = f"{', '.join(names[:-1])} and {names[-1]} {'both' if len(files) == 2 else 'all'} say {modality}"
    also = f", and so for {', '.join(list(asked)[1:])}" if len(asked) > 1 else ""
    return BadCase(
        f"{f'Case {name}: ' if name else ''}{listed}{also}: a case has one image of each modality; say which names to "
        "use, or name the files one by one.",
        Remedy("pick", f"'{_pattern_of(files)}'"),
        Remedy("image", f"{modality}=FILE"),
    )


def _pattern_of(files: Sequence[Path]) -> str:
    """A pattern, or an entity of BIDS, that only the last of some files fits."""
    *others, last = (file_stem(path.name) for path in files)
    for key, value in entities_of(last).items():
        if all(entities_of(other).get(key) != value for other in others):
            return f"{key}-{value}"
    words = [word for word in _WORD.findall(last) if not any(word in _WORD.findall(other) for other in others)]
    return f"*{words[-1]}*" if words else files[-1].name


def _without_tissues(paths: Sequence[Path], alone: Sequence[ImageName]) -> list[ImageName]:
    """The names, those of the tissues that SPM made of another of these images without a modality."""
    stems = {file_stem(path.name) for path in paths}
    tissues = [(found := _TISSUE.fullmatch(file_stem(path.name))) and found["of"] in stems for path in paths]
    return [
        replace(name, modality=None, last_word=None, is_map=True) if is_tissue else name
        for name, is_tissue in zip(alone, tissues, strict=True)
    ]


def _readings(name: ImageName) -> list[tuple[str, str]]:
    own = [(name.modality, name.before)] if name.modality is not None else []
    return own + ([name.last_word] if name.last_word is not None else [])


def _in_company(name: ImageName, at: Mapping[str, Counter[str]]) -> ImageName:
    """A name read by its last word alone, where other images share what stands before that."""
    if name.last_word is None:
        return name
    modality, before = name.last_word
    others = sum(count for other, count in at[before].items() if other != modality and other != REFERENCE)
    return replace(name, modality=modality, case=before, before=before, last_word=None) if others else name


def _shared_ending(paths: Sequence[Path], alone: Sequence[ImageName]) -> list[ImageName] | None:
    """All names without the words that all images end in, where one is T1 or T2 and the rest states what they are."""
    images = [file_stem(path.name) for path, name in zip(paths, alone, strict=True) if _readings(name)]
    words = [list(_WORD.finditer(stem)) for stem in images]
    if len(words) < 2:
        return None
    count = 0
    while all(len(found) > count + 1 for found in words):
        if len({found[-1 - count][0].lower() for found in words}) > 1:
            break
        count += 1
    if not any(BARE.fullmatch(found[0].lower()) for found in words[0][len(words[0]) - count :]):
        return None
    read = [read_name(stem[: found[-count].start()]) for stem, found in zip(images, words, strict=True)]
    if len({name.modality for name in read}) < 2 or any(name.modality is None for name in read):
        return None
    shared = iter(read)
    return [next(shared) if _readings(name) else name for name in alone]


_Named = tuple["Path", ImageName]


def _partition(images: Sequence[_Named], modalities: Sequence[str]) -> list[str]:
    """The name of each image's case."""
    by_before = [name.before for _, name in images]
    if len(set(by_before)) == 1:
        finer = [_with_rest(name) for _, name in images]
        return finer if _are_cases(images, finer, modalities, alike=True) else _whole(images, by_before)
    if _are_cases(images, by_before, modalities):
        _refuse_two_readings(images, by_before, modalities)
        finer = [_with_rest(name) for _, name in images]
        return finer if _repeat(images, by_before) and _are_cases(images, finer, modalities, alike=True) else by_before
    if (series := _series_of(images, by_before)) is not None:
        return [series] * len(images)
    stems = sorted(set(by_before))
    raise BadCase(
        f"{len(stems)} cases ({', '.join(stem or 'one without a name' for stem in stems[:_NAMED])}): "
        "give each a folder of its own, or name the files of one by their modality.",
        Remedy("image", "t1=FILE"),
    )


def _series_of(images: Sequence[_Named], by_before: Sequence[str]) -> str | None:
    """What names such as `3_t1_mprage_sag`, `4_t2_tse_tra` call their one case: numbers of series, then protocols.

    None where they are not so. Before the number the case's name may stand; then it takes three images, each of another
    modality, as two such may be of patients with a number.
    """
    modalities = {name.modality for _, name in images}
    found = [_SERIES.fullmatch(before) for before in by_before]
    stems = {one["stem"] or "" for one in found if one is not None}
    if None in found or len(stems) > 1 or len(set(by_before)) < len(images) or len(modalities) < 2:
        return None
    stem = stems.pop()
    if stem and (len(images) < _ENOUGH or len(modalities) < len(images)):
        return None
    return stem if all(tells_protocol(path.name) for path, _ in images) else None


def _whole(images: Sequence[_Named], by_before: list[str]) -> list[str]:
    """One case: by what stands before, and what follows in all names alike."""
    cases = {name.case for _, name in images}
    return [cases.pop()] * len(images) if len(cases) == 1 else by_before


def _with_rest(name: ImageName) -> str:
    """The case by all that may name it: also a number that follows, where the name begins with the modality."""
    if name.before:
        return name.case
    words = [word for word in name.after if any(c.isdigit() for c in word)]
    return "_".join(words)


def _sets(images: Sequence[_Named], keys: Sequence[str]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for (_, name), key in zip(images, keys, strict=True):
        found[key][str(name.modality)] += 1
    return found


def _repeat(images: Sequence[_Named], keys: Sequence[str]) -> bool:
    return any(count > 1 for group in _sets(images, keys).values() for count in group.values())


def _are_cases(
    images: Sequence[_Named], keys: Sequence[str], modalities: Sequence[str], *, alike: bool = False
) -> bool:
    """Whether files with different beginnings are of different cases, rather than sequences of one.

    Of `T1_MPRAGE` and `T2_TSE` they are not: cases have a name, several have several images, and a modality in common.
    With `alike` all must have the same modalities, each once.
    """
    groups = _sets(images, keys)
    if len(groups) < 2 or "" in groups:
        return False
    if alike:
        first, *others = groups.values()
        return (
            all(one == first for one in others)
            and max(first.values()) == 1
            and (len(first) > 1 or len(modalities) == 1)
        )
    if len(modalities) == 1:
        return sum(modalities[0] in group for group in groups.values()) > 1
    full = [group for group in groups.values() if len(group) > 1]
    return len(full) > 1 and max(Counter(m for group in full for m in group).values()) > 1


def _refuse_two_readings(images: Sequence[_Named], keys: Sequence[str], modalities: Sequence[str]) -> None:
    """Refuse names such as `T1_P1_T2`, whose modality may stand first or last, where both give cases."""
    read = [_by_first_word(path) for path, _ in images]
    if any(one is None for one in read):
        return
    other = [(path, one) for (path, _), one in zip(images, read, strict=True) if one is not None]
    rest = [one.case for _, one in other]
    if _are_cases(other, rest, modalities) and not _repeat(other, rest):
        one = shown_name(images[0][0])
        raise BadCase(
            f"{len(set(keys))} cases or {len(set(rest))}: in {one} either the first or the last word may be the "
            "modality, and the other a time point: rename the files, or name those of each case by their modality.",
            Remedy("image", "t1=FILE"),
        )


def _by_first_word(path: Path) -> ImageName | None:
    stem = file_stem(path.name)
    first, *others = _WORD.finditer(stem)
    kind = stated_by(first[0].lower())
    if kind not in MODALITIES or not any(stated_by(word[0].lower()) in MODALITIES for word in others):
        return None
    rest = stem[first.end() :].strip("_-. ")
    return ImageName(kind, rest, rest)


def _add_the_rest(groups: dict[str, Group], rest: Iterable[_Named]) -> None:
    """Masks to the case that their name begins with, others likewise; in a folder of one case all are its."""
    of = _finder(groups)
    for path, name in rest:
        group = of(name)
        if group is None:
            continue
        (group.masks if name.modality == REFERENCE else group.unclear).append(path)


def _finder(groups: Mapping[str, Group]) -> Callable[[ImageName], Group | None]:
    only = next(iter(groups.values())) if len(groups) == 1 else None
    longest = max((len(key) for key in groups), default=0)

    def find(name: ImageName) -> Group | None:
        candidates = [name.last_word[1]] if name.last_word is not None else []
        for text in (*candidates, name.case, name.before):
            if text in groups:
                return groups[text]
        if only is not None:
            return only
        text = name.case[:longest]
        for end in range(len(text), 0, -1):
            if text[:end] in groups and not name.case[end : end + 1].isalnum():
                return groups[text[:end]]
        return None

    return find


def _common_start(stems: Iterable[str]) -> str:
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*stems, strict=False))
    return "".join(letters[0] for letters in same).strip("_-. ")
