"""Offers to bring images that lie on different grids to one of them, and puts the new layers in their place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_diffseg.errors import BadCase, BadImage
from napari_diffseg.plugin.canvas.add_layer import bare, is_there
from napari_diffseg.plugin.grid.layer_volume import frame_of_layer
from napari_diffseg.plugin.session.resample_job import resample_job
from napari_diffseg.plugin.session.task import Phase, Task, Work
from napari_diffseg.plugin.widgets.resample_row import Offer, ResampleRow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_diffseg.plugin.grid.frame import Frame
    from napari_diffseg.plugin.session.session import Session
    from napari_diffseg.plugin.widgets.case_box import CaseBox


def offer_for(layers: Mapping[str, Layer]) -> Offer | None:
    """What is offered for the layers of a case; None where they share a grid, or cannot be its images at all."""
    from napari_diffseg.imaging.geometry.resampling import finest
    from napari_diffseg.imaging.volume import describe_grid, same_grid

    try:
        volumes = {name: frame_of_layer(layer).volume for name, layer in layers.items()}
    except BadImage:
        return None
    first = next(iter(volumes.values()), None)
    if first is None or all(same_grid(first, volume) for volume in volumes.values()):
        return None
    return Offer({name: describe_grid(volume) for name, volume in volumes.items()}, finest(volumes))


class Resampling:
    """Shows the row while it can help, does what it asks in the session, and chooses the new layers.

    Parameters
    ----------
    viewer : ViewerModel or Viewer
        Gets the new layers.
    session : Session
        Does the work, when nothing else is going on.
    case : CaseBox
        In which the new layers are chosen.
    """

    def __init__(self, viewer: ViewerModel, session: Session, case: CaseBox) -> None:
        self._viewer, self._session, self._case = viewer, session, case
        self.row = ResampleRow()
        self.row.asked.connect(self.resample)
        session.changed.connect(self.follow)
        session.phase_changed.connect(self.follow)
        session.checkpoint_loaded.connect(self.follow)

    def _layers(self) -> dict[str, Layer]:
        """The layer of each modality that the next run takes; empty while one is missing or doubled."""
        try:
            layers = self._session.chosen.images(self._session.recipe)
        except BadCase:  # the reason stands beside Run
            return {}
        return layers if len({id(layer) for layer in layers.values()}) == len(layers) else {}

    def follow(self, _event: object = None) -> None:
        """Offer it while the images differ in their grids and nothing is going on."""
        is_idle = self._session.phase is Phase.IDLE
        self.row.show_offer(offer_for(self._layers()) if is_idle else None)

    def resample(self, reference: str) -> None:
        """Bring the images to the voxels of one of them; the status tells how far it is."""
        layers = self._layers()
        if reference not in layers or self._session.phase is not Phase.IDLE:
            return
        frames = {name: frame_of_layer(layer) for name, layer in layers.items()}
        take = partial(self._take, reference, layers)
        self._session.begin(Task(resample_job(frames, reference), Work.RESAMPLING, take))

    def _take(self, reference: str, layers: dict[str, Layer], moved: dict[str, Frame]) -> None:
        for name, frame in moved.items():
            source = layers[name]
            if not is_there(self._viewer, source):
                continue
            layer = _layer_like(source, frame)
            place = next(n for n, other in enumerate(self._viewer.layers) if bare(other) is source)
            self._viewer.layers.insert(place + 1, layer)  # beneath results, which it would hide
            source.visible = False
            if self._case.combos[name].layer() is source:
                self._case.combos[name].choose(layer)
        names = ", ".join(moved)
        self._session.message.emit(
            f"Resampled {names} to the voxels of {reference}. The layers they come from are hidden; results will lie "
            f"on the voxels of {reference}."
        )


def _layer_like(source: Layer, frame: Frame) -> Layer:
    """A resampled image as a layer that looks as its source does."""
    from napari.layers import Layer

    attributes = {
        **frame.layer_attributes(),
        "name": f"{source.name} resampled",
        "colormap": source.colormap,
        "contrast_limits": source.contrast_limits,
        "gamma": source.gamma,
        "visible": source.visible,
    }
    return Layer.create(frame.to_display(frame.volume.data), attributes, "image")
