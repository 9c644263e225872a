"""The words that names of MR images are made of: sequences, contrast agents, maps, processing. No imports of weight."""

from __future__ import annotations

import re
from typing import Final, Literal

from napari_diffseg.imaging.names.pattern import Pattern

Sequence = Literal["t1", "t1ce", "t2", "flair", "unclear", "space"]
"""What a word states: a modality; "unclear" for a T1-weighted FLAIR; "space" for the space that an image lies in."""

_BEFORE = r"(?:[23]d|ax|axial|sag|cor|tra|iso|hr|[ser])?"
_PULSES = (
    r"mprage|mpr|memprage|tfe|tse|fse|frfse|se|ffe|fspgr|irfspgr|irspgr|spgr|bravo|vibe|space|spc|cube|flash|fs|blade"
    r"|propeller|ir|[23]d|ax|axial|sag|cor|tra|iso"
)
_AGENT = r"(?:\+?c\+?|\+|ce|gd|gad|gado|gadolinium|km|contrast|post|postcontrast|postgd|postgad|postkm|enhanced|pc|ks)"
_PLAIN = r"(?:nat|nativ|native|pre|precontrast|noncontrast|plain)?"
_T1 = rf"{_BEFORE}t1(?:wi?|n|wn|weighted)?(?:{_PULSES})?{_PLAIN}"
_T1CE = rf"{_BEFORE}(?:t1(?:wi?)?(?:{_PULSES})?{_AGENT}|(?:c|ce|gd|gad|km)t1(?:wi?)?(?:{_PULSES})?)"
_T2 = rf"{_BEFORE}t2(?:wi?|weighted)?(?:{_PULSES})?"
_FLAIR = rf"{_BEFORE}(?:(?:t2w?)?(?:flair|fla)w?(?:{_PULSES})?|t2f|darkfluid)"
_T1_FLAIR = rf"{_BEFORE}t1w?(?:flair|fla)"
_ANY = rf"(?:{_T1}|{_T1CE}|{_T2}|{_FLAIR})"
_REGISTERED = r"(?:reg|coreg|registered|aligned|warped)?"

_STATES: Final[dict[Sequence, Pattern]] = {
    "unclear": Pattern(_T1_FLAIR),
    "t1": Pattern(_T1),
    "t1ce": Pattern(_T1CE),
    "flair": Pattern(_FLAIR),
    "t2": Pattern(_T2),
    "space": Pattern(rf"{_REGISTERED}(?:in|on|onto|to|2){_ANY}(?:space)?"),
}
_INTO: Final = Pattern(rf"(?P<image>{_ANY}){_REGISTERED}(?:2|to|in|on)(?P<space>{_ANY})")

CONTRAST: Final = Pattern(
    r"\+?c\+?|\+|ce|gd|gad|gado|gadolinium|gadovist|gadobutrol|dotarem|magnevist|km|mkm|ivkm|mdc|kontrast|kontrastmittel"
    r"|contrast|contrasted|enhanced|inj|post|postcontrast|postgd|postgad|postgado|postkm|postinjection|pc"
    rf"|with(?:contrast|gd|gad)|(?:{_PULSES})\+?(?:c|ce|gd|gad|gado|km|post)(?<!space)"
)
"""Words after "T1" by which a contrast agent was given."""

CONTRAST_BEFORE: Final = Pattern(r"gd|gad|gado|gadolinium|contrast|enhanced|postcontrast|postgd|postgad|postgado|km|ce")
"""The same before "T1"; single letters are more often part of a patient's name there, and "post" a time."""

TIME_BEFORE: Final = Pattern("pre|post")
"""Before "T1" they may mean the contrast or a treatment."""

SAID_CONTRAST: Final = Pattern(
    r"(?!.*(?:pre|non?|without)[-]?(?:contrast|gd|gado?))"
    r"(?:.*(?:post|postcontrast|gd|gad|gado|gadolinium|contrast|enhanced)|ce|km|t1ce|t1c|c)",
)
"""What the value of an entity of BIDS (`acq-postcontrast`) says, in small letters, where contrast was given."""

SAID_FLAIR: Final = Pattern(r".*(?:flair|darkfluid)")
"""The same, where a T2-weighted image is a FLAIR, or may be one."""

SAID_OTHER: Final = Pattern(r".*(?:map|subtraction|synthetic|synth)|swi|dwi|phase")
"""The same, where the image is no weighted image as its suffix says."""

WITHOUT: Final = Pattern(
    r"no|non|wo|ohne|vor|okm|c-|without|pre|un(?:enhanced)?|precontrast|noncontrast|nocontrast|pregd|pregad|prekm|nat|nativ"
    r"|native|plain|sans"
)
"""Words by which none was given, also where one for the agent follows them."""

WITHOUT_AGENT: Final = Pattern(r"(?:no|non|none|without|pre|nat|native|plain)(?:contrast|gd|gado?)?", re.IGNORECASE)
"""Values of the entity `ce` of BIDS by which none was given."""

LESION_MAP: Final = Pattern(r"ples")
"""Begins the names of lesion probabilities that LST writes: `ples_lpa_mFLAIR`."""

