"""One process of `memory.py`: runs an ensemble and prints its peak memory in MiB as JSON.

`memory_process.py write FOLDER SHAPE`, then `memory_process.py files|viewer MEMBERS CASE RUN_FOLDER CHECKPOINT DEVICE`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import psutil

from napari_diffseg.events import Expected, Finished, Refined, Sampled, SegmentRequest, Started, Stepped
from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_diffseg.events import Focus, SamplingEvent, Segmenter
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.plugin.layers.result_layers import ResultLayers

Shape = tuple[int, int, int]

_SIZE_MM = (240.0, 240.0, 155.0)


def main() -> None:
    """Do what is asked for and print what it took."""
    way, *arguments = sys.argv[1:]
    if way == "write":
        x, y, z = (int(n) for n in arguments[1].split(","))
        print(json.dumps(_write(Path(arguments[0]), (x, y, z))))
        return
    members, case, folder, checkpoint, device = arguments
    request = SegmentRequest(members=int(members), timesteps=1, device=device)
    print(json.dumps(_measured(way, request, Path(case), Path(folder), checkpoint)))


def _write(folder: Path, shape: Shape) -> dict[str, list[int]]:
    """A phantom, and a small one for warming up, as files."""
    from napari_diffseg.synthesis.write import write_case

    sizes: dict[str, Shape] = {"small": (60, 60, 39), "large": shape}
    for name, size in sizes.items():
        x, y, z = (mm / n for mm, n in zip(_SIZE_MM, size, strict=True))
        settings = PhantomSettings(seed=920_000, shape=size, spacing_mm=(x, y, z), readers=1)
        write_case(make_phantom(settings), folder / name, case_id=name)
    return {"written": list(shape)}


def _measured(way: str, request: SegmentRequest, case: Path, folder: Path, checkpoint: str) -> dict[str, float]:
    from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
    from napari_diffseg.imaging.case import read_case
    from napari_diffseg.runs.keep import keep_run
    from napari_diffseg.runs.run_folder import RunFolder
    from napari_diffseg.segmenting.segmenter import LocalSegmenter

    screen = _Screen() if way == "viewer" else None
    loaded = load_checkpoint(resolve_checkpoint(checkpoint))
    engine = LocalSegmenter(loaded, preview_interval_s=0)
    small = read_case(case / "small")
    middle = small.shape[2] // 2
    one = request.model_copy(update={"members": 1, "slices": f"{middle}:{middle + 1}"})
    assert list(engine.segment(small, one))  # the network is on the device, and warm
    before, peak_before = psutil.Process().memory_info().rss, _peak()
    began = time.monotonic()
    large = read_case(case / "large")
    with closing(keep_run(Repeated(engine), RunFolder(folder, large, loaded, request))) as events:
        for event in events:
            if screen is not None:
                screen.take(event, large)
    if screen is not None:
        screen.end()
    peak = _peak()
    return {
        "loaded_mib": before >> 20,
        "above_loaded_mib": (peak - before) >> 20,
        "peak_grew": peak > peak_before,  # otherwise the peak is that of loading, and says nothing
        "seconds": round(time.monotonic() - began, 1),
    } | _on_device()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _on_device() -> dict[str, float]:
    import torch

    return {"device_mib": torch.cuda.max_memory_reserved() >> 20} if torch.cuda.is_available() else {}


@dataclass(frozen=True)
class Repeated:
    """Samples the first member and gives it out, shifted by up to six voxels, as all others."""

    segmenter: Segmenter

    def segment(self, case: Case, request: SegmentRequest, *, focus: Focus | None = None) -> Iterator[SamplingEvent]:
        """As an engine does."""
        first: list[Sampled] = []
        finished: Finished | None = None
        one = request.model_copy(update={"members": 1})
        with closing(cast("Generator[SamplingEvent]", self.segmenter.segment(case, one, focus=focus))) as events:
            for event in events:
                match event:
                    case Started():
                        yield replace(event, members=request.member_numbers)
                    case Sampled():
                        first.append(event)
                        yield event
                    case Finished():
                        finished = event
                    case _:
                        yield event
        assert finished is not None  # the protocol's last event
        for k in request.member_numbers[1:]:
            for event in first:
                yield replace(event, member=k, mask=np.roll(event.mask, k % 7, axis=-1))
        yield replace(finished, members=request.member_numbers)


class _Screen:
    """The result layers of the panel in a viewer without a window."""

    def __init__(self) -> None:
        from napari.components import ViewerModel

        from napari_diffseg.plugin.layers.result_layers import ResultLayers

        self._results: ResultLayers = ResultLayers(ViewerModel())

    def take(self, event: SamplingEvent, case: Case) -> None:
        """Show an event."""
        from napari_diffseg.plugin.grid.frame import Frame
        from napari_diffseg.plugin.session.run_result import RunResult

        result = self._results.result
        match event:
            case Started():
                self._results.show(RunResult(1, event, Frame.of_volume(case.grid_volume)))
            case Expected() | Refined() if result is not None:
                result.expect(event)
                self._results.show_expected(event)
            case Sampled() if result is not None:
                result.add([event])
                self._results.show_sampled([event])
                self._catch_up()
            case Stepped():
                self._results.show_preview(event)

    def _catch_up(self) -> None:
        """What a window does turn by turn."""
        while self._results.is_behind:
            self._results.catch_up(1.0)

    def end(self) -> None:
        """The run is over: everything is drawn once more, and measured."""
        from napari_diffseg.ensemble.findings import measure

        self._results.end()
        self._catch_up()
        view = self._results.view
        assert view is not None  # the run has started
        assert measure(view.ensemble.whole_members(), voxel_mm3=view.voxel_mm3).volumes.mean_ml > 0


if __name__ == "__main__":
    main()
