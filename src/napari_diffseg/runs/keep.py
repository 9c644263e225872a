"""Yields the events of a run once its results are on disk."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_diffseg.errors import BadRequest, Remedy
from napari_diffseg.events import Expected, Finished, Refined, Sampled, Started
from napari_diffseg.imaging.folder_lock import alone_in

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_diffseg.events import Focus, SamplingEvent, Segmenter, SegmentRequest
    from napari_diffseg.runs.run_folder import RunFolder
    from napari_diffseg.runs.run_writer import RunWriter


def keep_run(
    segmenter: Segmenter,
    folder: RunFolder,
    *,
    overwrite: bool = False,
    resume: bool = False,
    focus: Focus | None = None,
) -> Generator[SamplingEvent]:
    """The events of `segmenter` for the folder's case and request, each passed on after its results are written.

    When the iterator is closed early, or the run fails, the finished members stay, the maps of what there is are
    written, and `run.json` says that the run was cut short.

    Parameters
    ----------
    segmenter : Segmenter
        The engine.
    folder : RunFolder
        Where results go; it names case and request.
    overwrite : bool
        Whether results that are there may be replaced; they are removed when the new run has started.
    resume : bool
        Whether members that are there are taken over, all of them, and only the others sampled; without results it
        begins anew.
    focus : callable, optional
        The slice that is looked at, for the segmenter.

    Raises
    ------
    OutputExists, OutputFailed
        If the folder holds results already, or cannot be written.
    BadRequest
        If all members to resume are there, or what is there was made with other settings or of other images, or
        another run is going on there.
    DiffsegError
        Whatever the engine raises.
    """
    folder.check(overwrite=overwrite or resume)
    resume = resume and folder.has_results()
    folder = folder.with_all_there() if resume else folder
    request = _remaining(folder) if resume else folder.request
    source = (
        _nothing_left(segmenter, folder) if request is None else segmenter.segment(folder.case, request, focus=focus)
    )
    events = iter(source)
    started = next(events)
    assert isinstance(started, Started)  # the protocol's first event
    with alone_in(folder.folder, what="run"):
        writer = _begun(folder, started, overwrite=overwrite, resume=resume, request=request)
        yield from _kept(started, events, writer)


def _kept(started: Started, events: Iterator[SamplingEvent], writer: RunWriter) -> Iterator[SamplingEvent]:
    """The events, each once its results are written; one that ends early leaves the maps of what there is."""
    finished = False
    try:
        yield started
        for event in events:
            match event:
                case Expected() | Refined():
                    writer.keep_expected(event)
                case Sampled():
                    writer.keep(event)
                case Finished():
                    finished = True
                    writer.finish(event)
            yield event
    finally:
        if not finished and writer.is_mine():
            writer.finish(None)


def _begun(
    folder: RunFolder, started: Started, *, overwrite: bool, resume: bool, request: SegmentRequest | None
) -> RunWriter:
    """Begin or take up the run, unless another one has been there since the folder was looked at."""
    folder.check_results(overwrite=overwrite or resume)
    if not resume:
        return folder.begin(started)
    if _remaining(folder) != request:
        raise BadRequest(f"Another run has changed {folder.folder} in the meantime: resume again.")
    return folder.resume(started)


def _remaining(folder: RunFolder) -> SegmentRequest | None:
    """The folder's request without the members that are on disk; None if only the maps are to be made, or anew."""
    folder.check_same_run()
    done = len(folder.finished_members())
    request = folder.request
    if done == request.members:
        if not folder.is_complete():
            return None
        raise BadRequest(
            f"{folder.folder} has all {done} members already: ask for more members, or allow overwriting.",
            Remedy("members"),
            Remedy("overwrite"),
        )
    return request.model_copy(update={"first_member": request.first_member + done, "members": request.members - done})


def _nothing_left(segmenter: Segmenter, folder: RunFolder) -> Iterator[SamplingEvent]:
    """The events of a run all of whose members are on disk, so that only its maps are made."""
    started = next(iter(segmenter.segment(folder.case, folder.request)))
    assert isinstance(started, Started)  # the protocol's first event
    yield replace(started, evaluations=0)
    yield Finished(started.run_id, started.members, seconds=0.0, batch_size=0)
