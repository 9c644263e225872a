"""Pictures of a run: its slices with what the members agree on, and how the volume spreads."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font, get_font_names
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from napari_diffseg.appearance import AGREEMENT, MASK_COLOR
from napari_diffseg.ensemble.volumes import interval_title
from napari_diffseg.evaluation.report.figures import new_figure, svg_address, uncertainty_colors, write_sides

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from napari_diffseg.ensemble.convergence import Convergence
    from napari_diffseg.ensemble.volumes import Volumes
    from napari_diffseg.reporting.sheet import Sheet, SliceView

_PANEL_INCHES = 3.4
_DPI = 130
_LINE, _FAINT = "#0072b2", "#b0b0b0"
_DARK = 0.25
_EAST_ASIAN: Final = (
    *(f"Noto Sans CJK {place}" for place in ("KR", "JP", "SC", "TC")),
    *("Malgun Gothic", "Apple SD Gothic Neo", "Hiragino Sans", "Yu Gothic", "PingFang SC", "Microsoft YaHei"),
)
"""Fonts of the systems that people use; matplotlib's own has no letters of China, Japan and Korea."""


def slice_picture(sheet: Sheet, view: SliceView) -> bytes:
    """A slice as PNG: the image with the mask, with the outlines of agreement, and with the uncertainty.

    Parameters
    ----------
    sheet : Sheet
        The run.
    view : SliceView
        One of its slices.
    """
    content = io.BytesIO()
    slice_figure(sheet, view).savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def slice_figure(sheet: Sheet, view: SliceView) -> Figure:
    """The figure of `slice_picture`, its three panels in their order.

    Where there is no image, the mean that stands for it is dark behind the uncertainty: what the members agree on would
    look like more than the top of the scale.
    """
    height, width = view.mean.shape
    tall = _PANEL_INCHES * min(max(height * sheet.aspect / width, 0.4), 2.0)
    figure = Figure(figsize=(3 * _PANEL_INCHES, tall + 0.5), dpi=_DPI, layout="constrained", facecolor="black")
    masked, agreed, doubted = figure.subplots(1, 3)
    count = len(sheet.findings.volumes.by_member)
    by_rule = f"{sheet.summary.words}, {count} members"
    shown = by_rule if sheet.correction is None else f"edited by hand\n(dotted: {by_rule})"
    _ground(masked, view, sheet, title=f"Slice {view.index}: {shown}")
    _masks(masked, view, sheet)
    _ground(agreed, view, sheet, title="Outlines of 5, 50, 95 % agreement")
    for share, colour in AGREEMENT.items():
        _outline(agreed, view.mean, share, colour)
    title = f"Uncertainty: {sheet.summary.measure.title}"
    _ground(doubted, view, sheet, title=title, brightest=1 if sheet.image else _DARK)
    drawn = doubted.imshow(view.uncertainty, cmap=uncertainty_colors(), vmin=0, vmax=sheet.largest, aspect=sheet.aspect)
    bar = figure.colorbar(drawn, ax=doubted, shrink=0.8, label=sheet.summary.measure.unit)
    bar.ax.set_facecolor("black")  # below what is clear
    bar.ax.tick_params(colors="white", labelsize=8)
    bar.ax.yaxis.label.set_color("white")
    return figure


def volume_figure(volumes: Volumes) -> str:
    """The volume of each member, the smallest first, with their mean and where they lie; the address of an <img>."""
    figure, axes = new_figure("Members, by volume", "Lesion volume (ml)")
    values = sorted(volumes.by_member.values())
    axes.bar(range(1, len(values) + 1), values, color=_FAINT, label="members")
    axes.axhline(volumes.mean_ml, color=_LINE, label="mean")
    if spread := interval_title(len(values)):
        axes.axhspan(*volumes.interval_ml, color=_LINE, alpha=0.15, label=spread)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("Volume by member")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="lower right")
    return svg_address(figure)


def convergence_figure(convergence: Convergence) -> str:
    """How the majority settled as members came; the address of an <img>."""
    figure, axes = new_figure("Members", "Dice with the majority of one more")
    axes.plot(range(1, len(convergence.dice) + 1), convergence.dice, color=_LINE, marker="o", markersize=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title="How the majority settles", ylim=(-0.02, 1.02))
    return svg_address(figure)


def _ground(axes: Axes, view: SliceView, sheet: Sheet, *, title: str, brightest: float = 1) -> None:
    axes.set_axis_off()
    write_sides(axes, sheet.sides)
    axes.set_title(title, color="white", fontsize=9)
    axes.imshow(view.background, cmap="gray", vmin=0, vmax=1 / brightest, aspect=sheet.aspect)


def _masks(axes: Axes, view: SliceView, sheet: Sheet) -> None:
    """Outlines of each label: of the mask; of a correction, where there is one, with the mask dotted below it."""
    for n, label in enumerate(sheet.labels):
        if view.edited is not None:
            below = label.color if sheet.labels[1:] else MASK_COLOR
            _outline(axes, view.masks[n].astype(np.float32), 0.5, below, style="dotted")
        _outline(axes, (view.masks if view.edited is None else view.edited)[n].astype(np.float32), 0.5, label.color)
    if sheet.labels[1:]:
        drawn = [
            Line2D([], [], color=label.color, label=label.name if _can_be_drawn(label.name) else f"label {n}")
            for n, label in enumerate(sheet.labels, start=1)
        ]
        font = {"family": _families(), "size": 7}
        axes.legend(handles=drawn, loc="lower left", prop=font, framealpha=0.5, facecolor="black", labelcolor="white")


@cache
def _families() -> list[str]:
    """Fonts that are there, in the order in which a letter is looked for."""
    there = set(get_font_names())
    return [*rcParams["font.family"], *(name for name in _EAST_ASIAN if name in there)]


def _can_be_drawn(text: str) -> bool:
    """Whether each letter is in one of the fonts: matplotlib draws a box for one that is in none."""
    fonts = [get_font(findfont(FontProperties(family=[family]))) for family in _families()]
    return all(any(font.get_char_index(ord(letter)) for font in fonts) for letter in text)


def _outline(axes: Axes, values: np.ndarray, level: float, colour: str, *, style: str = "solid") -> None:
    if values.min() < level < values.max():
        axes.contour(values, levels=[level], colors=[colour], linewidths=1.0, linestyles=[style])
