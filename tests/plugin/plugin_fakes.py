"""Stand-ins for what is slow or needs a network: a segmenter that follows the protocol, and a thread of our own."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from napari.components import ViewerModel

from napari_diffseg.errors import RunFailed
from napari_diffseg.events import Finished, Preview, Sampled, Started, Stepped
from napari_diffseg.plugin.session.engine import Engine
from napari_diffseg.plugin.session.task import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari_diffseg.events import Focus, SamplingEvent, SegmentRequest
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.recipe import Recipe

MODALITIES = ("t1", "t1ce", "t2", "flair")
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (14, 12, 5)
ROWS = (("Title", "Fake"), ("Channel 1", "t1"), ("Digest", "0123456789ab"))


def write_images(folder: Path, *, shape=SHAPE, affine=LPS, modalities=MODALITIES, case_id="case_1") -> Path:
    """A folder of one case; every voxel of every image is another number, none of them zero in the middle."""
    import nibabel as nib

    folder.mkdir(parents=True, exist_ok=True)
    for n, name in enumerate(modalities):
        data = np.arange(np.prod(shape), dtype=np.int16).reshape(shape) + 10 * n
        image = nib.Nifti1Image(data, affine)
        image.set_sform(affine, code=2)
        image.set_qform(affine, code=1)
        image.header.set_xyzt_units("mm", "sec")
        nib.save(image, folder / f"{case_id}_{name}.nii.gz")
    return folder


def fake_member(shape: tuple[int, int, int], member: int) -> np.ndarray:
    """Member k: a box that grows with k, (X, Y, Z) bool, so that members differ and every answer is known."""
    mask = np.zeros(shape, np.bool_)
    x, y, z = (n // 2 for n in shape)
    mask[x - 1 : x + 1 + member % 3, y - 1 : y + 1 + member % 2, max(z - 1, 0) : z + 1] = True
    return mask


def write_reference(path: Path) -> None:
    """A reference mask that is member 0, to the voxel."""
    import nibabel as nib

    nib.save(nib.Nifti1Image(fake_member(SHAPE, 0).astype(np.uint8), LPS), path)


@dataclass
class FakeSegmenter:
    """Yields Started, then for each member and slice `steps` steps and a Sampled, then Finished.

    `pause` seconds pass in every step; `fail_at` raises `error` before that step; `alike` makes all members equal to
    member 0, and lets each be whole before the next begins; `on_step` is called in every step.
    """

    recipe: Recipe
    steps: int = 2
    pause: float = 0.0
    fail_at: int | None = None
    error: Exception | None = None
    alike: bool = False
    seen: list[SegmentRequest] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    closed: int = 0
    on_step: Callable[[], None] | None = None

    def trace(self, case: Case, request: SegmentRequest) -> Iterator[object]:
        raise RunFailed("Nothing is told of the steps here.")

    def what_if(self, case: Case, request: SegmentRequest, change: object) -> Iterator[object]:
        raise RunFailed("Nothing is changed here.")

    def segment(self, case: Case, request: SegmentRequest, *, focus: Focus | None = None) -> Iterator[SamplingEvent]:
        self.seen.append(request)
        self.cases.append(case)
        axis = 2
        slices = request.slice_indices(case.shape[axis])
        order = sorted(slices, key=lambda s: abs(s - (request.focus if request.focus is not None else 0)))
        members = request.member_numbers
        run_id = f"run{len(self.seen)}"
        total = len(members) * len(slices) * self.steps
        try:
            yield Started(
                run_id, case.id, "cpu", "fp32", "ddim", self.steps, members, slices, slices, axis,
                case.shape, self.recipe.labels, total,
            )  # fmt: skip
            done = 0
            rows = [(s, m) for m in members for s in order] if self.alike else [(s, m) for s in order for m in members]
            while rows:
                if focus is not None and (looked_at := focus()) is not None:
                    rows.sort(key=lambda row: abs(row[0] - looked_at))
                s, member = rows.pop(0)
                mask = fake_member(case.shape, 0 if self.alike else member)[..., s]
                for step in range(self.steps):
                    if done == self.fail_at and self.error is not None:
                        raise self.error
                    time.sleep(self.pause)
                    if self.on_step is not None:
                        self.on_step()
                    done += 1
                    preview = Preview(member, s, mask.astype(np.float32), mask.astype(np.float32))
                    yield Stepped(run_id, step, self.steps, self.steps - 1 - step, done, preview)
                channels = np.stack([mask] * len(self.recipe.labels))[:, None]
                yield Sampled(run_id, member, (s,), channels)
            yield Finished(run_id, members, 1.0, 1)
        finally:
            self.closed += 1


class FakeConfig:
    """As much of a network's configuration as goes into a record."""

    def to_dict(self) -> dict[str, float]:
        return {"in_channels": 5, "norm_groups": 32, "norm_eps": 1e-5, "time_freq_shift": 0.0, "anchor": False}


