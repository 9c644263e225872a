"""Brings a kept run back: its images as layers, its ensemble, and the plan with which it can go on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_diffseg.errors import BadCase, DiffsegError
from napari_diffseg.events import SegmentRequest, make_request
from napari_diffseg.plugin.background.job import Stopped
from napari_diffseg.plugin.background.mailbox import Ending, StatusMessage
from napari_diffseg.plugin.grid.frame import METADATA_KEY, Frame
from napari_diffseg.plugin.session.jobs import bring
from napari_diffseg.plugin.session.run_origin import content_digest, read_origin
from napari_diffseg.plugin.session.run_plan import RunPlan

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_diffseg.ensemble.expected import ExpectedMask
    from napari_diffseg.events import Sampled, Started
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.plugin.background.job import Job
    from napari_diffseg.plugin.background.mailbox import Mailbox
    from napari_diffseg.plugin.grid.layer_data import LayerData
    from napari_diffseg.plugin.session.run_origin import RunOrigin
    from napari_diffseg.runs.edited_mask import EditedMask
    from napari_diffseg.runs.stored_run import StoredRun


@dataclass(frozen=True, eq=False)
class ReopenedRun:
    """A kept run, read from its folder.

    Attributes
    ----------
    started : Started
        The event with which it began.
    expected : ExpectedMask or None
        What it expected, where it had that of every slice.
    sampled : tuple of Sampled
        Its members.
    edited : tuple of EditedMask
        Corrections of its mask.
    ending : Ending
        CANCELLED for one that was cut short, else DONE.
    plan : RunPlan
        With which it can go on; where images are missing, only its frame, request and folder mean something.
    missing : str
        Why it cannot go on, as a sentence; empty where it can.
    words : str
        What has been opened, in sentences.
    """

    started: Started
    expected: ExpectedMask | None
    sampled: tuple[Sampled, ...]
    edited: tuple[EditedMask, ...]
    ending: Ending
    plan: RunPlan
    missing: str
    words: str

    @property
    def frame(self) -> Frame:
        """How its grid lies on the screen."""
        return self.plan.frame


def reopen_job(folder: Path) -> Job:
    """Read a kept run; the result is a `ReopenedRun`."""

    def job(mailbox: Mailbox, stop: threading.Event) -> ReopenedRun:
        from napari_diffseg.runs.stored_run import read_run

        def check_stop() -> None:
            if stop.is_set():
                raise Stopped

        mailbox.put(StatusMessage("Reading the run…"))
        run = read_run(folder, check_stop=check_stop)
        check_stop()
        mailbox.put(StatusMessage("Reading its images…"))
        origin = read_origin(folder)
        found, notes = _find_images(run, origin)
        reopened = _reopened(run, origin, found, notes)
        bring(list(found.values()), mailbox, unless_open=True)
        return reopened

    return job


def run_of_case(
    folder: Path, images: Mapping[str, LayerData], *, checkpoint: str, check_stop: Callable[[], None]
) -> ReopenedRun | None:
    """A kept run of a case whose images have been read; None where it is of other images.

    Parameters
    ----------
    folder : Path
        Where it lies: among the kept runs, or where a cohort's results are.
    images : mapping of str to LayerData
        The case's, by modality.
    checkpoint : str
        With which it goes on where nothing says what it was made with; another one is refused then.
    check_stop : callable
        What it raises ends the reading.

    Raises
    ------
    BadCase
        If it cannot be read.
    """
    from napari_diffseg.runs.stored_run import read_run

    run, origin = read_run(folder, check_stop=check_stop), read_origin(folder)
    wanted = run.record.inputs
    found = {name: layer for name, layer in images.items() if volume_of(layer).digest == wanted.get(name)}
    if len(found) < len(wanted) and origin.images:
        by_content = {content_digest(volume_of(layer)): layer for layer in images.values()}
        by_content |= _as_resampled(by_content, origin)
        same = {name: by_content[one.content] for name, one in origin.images.items() if one.content in by_content}
        found = same | found
    if wanted and not found:
        return None
    reopened = _reopened(run, origin, found, ())
    return (
        reopened if reopened.plan.checkpoint else replace(reopened, plan=replace(reopened.plan, checkpoint=checkpoint))
    )


def _reopened(run: StoredRun, origin: RunOrigin, found: Mapping[str, LayerData], notes: Sequence[str]) -> ReopenedRun:
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.runs.edited_mask import read_edited

    wanted = run.record.inputs or run.record.files
    lacking = [name for name in wanted if name not in found]
    missing = ""
    if lacking or not wanted:
        missing = f"The reopened run's {', '.join(lacking) or 'images'} cannot be found unchanged: start a new run."
    volumes = {name: volume_of(found[name]) for name in wanted if name in found} or {"mask": run.grid}
    plan = RunPlan(
        case=Case(run.record.case, volumes, None),
        frame=Frame.of_volume(run.grid),
        checkpoint=origin.checkpoint,
        overrides=origin.overrides,
        request=_request(run),
        folder=run.folder,
        left_out=tuple(name for name in run.record.recipe.modalities if name not in wanted),
    )
    state = "" if run.is_complete else " It was cut short."
    words = f"Reopened {run.record.case}: {len(run.members)} members.{state}"
    return ReopenedRun(
        started=run.started,
        expected=run.expected,
        sampled=run.sampled,
        edited=tuple(read_edited(run.folder, run.grid.shape)),
        ending=Ending.DONE if run.is_complete else Ending.CANCELLED,
        plan=plan,
        missing=missing,
        words=" ".join([words, *run.notes, *notes]),
    )


def _request(run: StoredRun) -> SegmentRequest:
    """The settings of the run; of one that a newer version made, what can be told from its files."""
    try:
        return make_request({**run.record.request})
    except DiffsegError:
        first = min(run.members)
        return SegmentRequest(members=max(run.members) + 1 - first, first_member=first)


def _find_images(run: StoredRun, origin: RunOrigin) -> tuple[dict[str, LayerData], list[str]]:
    """Layers of the run's images by modality, and what is said of those that are not there any more, or others now."""
    from napari_diffseg.imaging.names.naming import modality_of, shown_name
    from napari_diffseg.plugin.files.reader import read_layers

    by_content: dict[str, LayerData] = {}
    notes = []
    for path in dict.fromkeys(image.path for image in origin.images.values()):
        try:
            layers = read_layers(str(path))
        except (DiffsegError, OSError) as err:
            notes.append(str(err) if isinstance(err, DiffsegError) else f"{shown_name(path)} cannot be read.")
            continue
        by_content.update({content_digest(volume_of(layer)): layer for layer in layers})
    by_content |= _as_resampled(by_content, origin)
    found: dict[str, LayerData] = {}
    for name, image in origin.images.items():
        if image.content in by_content:
            data, attributes, kind = by_content[image.content]
            if modality_of(attributes["name"]) != name:  # a channel of a 4-D file does not say what it is
                attributes = {**attributes, "name": f"{run.record.case} {name}"}
            found[name] = (data, {**attributes, "visible": False}, kind)
        elif not notes:
            notes.append(f"{shown_name(image.path)} is not what it was when the run was made.")
    if not origin.images:
        notes.append("Its images are not known here: open them to see it on them.")
    if found:
        next(reversed(found.values()))[1]["visible"] = True
    return found, notes


def _as_resampled(read: Mapping[str, LayerData], origin: RunOrigin) -> dict[str, LayerData]:
    """Layers of images that the run took resampled, by their content: on the grid of one that it took as it is."""
    from napari_diffseg.imaging.geometry.resampling import resample_image
    from napari_diffseg.plugin.files.reader import image_layer

    as_they_are = {name: read[image.content] for name, image in origin.images.items() if image.content in read}
    wanted = {image.content for image in origin.images.values()} - read.keys()
    if not as_they_are or not wanted:
        return {}
    reference, grid = next((name, volume_of(layer)) for name, layer in as_they_are.items())
    found = {}
    for layer in read.values():
        try:
            moved = resample_image(volume_of(layer), grid, reference)
        except BadCase:
            continue
        if (content := content_digest(moved)) in wanted:
            found[content] = image_layer(moved, f"{layer[1]['name']} resampled")
    return found


def volume_of(layer: LayerData) -> Volume:
    """The volume behind a layer that our reader has made."""
    attributes: dict[str, Any] = layer[1]
    volume: Volume = attributes["metadata"][METADATA_KEY].volume
    return volume
