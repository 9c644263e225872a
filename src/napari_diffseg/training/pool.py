"""Slices as a network sees them, encoded once, mapped from the run's folder and trained on many times."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_diffseg.errors import BadCase, BadRequest, OutputFailed, Remedy
from napari_diffseg.imaging.atomic import reason_of, write_json
from napari_diffseg.recipe import describe_validation
from napari_diffseg.training.reading import Job, read_slices
from napari_diffseg.training.split import Split

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_diffseg.training.source import CaseSource, Slices

_DESCRIPTION = "pool.json"
_DONE = "done.jsonl"

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Length = Annotated[int, Field(ge=1, le=4096)]


class _Described(BaseModel):
    """What `pool.json` says.

    shape: of an image, (modalities, H, W). labels: mask channels. readers: of each slice. key: what decided the
    encoding. stamps: of each case's files. The last two are missing in pools that were made before they were kept.
    """

    model_config = ConfigDict(frozen=True)

    shape: tuple[Length, Length, Length]
    labels: Length = 1
    readers: tuple[Count, ...]
    train: tuple[str, ...]
    held_out: tuple[str, ...]
    key: str = ""
    stamps: dict[str, str] = {}


class _Done(BaseModel):
    """A line of `done.jsonl`: a case that was encoded, or, held out, looked at."""

    model_config = ConfigDict(frozen=True)

    case: str
    trained_on: bool
    stamp: str
    slices: Count
    readers: Count
    labels: Length
    shape: tuple[Length, Length, Length]

    @model_validator(mode="after")
    def _held_out_has_no_slice(self) -> Self:
        if not self.trained_on and self.slices:
            raise ValueError("a case that is held out has slices")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Slices and their readers' masks.

    Attributes
    ----------
    images : ndarray, (N, modalities, H, W), float16
        Normalised over the whole volume, in the recipe's order.
    masks : ndarray, (K, M, H, W), uint8
        Of each label as `Slices` has them; those of slice n are `first[n]` to `first[n + 1]`, one a reader.
    first : ndarray, (N + 1,), int64
        Where the masks of each slice begin.
    """

    images: npt.NDArray[np.float16]
    masks: npt.NDArray[np.uint8]
    first: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    def has_lesion(self) -> npt.NDArray[np.bool_]:
        """Whether any reader sees any region on a slice, (N,)."""
        masks, slices = self.masks, range(len(self))
        return np.array([(masks[self.first[n] : self.first[n + 1]] == 1).any() for n in slices], np.bool_)


def build_pool(
    folder: Path,
    source: CaseSource,
    split: Split,
    *,
    key: str = "",
    workers: int = 1,
    told: Callable[[int, int], None],
) -> tuple[str, ...]:
    """Encode all cases that are trained on, and look at the others; afterwards `folder` is there, whole.

    Where it ends before that, with cases that cannot be used, a full disk or a killed process, what was encoded stays
    beside it, and the next call encodes the rest.

    Parameters
    ----------
    folder : Path
        To be made.
    source : CaseSource
        Gives the slices.
    split : Split
        Which cases; becomes part of the pool.
    key : str
        What decides how a case is encoded: what was encoded with another key is not used.
    workers : int
        Processes that encode at once; the pool does not depend on it.
    told : callable
        Called after each case with how many are done and how many there are.

    Returns
    -------
    tuple of str
        Cases that are to be trained on and have no slice with brain among those that are allowed.

    Raises
    ------
    BadCase
        If cases cannot be used, or none of them has a slice to train on.
    OutputFailed
        If there is no room.
    """
    jobs = [*(Job(name, True) for name in split.train), *(Job(name, False) for name in split.held_out)]
    try:
        part = _Part(_partial(folder), key)
        stamps = {job.case: _stamp(source, job.case) for job in jobs}
        kept = part.kept(jobs, stamps)
        todo = [job for job in jobs if job.case not in kept]

        def count(done: int) -> None:
            told(len(kept) + done, len(jobs))

        for job, slices in read_slices(source, todo, workers=workers, told=count, total=len(jobs)):
            part.append(job, slices, stamps[job.case])
        without = part.finish(split, stamps)
        part.folder.rename(folder)
        return without
    except OSError as err:
        raise OutputFailed(
            f"The slices could not be written to {folder}: {reason_of(err, folder)}: make room there."
        ) from err


def discard_pool(folder: Path) -> None:
    """Remove a pool, if there is one; a part of one is never left under its name, and what is no pool stays."""
    if (folder / _DESCRIPTION).exists():
        partial = _partial(folder)
        shutil.rmtree(partial, ignore_errors=True)
        folder.rename(partial)
        shutil.rmtree(partial, ignore_errors=True)


def open_pool(folder: Path) -> tuple[Pool, Split]:
    """The pool that `build_pool` made, mapped, not read.

    Raises
    ------
    BadRequest
        If it is damaged.
    """
    told = _described(folder)
    first = np.concatenate([[0], np.cumsum(told.readers)]).astype(np.int64)
    try:
        images = np.memmap(folder / "images", np.float16, "r", shape=(len(told.readers), *told.shape))
        masks = np.memmap(folder / "masks", np.uint8, "r", shape=(int(first[-1]), told.labels, *told.shape[1:]))
    except (OSError, ValueError) as err:
        raise _damaged(folder, str(err)) from err
    return Pool(images, masks, first), Split(told.train, told.held_out)


def holds(folder: Path, source: CaseSource, split: Split, *, key: str) -> bool:
    """Whether a pool is there, of these very cases as they are now, encoded in this very way."""
    if not (folder / _DESCRIPTION).exists():
        return False
    told = _described(folder)
    same = told.key == key and Split(told.train, told.held_out).cases == split.cases
    return same and all(told.stamps.get(case) == _stamp(source, case) for case in split.cases)


