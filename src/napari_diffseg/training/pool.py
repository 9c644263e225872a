"""Slices as a network sees them, encoded once, mapped from the run's folder and trained on many times."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import BadCase, BadRequest, OutputFailed
from napari_diffseg.imaging.atomic import reason_of, write_json
from napari_diffseg.training.reading import read_slices
from napari_diffseg.training.split import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from napari_diffseg.training.source import CaseSource, Slices

_DESCRIPTION = "pool.json"


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Slices and their readers' masks.

    Attributes
    ----------
    images : ndarray, (N, modalities, H, W), float16
        Normalised over the whole volume, in the recipe's order.
    masks : ndarray, (M, H, W), uint8
        0 and 1; those of slice n are `first[n]` to `first[n + 1]`, one a reader.
    first : ndarray, (N + 1,), int64
        Where the masks of each slice begin.
    """

    images: npt.NDArray[np.float16]
    masks: npt.NDArray[np.uint8]
    first: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    def has_lesion(self) -> npt.NDArray[np.bool_]:
        """Whether any reader sees lesion on a slice, (N,)."""
        masks, slices = self.masks, range(len(self))
        return np.array([masks[self.first[n] : self.first[n + 1]].any() for n in slices], np.bool_)


def build_pool(
    folder: Path, source: CaseSource, split: Split, *, workers: int = 1, told: Callable[[int, int], None]
) -> None:
    """Encode all cases that are trained on, and look at the others; afterwards `folder` is there, whole.

    Parameters
    ----------
    folder : Path
        To be made; what an interrupted attempt left beside it is removed.
    source : CaseSource
        Gives the slices.
    split : Split
        Which cases; becomes part of the pool.
    workers : int
        Processes that encode at once; the pool does not depend on it.
    told : callable
        Called after each case with how many are done and how many there are.

    Raises
    ------
    BadCase
        If cases cannot be used, or none of them has a slice to train on.
    OutputFailed
        If there is no room.
    """
    partial = _partial(folder)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        with (partial / "images").open("wb") as images, (partial / "masks").open("wb") as masks:
            counts, shape = _append_all(read_slices(source, split, workers=workers, told=told), images, masks)
        described = {"shape": shape, "readers": counts, "train": split.train, "held_out": split.held_out}
        write_json(partial / _DESCRIPTION, described)
        partial.rename(folder)
    except OSError as err:
        raise OutputFailed(
            f"The slices could not be written to {folder}: {reason_of(err, folder)}: make room there."
        ) from err
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def discard_pool(folder: Path) -> None:
    """Remove a pool, if there is one; a part of one is never left under its name, and what is no pool stays."""
    partial = _partial(folder)
    shutil.rmtree(partial, ignore_errors=True)
    if (folder / _DESCRIPTION).exists():
        folder.rename(partial)
        shutil.rmtree(partial, ignore_errors=True)


def open_pool(folder: Path) -> tuple[Pool, Split]:
    """The pool that `build_pool` made, mapped, not read.

    Raises
    ------
    BadRequest
        If it is damaged.
    """
    try:
        told: dict[str, Any] = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        first = np.concatenate([[0], np.cumsum(told["readers"])]).astype(np.int64)
        channels, height, width = told["shape"]
        slices = len(told["readers"])
        images = np.memmap(folder / "images", np.float16, "r", shape=(slices, channels, height, width))
        masks = np.memmap(folder / "masks", np.uint8, "r", shape=(int(first[-1]), height, width))
        return Pool(images, masks, first), Split(tuple(told["train"]), tuple(told["held_out"]))
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise BadRequest(f"The slices in {folder} are damaged ({err}): remove that folder and resume.") from err


def _partial(folder: Path) -> Path:
    """Where a pool lies while it is not whole."""
    return folder.with_name(f".{folder.name}.part")


def _append_all(parts: Iterable[Slices], images: BinaryIO, masks: BinaryIO) -> tuple[list[int], tuple[int, ...]]:
    """Write slice after slice; gives the readers of each, and the shape of one image."""
    counts: list[int] = []
    shape: tuple[int, ...] = ()
    for part in parts:
        images.write(np.ascontiguousarray(part.images, np.float16).tobytes())
        masks.write(np.ascontiguousarray(part.masks, np.uint8).tobytes())
        counts += [part.masks.shape[1]] * len(part.images)
        shape = part.images.shape[1:]
    if not counts:
        raise BadCase("No case has a slice with brain to train on: widen --slices, or check the images.")
    return counts, shape
