"""The one-step estimate of a run: what the first evaluations of its first members predict."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_diffseg.ensemble.window import confine
from napari_diffseg.events import Expected
from napari_diffseg.segmenting.chain import begun
from napari_diffseg.segmenting.device.prepare import for_few_rows
from napari_diffseg.segmenting.early_stop import EMPTY_BELOW, expects_early
from napari_diffseg.segmenting.refining import Refining
from napari_diffseg.segmenting.rows import Row
from napari_diffseg.segmenting.second_plane import SecondPlane

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    import numpy.typing as npt

    from napari_diffseg.diffusion.step import Step
    from napari_diffseg.events import Refined
    from napari_diffseg.segmenting.decoding import Decoder
    from napari_diffseg.segmenting.rows import Batch
    from napari_diffseg.segmenting.run import Run

    Float = npt.NDArray[np.float32]


class OneStepEstimate:
    """The estimate that a run gives of its slices; none where the checkpoint predicts epsilon.

    It is of the run's first member. Where members are mirrored, or sampled in a second plane, it is the mean with what
    the member after it expects, which sees the other view.

    Parameters
    ----------
    run : Run
        The run.
    decoder, across : Decoder or None
        Of the run's slices, and of those of its second plane, where it has one.

    Attributes
    ----------
    first : dict of Row to Tensor, (M or 2 M, rows, columns)
        First evaluations of rows that are still to come, as the network gave them. On a processor, where an evaluation
        is the same in any batch, they need not be made again.
    """

    def __init__(self, run: Run, decoder: Decoder, across: Decoder | None) -> None:
        self._run, self._decoder, self._across = run, decoder, across
        self._alone = replace(run, network=for_few_rows(run.network))
        self._is_given = False
        self._refining = Refining(run)
        self.first: dict[Row, torch.Tensor] = {}

    def of(self, batch: Batch, first: Step) -> Iterator[Expected | Refined]:
        """The estimate of those slices whose first step a batch has made; the device begins with it now."""
        run = self._run
        index = [i for i, row in enumerate(batch) if row.member == run.expecting]
        if not index or not expects_early(run.recipe):
            return iter(())
        x0 = first.x0[index]
        if run.recipe.mirror:
            x0 = self._of_both_views(tuple(batch[i] for i in index), x0)
        slices = tuple(batch[i].slice_index for i in index)
        return self._expected(slices, self._decoder.probability(x0, slices))

    def in_both_planes(self, rows_at_once: int) -> Iterator[Expected | Refined | int]:
        """The estimate of all slices, once; as it takes a while, how many slices it has behind it come before."""
        run = self._run
        if self._is_given or run.expecting is None or not expects_early(run.recipe):
            return
        assert run.across is not None
        assert self._across is not None
        sampled, across = run.conditioning.sampled, run.across.conditioning.sampled
        rows = [Row(run.expecting, s) for s in sampled]
        others = [Row(run.expecting + 1, s, across=True) for s in across]
        own = yield from self._evaluated(rows, self._decoder, rows_at_once, before=0)
        other = yield from self._evaluated(others, self._across, rows_at_once, before=len(rows))
        own += SecondPlane(run.across.conditioning, run.conditioning).brought_over(other)
        self._is_given = True
        yield from self._told(sampled, own / np.float32(2))

    def _evaluated(
        self, rows: Sequence[Row], decoder: Decoder, at_once: int, *, before: int
    ) -> Generator[int, None, Float]:
        """What the first evaluations of rows of one plane predict, as probabilities (labels, S, U, V).

        Yields how many rows are done, those that were done `before` among them.
        """
        found = []
        for start in range(0, len(rows), at_once):
            some = tuple(rows[start : start + at_once])
            found.append(decoder.probability(self._first_x0(some), [row.slice_index for row in some])())
            yield before + start + len(some)
        return np.concatenate(found, axis=1)

    def _of_both_views(self, rows: Batch, x0: torch.Tensor) -> torch.Tensor:
        """The mean of what a member's first evaluations predict, and the next member's, which sees the mirror image.

        `x0` is (B, labels, rows, columns), on the device. Slices where no lesion is expected stay as they are.
        """
        low, high = self._run.recipe.mask_low, self._run.recipe.mask_high
        likely = (x0 > low + EMPTY_BELOW * (high - low)).flatten(1).any(dim=1).nonzero()[:, 0]
        if not len(likely):
            return x0
        other = self._first_x0(tuple(rows[i]._replace(member=rows[i].member + 1) for i in likely.tolist()))
        with torch.inference_mode():
            return x0.index_copy(0, likely, (x0[likely] + other) / 2)

    def _first_x0(self, rows: Batch) -> torch.Tensor:
        """What the first evaluations of rows predict, (B, labels, rows, columns), on the device."""
        run = self._run
        with torch.inference_mode():
            going = begun(self._alone, rows, self.first)
            x0 = going.mirroring(next(going.steps).x0)
        if run.device.type == "cpu" and rows[0].member in run.request.member_numbers:
            assert going.denoiser.last is not None  # the step was one call
            self.first.update(zip(rows, going.denoiser.last, strict=True))
        return x0

    def _expected(self, slices: tuple[int, ...], wait: Callable[[], Float]) -> Iterator[Expected | Refined]:
        yield from self._told(slices, wait())

    def _told(self, slices: tuple[int, ...], probability: Float) -> Iterator[Expected | Refined]:
        """The estimate of some slices, and, once it is there of all, all of it as it is refined."""
        expected = Expected(self._run.id, slices, confine(probability, self._run.window))
        yield expected
        yield from self._refining.after(expected)
