"""What has to cross: the arrays of a case and the files of a checkpoint, each named by its SHA-256."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from weakref import WeakKeyDictionary

import numpy as np

from napari_diffseg.errors import BadCheckpoint, EngineFailed
from napari_diffseg.imaging.case import Case
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.remote.blob_store import PIECE
from napari_diffseg.remote.messages import CasePart, FilePart, VolumePart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class ArrayContent:
    """The bytes of an image, little-endian, in the order that they have in memory."""

    flat: npt.NDArray[Any]
    digest: str
    size: int
    width: Literal[1, 2, 4, 8]

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        """The bytes from `start` on, a multiple of `PIECE`, in pieces of at most `PIECE`."""
        step = PIECE // self.flat.itemsize
        for first in range(start // self.flat.itemsize, len(self.flat), step):
            yield self.flat[first : first + step].tobytes()


@dataclass(frozen=True, eq=False)
class FileContent:
    """The bytes of a file."""

    path: Path
    digest: str
    size: int
    width: Literal[1, 2, 4, 8] = 4

    def pieces(self, start: int = 0) -> Iterator[bytes]:
        """The bytes from `start` on, in pieces of at most `PIECE`."""
        with self.path.open("rb") as file:
            file.seek(start)
            while piece := file.read(PIECE):
                yield piece


Content = ArrayContent | FileContent

_WIDTHS: Final[dict[int, Literal[1, 2, 4, 8]]] = {2: 2, 4: 4, 8: 8}
_KNOWN: WeakKeyDictionary[Volume, tuple[VolumePart, ArrayContent]] = WeakKeyDictionary()


def describe_volume(volume: Volume) -> tuple[VolumePart, ArrayContent]:
    """An image in words, and its content; of an image that was asked for before nothing is read again."""
    if volume not in _KNOWN:
        _KNOWN[volume] = _described(volume)
    return _KNOWN[volume]


def _described(volume: Volume) -> tuple[VolumePart, ArrayContent]:
    data = volume.data
    order: Literal["C", "F"] = "F" if data.flags.f_contiguous and not data.flags.c_contiguous else "C"
    little = np.asarray(data, data.dtype.newbyteorder("<"), order=order)
    flat = little.ravel(order=order)  # a view where the array is in one piece
    digest = hashlib.sha256(flat.view(np.uint8).data).hexdigest()
    part = VolumePart.model_validate(
        {
            "digest": digest,
            "dtype": little.dtype.str,
            "shape": volume.shape,
            "order": order,
            "affine": volume.affine.ravel().tolist(),
            "name": None if volume.path is None else shown_name(volume.path),
            "notes": volume.notes,
            "resampled_to": volume.resampled_to,
        }
    )
    return part, ArrayContent(flat, digest, flat.nbytes, _WIDTHS.get(flat.itemsize, 1))


def describe_case(case: Case) -> tuple[CasePart, list[ArrayContent]]:
    """A case in words, and its contents; the reference mask stays where it is."""
    described = {name: describe_volume(volume) for name, volume in case.volumes.items()}
    part = CasePart(id=case.id, volumes={name: part for name, (part, _) in described.items()})
    return part, [content for _, content in described.values()]


def make_volume(part: VolumePart, find: Callable[[str], Path]) -> Volume:
    """The image of a description; `find` gives the file of a content.

    Raises
    ------
    EngineFailed
        If the content is not of the size that the description says.
    """
    try:
        flat = np.fromfile(find(part.digest), np.dtype(part.dtype))
        data = flat.reshape(part.shape, order=part.order)
    except (ValueError, OSError) as err:
        raise EngineFailed("An image arrived with another size than announced: run again.") from err
    affine = np.array(part.affine, np.float64).reshape(4, 4)
    path = None if part.name is None else Path(part.name)
    return Volume(data, affine, None, path, part.notes, resampled_to=part.resampled_to)


def make_case(part: CasePart, find: Callable[[str], Path]) -> Case:
    """The case of a description.

    Raises
    ------
    EngineFailed
        As `make_volume` does.
    """
    return Case(part.id, {name: make_volume(volume, find) for name, volume in part.volumes.items()}, None)


@dataclass(frozen=True, eq=False)
class CheckpointFiles:
    """The files that a checkpoint is read from, within the folder that holds them all.

    Attributes
    ----------
    contents : list of FileContent
        One for each of `parts`.
    parts : tuple of FilePart
        Where each lies within the folder.
    main : tuple of str
        Which of them, or which folder, is to be loaded; empty for the folder that holds them all.
    """

    contents: list[FileContent]
    parts: tuple[FilePart, ...]
    main: tuple[str, ...]


def checkpoint_files(path: Path) -> CheckpointFiles:
    """The files of a checkpoint: one, or those of a diffusers model or pipeline.

    Raises
    ------
    BadCheckpoint
        If they cannot be read.
    """
    root, main, files = _listed(path)
    contents = [_file_content(file) for file in files]
    parts = tuple(
        FilePart(place=file.relative_to(root).parts, digest=content.digest)
        for file, content in zip(files, contents, strict=True)
    )
    return CheckpointFiles(contents, parts, main)


_BESIDE: Final = ("config.json", "scheduler/scheduler_config.json", "scheduler_config.json", "model_index.json")
_WEIGHTS: Final = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")


def _listed(path: Path) -> tuple[Path, tuple[str, ...], list[Path]]:
    """The folder that holds all files, what of it is loaded, and the files; as `checkpoint.folder` looks for them."""
    if not path.is_dir():
        if path.name not in _WEIGHTS:
            return path.parent, (path.name,), [path]
        inside = path.parent
        root = inside.parent if (inside.parent / "scheduler" / "scheduler_config.json").is_file() else inside
        beside = [inside / name for name in _BESIDE] + [inside.parent / "scheduler" / "scheduler_config.json"]
        return root, path.relative_to(root).parts, [path, *_there(beside, root)]
    folders = [path, *(folder for folder in sorted(path.iterdir()) if folder.is_dir())]
    found = [folder / name for folder in folders for name in _BESIDE]
    weights = [
        _there([folder / name for name in _WEIGHTS], path)[:1] for folder in folders
    ]  # the first is the one read
    return path, (), _there([*found, *(file for those in weights for file in those)], path)


def _there(files: list[Path], root: Path) -> list[Path]:
    return list(dict.fromkeys(file for file in files if file.is_file() and root in file.parents))


def _file_content(path: Path) -> FileContent:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return FileContent(path, digest, file.tell())
    except OSError as err:
        raise BadCheckpoint(f"{shown_name(path)}: it cannot be read ({err.strerror}): choose another file.") from err
