"""The report's pictures, as text that can stand in a page: no file beside it, no script, no window."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from napari_diffseg.appearance import MAP_OPACITY, MASK_COLOR, UNCERTAINTY_COLORMAP, clear_at_zero

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes

    from napari_diffseg.evaluation.cases.by_steps import StepsScores
    from napari_diffseg.evaluation.metrics.calibration import Reliability
    from napari_diffseg.evaluation.metrics.error_detection import RiskCoverage
    from napari_diffseg.evaluation.report.snapshot import Snapshot

PREDICTION_COLOUR: Final = MASK_COLOR
TRUTH_COLOUR: Final = "#ff80ab"
_LINE = "#0072b2"
_FAINT = "#b0b0b0"
_SIZE = (4.4, 3.6)
_LARGEST_UNCERTAINTY = 0.5
_LINEAR_BELOW = 1e-3


def reliability_figure(curve: Reliability, *, of: str = "members' mean") -> str:
    """Observed share of lesion against the predicted probability; the size of a dot grows with the bin's voxels.

    Returns
    -------
    str
        A data address (SVG) for an <img>; so for all figures here.
    """
    figure, axes = new_figure(f"Predicted ({of})", "Observed")
    axes.plot([0, 1], [0, 1], color=_FAINT, linestyle="--", label="perfect calibration")
    points = [(p, y, n) for p, y, n in zip(curve.confidence, curve.frequency, curve.count, strict=True) if n]
    if points:
        p, y, n = zip(*points, strict=True)
        axes.plot(p, y, color=_LINE)
        axes.scatter(p, y, s=[10 + 80 * (k / max(n)) ** 0.25 for k in n], color=_LINE, label="bins")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title=f"Reliability: ECE {curve.ece:.4f}")
    axes.legend(frameon=False)
    return svg_address(figure)


def members_figure(curves: Sequence[Sequence[float]]) -> str:
    """Dice against the number of members: each case, and the mean over the cases that have so many."""
    figure, axes = new_figure("Members", "Dice")
    for curve in curves:
        axes.plot(range(1, len(curve) + 1), curve, color=_FAINT, linewidth=0.8)
    longest = max(len(curve) for curve in curves)
    columns = [[c[k] for c in curves if len(c) > k] for k in range(longest)]
    axes.plot(
        range(1, longest + 1), [sum(c) / len(c) for c in columns], color=_LINE, marker="o", markersize=4, label="mean"
    )
    axes.set(ylim=(-0.02, 1.02), title="Dice by number of members")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return svg_address(figure)


def steps_figure(points: Sequence[StepsScores]) -> str:
    """Dice against denoising steps: each case, and the mean over them, one line a sampler."""
    figure, axes = new_figure("Denoising steps", "Dice")
    for marker, sampler in zip("osd^v", dict.fromkeys(p.sampler for p in points), strict=False):
        mine = [p for p in points if p.sampler == sampler]
        steps = [p.timesteps for p in mine]
        axes.plot(steps, [p.dice for p in mine], color=_FAINT, linewidth=0.8)
        axes.plot(steps, [p.mean_dice for p in mine], marker=marker, markersize=5, label=f"{sampler or 'run'}, mean")
    axes.set_xscale("log")
    every = sorted({p.timesteps for p in points})
    axes.set_xticks(every, [str(n) for n in every])
    axes.minorticks_off()
    axes.set(ylim=(-0.02, 1.02), title="Dice by number of steps")
    axes.legend(frameon=False)
    return svg_address(figure)


def risk_figure(curve: RiskCoverage, *, title: str, kept: str, risk: str) -> str:
    """Mean risk of what is kept against the share that is kept."""
    figure, axes = new_figure(f"Share of the {kept} kept, the most certain first", risk)
    axes.plot(curve.coverage, curve.risk, color=_LINE, marker="o" if len(curve.coverage) <= 30 else None, markersize=4)
    axes.set(xlim=(0, 1.02), title=f"{title}: AURC {curve.aurc:.4f}")
    axes.set_ylim(bottom=0)
    return svg_address(figure)


def voxel_risk_figure(curves: Sequence[RiskCoverage]) -> str:
    """Share of wrong voxels among those kept against the share set aside, one line a case.

    Most of a brain is certain, so all that matters happens in the first hundredths: the scale is logarithmic there.
    """
    figure, axes = new_figure("Share set aside, the most uncertain first", "Share of wrong voxels among the others")
    for curve in curves:
        aside = [1 - c for c in curve.coverage]
        axes.plot(aside, curve.risk, color=_LINE if len(curves) == 1 else _FAINT, linewidth=1)
    mean = sum(c.aurc for c in curves) / len(curves)
    axes.set_xscale("symlog", linthresh=_LINEAR_BELOW)
    axes.set(xlim=(0, 1), title=f"Voxels by uncertainty: mean AURC {mean:.3g}")
    axes.set_ylim(bottom=0)
    return svg_address(figure)


def snapshot_figure(snapshot: Snapshot) -> str:
    """The slice with both outlines and, beside it, its uncertainty with the truth's, on one scale for all cases."""
    panels = 1 if snapshot.uncertainty is None else 2
    figure = Figure(figsize=(2.6 * panels, 2.6), dpi=110, layout="constrained", facecolor="black")
    first, *second = figure.subplots(1, panels, squeeze=False)[0]
    _outline(first, snapshot.truth, TRUTH_COLOUR)
    _outline(first, snapshot.mask, PREDICTION_COLOUR)
    for axes in (first, *second):
        axes.set_axis_off()
        write_sides(axes, snapshot.sides)
        axes.imshow(snapshot.background, cmap="gray", vmin=0, vmax=1, aspect=snapshot.aspect)
    for axes in second:
        _outline(axes, snapshot.truth, TRUTH_COLOUR)
        colors, top = uncertainty_colors(), _LARGEST_UNCERTAINTY
        axes.imshow(snapshot.uncertainty, cmap=colors, vmin=0, vmax=top, aspect=snapshot.aspect)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return data_address("image/png", content.getvalue())


def _outline(axes: Axes, mask: npt.NDArray[np.bool_], colour: str) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=0.9)


def uncertainty_colors() -> ListedColormap:
    """Colours of an uncertainty from 0 on, as the panel draws them: clear at 0, so that the image stays in sight."""
    table = clear_at_zero(colormaps[UNCERTAINTY_COLORMAP](np.linspace(0, 1, 256)))
    table[:, 3] *= MAP_OPACITY
    return ListedColormap(table)


def write_sides(axes: Axes, sides: tuple[str, str]) -> None:
    """Write the patient's sides at the left and the right edge of an image; nothing where they are empty."""
    for x, text, align in zip((0.02, 0.98), sides, ("left", "right"), strict=True):
        axes.text(
            x, 0.5, text, transform=axes.transAxes, ha=align, va="center", color="white", fontsize=9, fontweight="bold"
        )


def new_figure(x: str, y: str) -> tuple[Figure, Axes]:
    """A figure of the size that all have, and its axes with what they show."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y)
    axes.grid(visible=True, alpha=0.3)
    return figure, axes


def svg_address(figure: Figure) -> str:
    """The figure as SVG for an <img>; the same figure gives the same text."""
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "napari-diffseg"}):
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return data_address("image/svg+xml", content.getvalue())


def data_address(kind: str, content: bytes) -> str:
    """Content of a media type as the address of an <img>."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
