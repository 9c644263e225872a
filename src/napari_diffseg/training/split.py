"""Who is trained on and who is held out: by patient, by a hash, once and for all."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_diffseg.errors import BadRequest, Remedy

if TYPE_CHECKING:
    from collections.abc import Sequence

_ORIGINAL = re.compile(r"(brats_[a-z]+_\d+)_\d+(_w)?", re.IGNORECASE)
_TIMEPOINT = re.compile(r"(BraTS-[A-Za-z]+-\d+)-\d+", re.IGNORECASE)
_FEW = 30
"""Fewer patients than these are counted, not only hashed: of three, chance may well draw two for a tenth."""

_BIDS = re.compile(r"(sub-[A-Za-z0-9]+)[_-].*")


@dataclass(frozen=True, slots=True)
class Split:
    """Names of cases, each part sorted.

    Attributes
    ----------
    train, held_out : tuple of str
        No patient is in both.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]

    @property
    def cases(self) -> tuple[str, ...]:
        """All of them, sorted."""
        return tuple(sorted(self.train + self.held_out))

    @property
    def digest(self) -> str:
        """SHA-256, hexadecimal, of which case is in which part."""
        lines = [*(f"train {c}" for c in self.train), *(f"held out {c}" for c in self.held_out)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def patient_of(case_id: str) -> str:
    """The patient that a case is of.

    Several cases of one patient are known where names say so: slices of the original implementation
    (`brats_train_001_080_w`), time points of BraTS since 2023 (`BraTS-GLI-00001-000`), sessions of BIDS
    (`sub-01_ses-2`). Elsewhere each case is a patient.
    """
    for pattern in (_ORIGINAL, _TIMEPOINT, _BIDS):
        if match := pattern.fullmatch(case_id):
            return match[1]
    return case_id


def split_cases(case_ids: Sequence[str], *, share: float, seed: int) -> Split:
    """Hold out about a share of the patients; at least one, unless the share is 0.

    A patient's place depends on its name and the seed alone, so cases that come later move nobody. Only where the
    hash would hold out nobody, or everybody, is the patient nearest to the border moved over it; and of fewer than 30
    patients never more are held out than the share, rounded up, nor (of a share up to a half) more than are left.

    Raises
    ------
    BadRequest
        If there is one patient only, and some are to be held out.
    """
    place = {patient: _place(patient, seed) for patient in {patient_of(c) for c in case_ids}}
    if not share:
        return Split(tuple(sorted(case_ids)), ())
    if len(place) < 2:
        raise BadRequest(
            f"{next(iter(place), 'Nobody')} is the only patient and cannot be both trained on and held out: "
            "add cases, or train without validation: hold nobody out.",
            Remedy("data.held_out", "0"),
        )
    ordered = sorted(place, key=place.__getitem__)
    count = min(sum(place[p] < share for p in ordered), _most(len(ordered), share))
    held = set(ordered[: max(count, 1)])
    return Split(
        tuple(sorted(c for c in case_ids if patient_of(c) not in held)),
        tuple(sorted(c for c in case_ids if patient_of(c) in held)),
    )


def _most(patients: int, share: float) -> int:
    """How many may be held out."""
    if patients >= _FEW:
        return patients - 1
    return min(math.ceil(share * patients), patients // 2 if share <= 0.5 else patients - 1)


def _place(patient: str, seed: int) -> float:
    """In [0, 1), as if drawn."""
    digest = hashlib.sha256(f"{seed}/{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
