"""A set of masks against a set of readers: do they agree as distributions, not only on average."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from napari_diffseg.ensemble.dice import dice

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]

DISTRIBUTION_RULE: Final = (
    "ged_squared is the V-statistic (pairs of a mask with itself count) with d = 1 - IoU; two empty masks have IoU 1. "
    "hungarian_iou repeats members and readers to their least common multiple and matches them one to one. d_max is "
    "the mean over readers of the best member's Dice."
)
_CHUNK = 1 << 20  # float32 sums of so many ones are exact


@dataclass(frozen=True, slots=True)
class Distribution:
    """Members against readers.

    Attributes
    ----------
    members, readers : int
        How many there are.
    ged_squared : float
        Squared generalised energy distance, 0 for the same distribution; not below 0.
    hungarian_iou : float
        Mean IoU of the best one-to-one matching, in [0, 1].
    d_max : float
        Mean over the readers of the best Dice among the members, in [0, 1].
    member_dice, reader_dice : float
        Mean Dice over pairs of different members, and of different readers; NaN where there is one only.
    member_reader_dice : float
        Mean Dice over all pairs of a member and a reader.
    """

    members: int
    readers: int
    ged_squared: float
    hungarian_iou: float
    d_max: float
    member_dice: float
    reader_dice: float
    member_reader_dice: float


def compare_distributions(members: Bool, readers: Bool) -> Distribution:
    """Measure an ensemble as a distribution against one reader or several.

    Parameters
    ----------
    members : ndarray, (K, ...), bool
        At least one.
    readers : ndarray, (R, ...), bool
        At least one, on the members' grid.

    Returns
    -------
    Distribution
    """
    flat_members = members.reshape(len(members), -1)
    flat_readers = readers.reshape(len(readers), -1)
    cross = iou_matrix(flat_members, flat_readers)
    within, between = iou_matrix(flat_members, flat_members), iou_matrix(flat_readers, flat_readers)
    cross_dice = _dice_of(cross)
    return Distribution(
        members=len(members),
        readers=len(readers),
        ged_squared=ged_squared(cross, within, between),
        hungarian_iou=hungarian_iou(cross),
        d_max=float(cross_dice.max(axis=0).mean()),
        member_dice=_mean_of_pairs(_dice_of(within)),
        reader_dice=_mean_of_pairs(_dice_of(between)),
        member_reader_dice=float(cross_dice.mean()),
    )


def iou_matrix(a: Bool, b: Bool) -> Float:
    """IoU of each mask of one set with each of another; 1 where both are empty.

    Parameters
    ----------
    a, b : ndarray, (N, V) and (M, V), bool
        One mask a row.

    Returns
    -------
    ndarray, (N, M), float64
    """
    both = np.zeros((len(a), len(b)))
    for start in range(0, a.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        both += a[:, part].astype(np.float32) @ b[:, part].astype(np.float32).T
    either = a.sum(axis=1)[:, None] + b.sum(axis=1)[None, :] - both
    return np.asarray(np.where(either == 0, 1.0, both / np.maximum(either, 1)), np.float64)


def ged_squared(cross: Float, members: Float, readers: Float) -> float:
    """Squared generalised energy distance with d = 1 - IoU, as a V-statistic.

    Parameters
    ----------
    cross, members, readers : ndarray, (K, R), (K, K) and (R, R), float64
        IoU of members with readers, of members and of readers among themselves.

    References
    ----------
    Kohl et al. 2018, arXiv:1806.05034, equation 3.
    """
    return float(2 * (1 - cross).mean() - (1 - members).mean() - (1 - readers).mean())


def hungarian_iou(cross: Float) -> float:
    """Mean IoU of the best one-to-one matching, both sets repeated to their least common multiple.

    Parameters
    ----------
    cross : ndarray, (K, R), float64
        IoU of members with readers.

    References
    ----------
    Zbinden et al. 2023, arXiv:2303.08888.
    """
    k, r = cross.shape
    common = math.lcm(k, r)
    repeated = np.repeat(np.repeat(cross, common // k, axis=0), common // r, axis=1)
    rows, columns = linear_sum_assignment(-repeated)
    return float(repeated[rows, columns].mean())


def dice_by_members(members: Bool, truth: Bool) -> Float:
    """Dice of the majority of the first k members, for k from 1 to K.

    The majority is strict, as in the masks that a run writes: with two members, what both see.

    Parameters
    ----------
    members : ndarray, (K, ...), bool
        In the order in which they were drawn.
    truth : ndarray, (...), bool
        On the members' grid.

    Returns
    -------
    ndarray, (K,), float64
    """
    votes = np.zeros(truth.shape, np.uint16)
    scores = []
    for k, member in enumerate(members, start=1):
        votes += member
        scores.append(dice(2 * votes > k, truth))
    return np.array(scores, np.float64)


def _dice_of(iou: Float) -> Float:
    """Dice from IoU: 2 J / (1 + J)."""
    return np.asarray(2 * iou / (1 + iou), np.float64)


def _mean_of_pairs(matrix: Float) -> float:
    """Mean over pairs of different masks; NaN where there is one only."""
    above = matrix[np.triu_indices(len(matrix), k=1)]
    return float(above.mean()) if above.size else math.nan
