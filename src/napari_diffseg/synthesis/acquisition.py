"""From tissue to images: contrast, texture, and what a scanner and a preprocessing do to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from napari_diffseg.synthesis.fields import Float32Array, smooth_field
from napari_diffseg.synthesis.tissues import Tissue

if TYPE_CHECKING:
    from napari_diffseg.synthesis.anatomy import Anatomy
    from napari_diffseg.synthesis.settings import ModalityName

# How uneven each tissue is, relative to its mean:
#            csf   grey  white core  cyst  enh.  oedema vessel cap other
_UNEVEN = np.array([0.04, 0.03, 0.02, 0.16, 0.06, 0.17, 0.13, 0.1, 0.1, 0.35], np.float32)
_UNEVEN_RIM_T1CE = np.float32(0.22)
_LARGEST = 32_000
# Behind the eyes (template LPS mm), where stripping most often leaves fat and muscle on.
_ORBITS_MM = ((-32.0, -52.0, -32.0), (32.0, -52.0, -32.0))
_ORBIT_RADIUS_MM = 16.0
_ORBITS_KEPT_MM = (4.0, 16.0)
# Fresh blood brightens the lowest slices: from which height (template mm), over what length, by what share.
_INFLOW_BELOW_MM = (-55.0, -25.0)
_INFLOW_LENGTH_MM = 20.0
_INFLOW = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What the modalities of one phantom share; arrays (X, Y, Z).

    Attributes
    ----------
    margin_mm : ndarray, float32
        Depth below the surface that the skull stripping left, negative where it took the voxel away. It keeps most of
        the brain, and at times some of what surrounds it.
    texture : ndarray, float32
        Unevenness of tissue common to all modalities, of variance 1.
    height_mm : ndarray, float32
        Height of each voxel in the template.
    spacing_mm : tuple of float
    artefacts : float
        0..1, as in `PhantomSettings`.
    """

    margin_mm: Float32Array
    texture: Float32Array
    height_mm: Float32Array
    spacing_mm: tuple[float, float, float]
    artefacts: float

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Voxels that the skull stripping kept."""
        return self.margin_mm > 0


def prepare_scan(
    rng: np.random.Generator, anatomy: Anatomy, *, spacing_mm: tuple[float, float, float], artefacts: float
) -> Scan:
    """Strip the skull, well or badly, and draw the texture that the modalities share."""
    texture = smooth_field(rng, anatomy.shape, length_mm=6, spacing_mm=spacing_mm)
    texture += 0.7 * smooth_field(rng, anatomy.shape, length_mm=2.5, spacing_mm=spacing_mm)
    surface = smooth_field(rng, anatomy.shape, length_mm=18, spacing_mm=spacing_mm)
    tight, rough, bad, leak = rng.random(4)
    shift = np.float32(artefacts) * (np.float32(1.2 * tight - 0.6) + np.float32(0.3 + rough) * surface)
    if bad < 0.35 * artefacts:
        # Here the stripping failed: a patch of scalp stays on, or a bite of brain is missing.
        patch = np.clip(surface - np.float32(1.0), 0, 1)
        shift += np.float32(6.0 if leak < 0.6 else -9.0) * patch
    orbits, how_much = rng.random(2)
    if orbits < 0.7 * artefacts:
        low, high = _ORBITS_KEPT_MM
        shift += np.float32(low + (high - low) * how_much) * _orbits(anatomy.coords_mm)
    margin = anatomy.depth_mm + shift
    return Scan(margin, texture / np.float32(np.hypot(1, 0.7)), anatomy.coords_mm[2], spacing_mm, artefacts)


def _orbits(coords_mm: Float32Array) -> Float32Array:
    """1 in the orbits, falling to 0 around them."""
    inside = np.zeros(coords_mm.shape[1:], np.float32)
    for centre in _ORBITS_MM:
        away = coords_mm - np.reshape(centre, (3, 1, 1, 1)).astype(np.float32)
        inside += np.exp(-((away / np.float32(_ORBIT_RADIUS_MM)) ** 2).sum(axis=0))
    return inside


def acquire(
    rng: np.random.Generator,
    fractions: Float32Array,
    *,
    means: Float32Array,
    modality: ModalityName,
    scan: Scan,
    added: Float32Array | None = None,
) -> npt.NDArray[np.int16]:
    """One modality's image.

    Parameters
    ----------
    rng : numpy.random.Generator
        Of this modality alone.
    fractions : ndarray, (len(Tissue), X, Y, Z), float32
        What each voxel is made of.
    means : ndarray, (len(Tissue),), float32
        Intensity of each tissue relative to white matter.
    modality : str
        Decides how uneven an enhancing rim is.
    scan : Scan
        What the modalities share.
    added : ndarray, (X, Y, Z), float32, optional
        Brightness, relative to white matter, of what is no tissue of the fractions.

    Returns
    -------
    ndarray, (X, Y, Z), int16
        At least 1 where something was kept and seen, 0 elsewhere; the scale is arbitrary.
    """
    spacing = scan.spacing_mm
    uneven = _UNEVEN.copy()
    if modality == "t1ce":
        uneven[Tissue.ENHANCING] = _UNEVEN_RIM_T1CE
    uneven *= means * np.float32(rng.uniform(0.5, 1.4))
    own = smooth_field(rng, scan.kept.shape, length_mm=4, spacing_mm=spacing)
    image = np.tensordot(means, fractions, 1)
    image += np.tensordot(uneven, fractions, 1) * (0.75 * scan.texture + 0.65 * own)
    if added is not None:
        image += added
    image = _misplaced(rng, image, scan=scan)
    image = ndi.gaussian_filter(image, _blur(rng, scan))
    image *= _inflow(rng, scan)
    bias = rng.uniform(0.03, 0.10 + 0.12 * scan.artefacts)
    image *= np.exp(bias * smooth_field(rng, image.shape, length_mm=90, spacing_mm=spacing))
    # Stripped images were interpolated: the outermost voxels are part background.
    image *= np.sqrt(np.clip(scan.margin_mm / np.float32(rng.uniform(0.5, 4)), 0, 1))
    image += np.float32(rng.uniform(-0.04, 0.12) * scan.artefacts)
    image = _noisy(rng, image)
    scale = np.exp(rng.uniform(np.log(150), np.log(1500)))
    seen = scan.kept & _field_of_view(rng, scan)
    counts = np.clip(np.round(image * np.float32(scale)), 1, _LARGEST)
    return np.where(seen, counts, 0).astype(np.int16)


def _inflow(rng: np.random.Generator, scan: Scan) -> Float32Array:
    """Factor on the image: above 1 towards the lowest slices, at times."""
    there, below, amount = rng.random(3)
    low, high = _INFLOW_BELOW_MM
    share = np.clip((low + (high - low) * below - scan.height_mm) / _INFLOW_LENGTH_MM, 0, 1)
    factor: Float32Array = 1 + np.float32(_INFLOW * amount if there < 0.5 * scan.artefacts else 0) * share
    return factor.astype(np.float32)


def _misplaced(rng: np.random.Generator, image: Float32Array, *, scan: Scan) -> Float32Array:
    """Moved by up to a voxel (2 mm at most) in plane, as modalities registered to each other are."""
    moved, dx, dy = rng.random(3)
    if moved > 0.5 * scan.artefacts:
        return image
    shift = [min(1.0, 2.0 / s) * (2 * d - 1) for s, d in zip(scan.spacing_mm[:2], (dx, dy), strict=True)]
    result: Float32Array = ndi.shift(image, [*shift, 0.0], order=1, mode="nearest")
    return result


def _blur(rng: np.random.Generator, scan: Scan) -> list[float]:
    """Standard deviation, in voxels, of the acquisition's resolution: thick slices blur one axis, most often z."""
    in_plane = rng.uniform(0.3, 0.75)
    thickness = rng.choice([1.0, 3.0, 5.0], p=[1 - 0.7 * scan.artefacts, 0.4 * scan.artefacts, 0.3 * scan.artefacts])
    axis = rng.choice(3, p=[0.2, 0.2, 0.6])
    sigma_mm = [in_plane] * 3
    sigma_mm[axis] = max(in_plane, 0.38 * thickness)
    return [s / v if n > 1 else 0.0 for s, v, n in zip(sigma_mm, scan.spacing_mm, scan.kept.shape, strict=True)]