NOT_WEIGHTED: Final = Pattern(
    r"maps?|mapping|map\d?mm|star|starw|\*|swi|swan|rho|molli|relax\w*|quantitative|qmri|dsc|dce|perf|perfusion|dwi|diff"
    r"|diffusion|adc|tracew?|dti|fa|bold|asl|cbf|cbv|rcbv|fmri|func|subtract(?:ed|ion)|subtraktion|ratio|div|stir"
    r"|tof|mra|angio|m?minip|mip|locali[sz]er|scout|survey|loc|prob\w*|softmax|pve\w*|biasfield|bias?field|field|warp"
    r"|warpfield|deformation|jac|jacobian|phase|magnitude|mag|pd|pdw|inv[12]?|unit1|uni"
    r"|gradient|noise|snr|uncertainty|variance|entropy|error|residual|synth(?:etic|esi[sz]ed|sr)?|pseudo|fake|generated"
    r"|r1|r2|qt1|qt2|mt|mtr|mtsat|cest|spectro\w*|mrs|csi|elasto\w*|thickness|diffmap|change|delta|ktrans|tirm|gm|wm|csf|tissues?|subs|mixeltype|filled|lesionfilled|inpainted"
)
"""Words after "T1", "T2" or "FLAIR" by which the image is no such weighted image."""

T2_STAR: Final = Pattern(r"gre|fl2d|hemo|heme|medic|epi|ffe|merge|dwi\w*|s")
"""Words after "T2" alone by which it is T2*."""

NOT_WEIGHTED_BEFORE: Final = Pattern(
    r"swi|swan|dwi|adc|dsc|dce|perfusion|bold|fmri|subtract(?:ed|ion)|ratio|synth(?:etic|esi[sz]ed)?|pseudo|map|qmri"
)
"""The same directly before, where a patient's initials could stand."""

PROCESSING: Final = Pattern(
    rf"{_PULSES}|[vs]?wip|axi|trans|transversal|transverse|sagittal|coronal|isotropic|obl|oblique|mp2rage|grappa|sense|caipi"
    r"|dixon|fatsat|fsat|wfs|gre|haste|vista|multivane|brain|head|neck|image|images|img|imgs|scan|vol|volume|orig"
    r"|original|raw|std|reorient|reoriented|lps|ras|ras2|lpi|bet|bet2|hdbet|synthstrip|robex|stripped|skullstripped"
    r"|skullstrip|ss|strip|noskull|noneck|defaced|deface|anon|n3|n4|n4itk|bias|biascorr|biascorrected|bfc|unbiased|debiased"
    r"|corrected|corr|norm|normed|normali[sz]ed|normali[sz]e|zscore|whitened|ws|nyul|histmatch|hm|reg|registered"
    r"|coreg|coregistered|aligned|rigid|affine|warped|transformed|resampled|resample|resamp|resliced|rsl|res|crop"
    r"|cropped|pad|padded|preproc|preprocessed|prep|pp|processed|proc|denoised|dn|smoothed|masked|mni|mni152\w*|sri|sri24"
    r"|atlas|template|tmpl|talairach|space|final|clean|cleaned|new|old|to|in|on|onto|the|of|weighted|mm|\d+(?:p\d+)?mm"
    r"|(?:reg|coreg|warped|resampled|aligned)?(?:2|to)(?:mni|sri|atlas|template|std|standard|flair|t1|t2)\w*|r2s"
    r"|subtrmeandivstd|mri|nii|float|int16|uint8|float32|compressed|filtered|iso\w*|high|highres|hires|lowres|hr|lr"
    r"|(?:dark|fluid|da|fl|darkfluid)|inplane|post|pre|native|nat|nativ"
)
"""Words that say how an image was made or processed; by a modality they are no part of the case's name."""

_PROTOCOL: Final = Pattern(rf"{_PULSES}|tirm|fluid|trans\w*|sagittal|coronal|axi|gre|haste|fl2d|fl3d")
_INITIALS: Final = Pattern(r"[a-z]{1,2}")

MPRAGE: Final = Pattern(r"(?:[23]d)?(?:me)?mprage")
"""A sequence that is T1-weighted by what it is."""

BARE: Final = Pattern(r"t[12]")
"""May be a time point as well."""


def stated_by(word: str) -> Sequence | None:
    """What one word, in small letters, states; None for most words."""
    return next((kind for kind, pattern in _STATES.items() if pattern.fullmatch(word)), None)


def image_in_space(word: str) -> Sequence | None:
    """What a word such as `flair2t1` shows: the image before it is brought somewhere."""
    found = _INTO.fullmatch(word)
    return None if found is None else stated_by(found["image"])


def is_processing_before(word: str) -> bool:
    """Whether a word before a modality belongs to it; two letters may be a patient's initials, but for a few."""
    return bool(PROCESSING.fullmatch(word)) and (not _INITIALS.fullmatch(word) or word in ("ax", "in", "to", "on"))


def tells_protocol(name: str) -> bool:
    """Whether a name holds words of a scanner's protocol, such as `mprage` or `tra`."""
    return any(_PROTOCOL.fullmatch(word) for word in re.findall(r"[a-z0-9]+", name.lower()))
