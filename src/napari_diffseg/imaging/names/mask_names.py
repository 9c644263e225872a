"""What the name of a mask says it marks: a lesion, or the brain. Standard library only, so that it imports fast."""

from __future__ import annotations

from typing import Final

from napari_diffseg.imaging.names.pattern import Pattern

_LESION: Final = (
    r"lesions?|tumou?rs?|glioma|gbm|metastas[ie]s|mets|strokes?|infarcts?|wmh|wml|gtv\d?|ctv\d?|(?:o?edema)|necrosis"
    r"|enhancing|enhancement|core|abnormalit(?:y|ies)|hyperintensit(?:y|ies)|hypointensit(?:y|ies)|plaques?|cavity"
    r"|resection|recurrence|chronic|acute"
)
"""What is segmented: these words, in the name of a mask, outweigh those for the brain."""

_MASK: Final = (
    r"masks?|msk|seg|segs|segm|segment|segmented|segmentations?|labels?|labelmap|dseg|probseg|rois?|bin|binary|annot"
    r"|annotations?|manual|contours?|delineations?|gt|groundtruth|truth|gold|goldstandard|consensus"
)

_BRAIN: Final = (
    r"brains?|bets?|bet2|hdbet|synthstrip|robex|bse|heads?|skulls?|(?:skull|brain|head)?strip(?:ped)?|ss|scalp|bones?"
    r"|tissues?|parenchymal?|gm|wm|csf|gr[ae]ymatter|whitematter|ventric(?:le|les|ular)|aseg|aparc|ribbon|icv|tiv|etiv"
    r"|intracranial|cranium|cerebrum|cerebell(?:um|ar)|brainstem|hemispheres?|cort(?:ex|ical)|hippocamp(?:us|i)"
    r"|thalam(?:us|i)|fov|foreground|background|body|air|extraction|synthseg|fastseg|pve|pveseg|dgm|subcortical"
    r"|fast|firstseg|freesurfer|malp(?:em)?|anatom(?:y|ical)|atlas|parcellations?|lobes?|eyes?|face|deface|defac(?:ed|ing)|valid|nonzero"
)

_WORD: Final = Pattern(r"[A-Za-z0-9+*]+")
_CAMEL: Final = Pattern(r"(?<=[a-z])(?=[A-Z][a-z])")
_ONE_OF: Final = {
    "lesion": Pattern(rf"(?:{_LESION})(?:{_MASK})?(?:\d{{0,2}})"),
    "brain": Pattern(rf"(?:{_BRAIN})(?:{_MASK})?"),
    "mask": Pattern(rf"(?:manual|expert|consensus|hand)?(?:{_MASK})\d{{0,2}}"),
}
_ENDS_IN_MASK: Final = Pattern(rf"(?:{_MASK})\d{{0,2}}$")
_BETWEEN: Final = Pattern(
    r"3?d?c?t[12](?:w|n|c|ce|gd|f|wi)?(?:gd|ce|c|km)?|3?d?fl(?:a|air)|mri?|of|the|whole|full|only|reg|registered|final"
    r"|native|nat|n4|auto|automated|automatic|manual|approx|ed|er|eroded|dilated|dil|filled|soft|hard|prob|res|desc|space"
    r"|label|and|v\d|left|right|lh|rh|new|old|edited|corrected|\d?mm|mni\d*|template|iso|tra|sag|cor|ax"
)
"""Words that may stand between "brain" and "mask" and leave it a mask of the brain."""


def is_brain_mask_name(name: str) -> bool:
    """Whether a name is that of a mask of the brain, the head or its tissues, which is never the mask of a lesion.

    Such are `p1_T1_bet_mask`, `brain_parenchyma_segmentation`, `desc-brain_mask`, `headMask`, `T1_brain_pveseg`; not
    `brain_tumor_seg`, which says what it marks, nor `brain_017_seg`, where "brain" belongs to the case's name.

    Parameters
    ----------
    name : str
        Of a file, or what is left of it; suffixes of images do no harm.
    """
    words = words_of(name)
    kinds = [kinds_of(word) for word in words]
    if not any("mask" in kind for kind in kinds) or any("lesion" in kind for kind in kinds):
        return False
    return any("brain" in kind and _leads_to_mask(words, kinds, i) for i, kind in enumerate(kinds))


def kinds_of(word: str) -> frozenset[str]:
    """Which of "lesion", "brain" and "mask" a word in small letters means; "lesionmask" means two of them."""
    found = {kind for kind, known in _ONE_OF.items() if known.fullmatch(word)}
    if found & {"lesion", "brain"} and _ENDS_IN_MASK.search(word):
        found.add("mask")
    return frozenset(found)


def words_of(name: str) -> list[str]:
    """The words of a name in small letters, at whatever is no letter or digit, and at capitals as in `tumorMask`."""
    return [part.lower() for word in _WORD.findall(name) for part in _CAMEL.split(word)]


def _leads_to_mask(words: list[str], kinds: list[frozenset[str]], at: int) -> bool:
    """Whether a word for the brain stands by one for a mask, with nothing between them that is another's name."""
    for step in (1, -1):
        i = at
        while 0 <= i < len(words):
            if "mask" in kinds[i]:
                return True
            if i != at and "brain" not in kinds[i] and not _BETWEEN.fullmatch(words[i]):
                break
            i += step
    return False