def fake_engine(segmenter: FakeSegmenter) -> Engine:
    checkpoint = SimpleNamespace(
        path=Path("fake.safetensors"),
        recipe=segmenter.recipe,
        config=FakeConfig(),
        digest="0" * 64,
        guesses=(),
        overrides={},
    )
    return Engine(checkpoint, segmenter, ROWS, unload=lambda: None)


class FakeLoader:
    """Loads the engine of one segmenter whatever the path, except `bad`, which is refused."""

    def __init__(self, segmenter: FakeSegmenter) -> None:
        self.segmenter = segmenter
        self.asked: list[str] = []
        self.forgotten = 0

    def __call__(self, text: str, overrides: Mapping[str, object]) -> Engine:
        from napari_diffseg.errors import BadCheckpoint

        self.asked.append(text)
        if text == "bad":
            raise BadCheckpoint("bad: this is a picture, not a checkpoint: choose another file.")
        return fake_engine(self.segmenter)

    def forget(self) -> None:
        self.forgotten += 1


def run_here(target, stop: threading.Event) -> None:
    """Launch a job in the calling thread: it is over when this returns."""
    target()


JOB_THREAD = "diffseg job"


def run_in_thread(target, stop: threading.Event) -> None:
    """Launch a job in a thread of its own, without Qt."""
    threading.Thread(target=target, daemon=True, name=JOB_THREAD).start()


def ready(session, layers, **values):
    """Everything chosen that a run needs."""
    session.choose_checkpoint("demo")
    session.poll()
    for name in MODALITIES:
        session.assign(name, layers[name])
    for name, value in values.items():
        session.set_value(name, value)
    assert session.why_not_run() is None
    return session


def viewer_of(layers):
    """A viewer without a window that holds the layers of a case."""
    made = ViewerModel()
    for layer in layers.values():
        made.add_layer(layer)
    return made


def poll_to_end(session):
    """Until nothing goes on: a single poll takes no more than one layer."""
    while session.phase is not Phase.IDLE:
        session.poll()


def record(session):
    """Everything the session tells, by signal."""
    heard = {"message": [], "failed": [], "sampled": [], "run_ended": [], "phase_changed": [], "progress": []}
    session.message.connect(heard["message"].append)
    session.failed.connect(lambda *told: heard["failed"].append(told))
    session.sampled.connect(heard["sampled"].extend)
    session.run_ended.connect(heard["run_ended"].append)
    session.phase_changed.connect(heard["phase_changed"].append)
    session.progress.connect(lambda *told: heard["progress"].append(told))
    return heard


def drop(widget, *paths) -> bool:
    """Drop files on a widget as Qt does; whether it took them."""
    from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
    from qtpy.QtGui import QDragEnterEvent, QDropEvent
    from qtpy.QtWidgets import QApplication

    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(5, 5), copy, data, left, none)
    enter.ignore()
    QApplication.sendEvent(widget, enter)
    QApplication.sendEvent(widget, QDropEvent(QPointF(5, 5), copy, data, left, none))
    return enter.isAccepted()
