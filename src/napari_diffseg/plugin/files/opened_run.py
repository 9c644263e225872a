"""The layers of a run that is opened as a file is: by drop, or from the File menu."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_diffseg.runs.layout import RunFiles

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from napari_diffseg.plugin.grid.layer_data import LayerData


def looks_like_run(folder: Path) -> bool:
    """Whether a folder has a run's record and members; opens no file."""
    files = RunFiles(folder)
    return files.record.is_file() and files.member_folder.is_dir()


def run_layers(folder: Path) -> list[LayerData]:
    """The maps, the mask and, out of sight, the members of a kept run, on the voxels of their files.

    The mask is made by the run's own rule; there is a smoothed probability where the run smooths.

    Raises
    ------
    BadCase
        If the folder holds no run that can be read.
    """
    import numpy as np

    from napari_diffseg.ensemble.summary import MAJORITY, Measure, Rule, Summary
    from napari_diffseg.plugin.canvas.result_style import label_colors, mean_style, uncertainty_style
    from napari_diffseg.plugin.files.member_planes import MEMBERS_KEY
    from napari_diffseg.plugin.grid.frame import METADATA_KEY, RESULT_KEY, Frame, with_member_axis
    from napari_diffseg.regions import number_channels
    from napari_diffseg.runs.stored_run import read_run

    run = read_run(folder)
    regions = run.record.recipe.regions
    frame, ensemble = Frame.of_volume(run.grid), run.ensemble()
    place = {**frame.layer_attributes(), "metadata": {METADATA_KEY: frame, RESULT_KEY: run.record.case}}

    def layer(name: str, array: npt.NDArray[Any], style: dict[str, Any], kind: str) -> LayerData:
        attributes = with_member_axis(place) if array.ndim == 4 else place
        return frame.to_display(array), {**attributes, **style, "name": f"{run.record.case} | {name}"}, kind

    tags = [f" {label}" if len(run.labels) > 1 else "" for label in run.labels]
    maps = [layer(f"mean{tag}", m, mean_style(), "image") for tag, m in zip(tags, ensemble.mean(), strict=True)]
    if ensemble.count >= 2:
        style = uncertainty_style(Measure.VARIANCE.largest)
        variance = np.nan_to_num(ensemble.variance(), nan=0.0)
        maps += [layer(f"uncertainty{tag}", v, style, "image") for tag, v in zip(tags, variance, strict=True)]
    drawn = ensemble.consensus().astype(np.bool_)
    if not ensemble.smoothing.is_none:
        probability = ensemble.probability()
        maps += [layer(f"probability{tag}", p, mean_style(), "image") for tag, p in zip(tags, probability, strict=True)]
        if Summary().of_run(run.started).rule is Rule.PROBABILITY:
            drawn = probability > MAJORITY
    colors = {"colormap": label_colors(regions)}
    mask = layer("mask", number_channels(drawn, regions), colors, "labels")
    members = np.stack([number_channels(member, regions) for member in run.members.values()])
    told = {**colors, "visible": False, "metadata": {**place["metadata"], MEMBERS_KEY: tuple(run.members)}}
    return [*maps, mask, layer("members", members, told, "labels")]
