"""Colours of the results: maps that leave the image in sight, masks that are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_diffseg.appearance import (
    LABEL_COLORS,
    MAP_OPACITY,
    MEAN_COLORMAP,
    UNCERTAINTY_COLORMAP,
    clear_at_zero,
    region_colors,
)
from napari_diffseg.ensemble.summary import Measure
from napari_diffseg.regions import part_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.regions import Region

_OPAQUE_FROM: Final = 0.2
"""Size of a difference from which its colours cover the image."""

_SAMPLE_LIMITS: Final = (-2.5, 2.5)
"""Pure noise has a deviation of 1, and a mask's values are at most 1 from zero."""


def map_style(colormap: str, highest: float, *, visible: bool) -> dict[str, Any]:
    """A map that is clear where it is zero, so that the image below stays as it is."""
    from napari.utils.colormaps import Colormap, ensure_colormap

    colors = clear_at_zero(ensure_colormap(colormap).map(np.linspace(0, 1, 256)))
    return {
        "colormap": Colormap(colors, name=f"{colormap}, clear at 0"),
        "contrast_limits": (0.0, highest),
        "blending": "translucent_no_depth",
        "opacity": MAP_OPACITY,
        "visible": visible,
    }


def mean_names(prefix: str, labels: Sequence[str]) -> list[str]:
    """Names of the layers of the mean, one a label."""
    return [f"{prefix} | mean{tag}" for tag in _tags(labels)]


def probability_names(prefix: str, labels: Sequence[str]) -> list[str]:
    """Names of the layers of the smoothed probability, one a label."""
    return [f"{prefix} | probability{tag}" for tag in _tags(labels)]


def uncertainty_names(prefix: str, labels: Sequence[str], measure: Measure) -> list[str]:
    """Names of the uncertainty layers; the variance, which is also what is written to disk, needs no addition."""
    words = ", ".join(word for word in (measure.title, measure.unit) if word)
    tail = "" if measure is Measure.VARIANCE else f" ({words})"
    return [f"{prefix} | uncertainty{tag}{tail}" for tag in _tags(labels)]


def _tags(labels: Sequence[str]) -> list[str]:
    """What tells the layers of several labels apart; nothing where there is one."""
    return [f" {label}" for label in labels] if len(labels) > 1 else [""]


def mean_style() -> dict[str, Any]:
    """How the mean, 0 to 1, is drawn."""
    return map_style(MEAN_COLORMAP, 1.0, visible=False)


def uncertainty_style(highest: float) -> dict[str, Any]:
    """How the uncertainty, 0 to `highest`, is drawn."""
    return map_style(UNCERTAINTY_COLORMAP, highest, visible=True)


def live_style() -> dict[str, Any]:
    """How the slice under way is drawn."""
    return map_style("cyan", 1.0, visible=True) | {"opacity": 0.6}


def sample_style() -> dict[str, Any]:
    """How the noisy sample is drawn: grey from well below to well above a mask's own values."""
    return {
        "colormap": "gray",
        "contrast_limits": _SAMPLE_LIMITS,
        "blending": "translucent_no_depth",
        "opacity": 0.85,
        "visible": True,
    }


def colors_of(regions: Sequence[Region]) -> tuple[str, ...]:
    """Colour of each mask channel; of a brain tumour's regions as viewers of BraTS have them."""
    return region_colors([part_named(region.name) for region in regions])


def label_colors(regions: Sequence[Region] = (), *, first: str = "") -> Any:
    """Colours of the masks of labels 1, 2, 3 ..., which are of some regions; the first one's as is said."""
    from napari.utils.colormaps import direct_colormap

    names = (*colors_of(regions), *LABEL_COLORS[len(regions) :])
    names = (first or names[0], *names[1:])
    colors: dict[int | None, str] = {n: names[(n - 1) % len(names)] for n in range(1, 17)}
    colors[None] = colors[0] = "transparent"
    return direct_colormap(colors)


def decided_style(steps: int) -> dict[str, Any]:
    """How the step at which a pixel was decided, 1 to `steps`, is drawn; clear where it is NaN."""
    from napari.utils.colormaps import Colormap, ensure_colormap

    colors = np.array(ensure_colormap("viridis").map(np.linspace(0, 1, 256)))
    return {
        "colormap": Colormap(colors, name="viridis, clear at NaN", nan_color=(0.0, 0.0, 0.0, 0.0)),
        "contrast_limits": (1.0, float(max(steps, 2))),
        "blending": "translucent_no_depth",
        "opacity": 0.85,
        "interpolation2d": "nearest",
    }


def difference_style() -> dict[str, Any]:
    """How a difference from -1 to 1 is drawn: blue below 0, orange above, clear at 0."""
    from napari.utils.colormaps import Colormap

    values = np.linspace(-1, 1, 257)
    colors = np.where(values[:, None] < 0, (0.25, 0.63, 1.0, 0.0), (1.0, 0.57, 0.0, 0.0))
    colors[:, 3] = np.clip(np.abs(values) / (2 * _OPAQUE_FROM), 0, 1)
    colors[:, :3] *= 0.55 + 0.45 * np.abs(values)[:, None]
    return {
        "colormap": Colormap(colors, name="blue to orange, clear at 0"),
        "contrast_limits": (-1.0, 1.0),
        "blending": "translucent_no_depth",
        "opacity": 0.9,
        "interpolation2d": "nearest",
    }