def _described(folder: Path) -> _Described:
    try:
        return _Described.model_validate_json((folder / _DESCRIPTION).read_bytes())
    except ValidationError as err:
        raise _damaged(folder, describe_validation(err)) from err
    except (OSError, RecursionError) as err:
        raise _damaged(folder, str(err)) from err


def _damaged(folder: Path, why: str) -> BadRequest:
    return BadRequest(f"The slices in {folder} are damaged ({why}): remove that folder and resume.")


def _partial(folder: Path) -> Path:
    """Where a pool lies while it is not whole."""
    return folder.with_name(f".{folder.name}.part")


def _stamp(source: CaseSource, case: str) -> str:
    """That of a case; of one whose files cannot be found, which is said when it is read, nothing."""
    try:
        return source.stamp(case)
    except (BadCase, OSError):
        return ""


class _Part:
    """A pool that is not whole yet: its slices in the order in which they came, and which cases they are of.

    A line is written to `done.jsonl` after the slices that it is about, so that a process that is killed at any moment
    leaves whole cases, and at most slices that no line is about, which are cut off.

    Parameters
    ----------
    folder : Path
        Of the part.
    key : str
        What decides the encoding; a part of another one is removed.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, self._key = folder, key
        self._done = _read_done(folder, key)
        if self._done is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / _DONE).write_text(json.dumps({"key": key}) + "\n", encoding="utf-8")
            self._done = []
        for name, size in (("images", self.image_bytes), ("masks", self.mask_bytes)):
            with (folder / name).open("ab") as file:
                file.truncate(sum(size(d) for d in self._done))

    def kept(self, jobs: Sequence[Job], stamps: Mapping[str, str]) -> set[str]:
        """The cases that need not be read again."""
        done = {(d.case, d.trained_on, d.stamp) for d in self._done or ()}
        return {j.case for j in jobs if stamps[j.case] and (j.case, j.trained_on, stamps[j.case]) in done}

    def append(self, job: Job, slices: Slices | None, stamp: str) -> None:
        """Add a case."""
        assert self._done is not None  # __init__ has made it
        if slices is None:
            line = _Done(case=job.case, trained_on=False, stamp=stamp, slices=0, readers=0, labels=1, shape=(1, 1, 1))
        else:
            n, readers, labels, height, width = slices.masks.shape
            line = _Done(
                case=job.case,
                trained_on=True,
                stamp=stamp,
                slices=n,
                readers=readers,
                labels=labels,
                shape=(slices.images.shape[1], height, width),
            )
            for name, data in (("images", slices.images), ("masks", slices.masks)):
                with (self.folder / name).open("ab") as file:
                    file.write(np.ascontiguousarray(data).tobytes())
        with (self.folder / _DONE).open("a", encoding="utf-8") as file:
            file.write(line.model_dump_json() + "\n")
        self._done.append(line)

    def finish(self, split: Split, stamps: Mapping[str, str]) -> tuple[str, ...]:
        """Bring the slices to the order of the split, whatever order they came in, and describe them.

        Gives the names of the cases without a slice.
        """
        assert self._done is not None  # __init__ has made it
        newest = {d.case: n for n, d in enumerate(self._done) if d.trained_on}
        order = [newest[case] for case in split.train]
        chosen = [self._done[n] for n in order]
        with_slices = [d for d in chosen if d.slices]
        if not with_slices:
            raise BadCase(
                "No case has a slice with brain to train on: train on more slices, or check the images.",
                Remedy("data.slices", ":"),
            )
        if order != [n for n, d in enumerate(self._done) if d.trained_on]:
            self._reorder("images", order, self.image_bytes)
            self._reorder("masks", order, self.mask_bytes)
        (self.folder / _DONE).unlink()
        described = _Described(
            shape=with_slices[0].shape,
            labels=with_slices[0].labels,
            readers=tuple(d.readers for d in chosen for _ in range(d.slices)),
            train=split.train,
            held_out=split.held_out,
            key=self._key,
            stamps=dict(stamps),
        )
        write_json(self.folder / _DESCRIPTION, described.model_dump(mode="json"))
        return tuple(d.case for d in chosen if not d.slices)

    def _reorder(self, name: str, order: Sequence[int], size: Callable[[_Done], int]) -> None:
        """Write a file anew with the cases in this order; those that are not in it are left out."""
        begins = np.concatenate([[0], np.cumsum([size(d) for d in self._done or ()])]).tolist()
        spans = list(pairwise(begins))
        path, new = self.folder / name, self.folder / f"{name}.new"
        with path.open("rb") as old, new.open("wb") as file:
            for begin, end in (spans[n] for n in order):
                old.seek(begin)
                file.write(old.read(end - begin))
        new.replace(path)

    @staticmethod
    def image_bytes(done: _Done) -> int:
        """Bytes of a case's images."""
        channels, height, width = done.shape
        return 2 * done.slices * channels * height * width

    @staticmethod
    def mask_bytes(done: _Done) -> int:
        """Bytes of its masks."""
        return done.slices * done.readers * done.labels * done.shape[1] * done.shape[2]


def _read_done(folder: Path, key: str) -> list[_Done] | None:
    """The cases of a part, in the order of their slices; None where there is none that can be used."""
    try:
        first, *lines = (folder / _DONE).read_text(encoding="utf-8").splitlines()
        if json.loads(first) != {"key": key}:
            return None
        done = [_Done.model_validate_json(line) for line in lines]
        images, masks = (sum(map(size, done)) for size in (_Part.image_bytes, _Part.mask_bytes))
        whole = (folder / "images").stat().st_size >= images and (folder / "masks").stat().st_size >= masks
        return done if whole else None
    except (OSError, ValueError, RecursionError):
        return None
