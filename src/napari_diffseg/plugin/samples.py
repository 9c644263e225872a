"""Samples in napari's menu: the shipped case, a phantom of a glioma, and others that are drawn when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_diffseg.imaging.demo_case import demo_case_folder

if TYPE_CHECKING:
    from napari_diffseg.plugin.grid.layer_data import LayerData
    from napari_diffseg.synthesis.settings import PhantomKind

_SHAPE, _SPACING_MM = (120, 120, 78), (2.0, 2.0, 2.0)
_SEED = 7


def open_sample() -> list[LayerData]:
    """The shipped case as layers, as napari's sample menu asks for them."""
    from napari_diffseg.plugin.files.reader import read_layers

    return read_layers(str(demo_case_folder()))


def draw_lowgrade() -> list[LayerData]:
    """A phantom of a low-grade glioma, which takes up little contrast agent."""
    return _offer("lowgrade")


def draw_sclerosis() -> list[LayerData]:
    """A phantom of multiple sclerosis: many small lesions."""
    return _offer("ms")


def _offer(kind: PhantomKind) -> list[LayerData]:
    """The layers of a sample; nothing yet where a window is open, to which they come when they are drawn."""
    from napari import current_viewer

    from napari_diffseg.plugin.canvas.gl_context import canvas_of

    viewer = current_viewer()
    if viewer is None or canvas_of(viewer) is None:
        return drawn_sample(kind)
    from napari_diffseg.plugin.drawing import draw_for

    draw_for(viewer, lambda: drawn_sample(kind))
    return [_no_layer()]


def _no_layer() -> LayerData:
    """An image without channels, for which napari adds no layer.

    Of a sample, unlike of a reader, it takes `(None,)` for a failure.
    """
    import numpy as np

    return np.zeros((0, 1, 1, 1), np.uint8), {"channel_axis": 0}, "image"


def drawn_sample(kind: PhantomKind) -> list[LayerData]:
    """A head of 2 mm voxels with its reference, which takes seconds; always the same one."""
    from napari_diffseg.imaging.volume import Volume
    from napari_diffseg.plugin.files.reader import image_layer, labels_layer
    from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom

    settings = PhantomSettings(kind=kind, seed=_SEED, shape=_SHAPE, spacing_mm=_SPACING_MM, readers=0, randomise=0.1)
    phantom, name = make_phantom(settings), f"phantom_{kind}"

    def volume(data: Any) -> Volume:
        return Volume(data=data, affine=phantom.affine, header=None, path=None, notes=())

    layers = [image_layer(volume(data), f"{name} {modality}") for modality, data in phantom.volumes.items()]
    layers.append(labels_layer(volume((phantom.seg > 0).astype("uint8")), f"{name} seg"))
    for _, attributes, _ in (*layers[:-2], layers[-1]):  # as of a case that is read, the last image is shown
        attributes["visible"] = False
    return layers