def _noisy(rng: np.random.Generator, image: Float32Array) -> Float32Array:
    """Rician noise; smooth where the image was resampled."""
    sd = np.float32(rng.uniform(0.005, 0.035))
    smooth = rng.uniform(0, 0.6)
    parts = []
    for _ in range(2):
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        if smooth > 0.3:
            noise = ndi.gaussian_filter(noise, [smooth if n > 1 else 0.0 for n in image.shape], truncate=2.0)
            noise /= noise.std() + np.float32(1e-6)
        parts.append(sd * noise)
    magnitude: Float32Array = np.hypot(image + parts[0], parts[1])
    return magnitude


def _field_of_view(rng: np.random.Generator, scan: Scan) -> npt.NDArray[np.bool_]:
    """All True, or, at times, False beyond a plane that cuts up to a fifth of the head away."""
    cut, share = rng.random(2)
    normal = rng.standard_normal(3) * (0.5, 0.5, 1.5)
    if cut > 0.08 * scan.artefacts or not scan.kept.any():
        return np.ones_like(scan.kept)
    axes = [np.arange(n) * s if n > 1 else np.zeros(1) for n, s in zip(scan.kept.shape, scan.spacing_mm, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    height = normal[0] * x + normal[1] * y + normal[2] * z
    seen: npt.NDArray[np.bool_] = height <= np.quantile(height[scan.kept], 1 - 0.2 * share)
    return seen
