"""What must be the same for two runs' members to belong to one ensemble, and what differs where it is not."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, Protocol

from napari_diffseg.imaging.geometry.grid import slice_axis_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.imaging.case import Case
    from napari_diffseg.networks.config import UNetConfig
    from napari_diffseg.recipe import Recipe
    from napari_diffseg.runs.record import RunRecord

_FREE: Final = ("members", "device", "batch_size", "focus", "threads")
"""Settings that change nothing of a member."""
_OF_SUMS: Final = ("smoothing_mm", "smoothing_slices", "refine_by", "rule")
"""What a recipe says of how members are summed up, which changes none of them."""
_RESOLVED: Final = ("stop_early",)
"""What a recipe says and a request may say otherwise, so that it stands among the settings."""
_BEFORE: Final[dict[str, dict[str, Any]]] = {
    "recipe": {
        "label_values": [],
        "mirror": False,
        "second_plane": None,
        "rim_mm": 0.0,
        "fit": "crop",
        "percentile_of": "brain",
        "value_range": [0.0, 1.0],
        "channel_order": "images_first",
        "beta_range": None,
        "betas": None,
        "zero_terminal_snr": False,
        "timestep_spacing": "linspace",
        "timestep_offset": 0,
        "epsilon_after_clip": True,
    },
    "settings": {"stop_early": "off", "second_plane": "off"},
    "network": {"norm_groups": 32, "norm_eps": 1e-5, "time_freq_shift": 0.0, "anchor": False},
}
"""What held of recipes, networks and settings before they had a word of it."""
_WORDS: Final = {
    "checkpoint_digest": "another checkpoint",
    "recipe": "another recipe",
    "network": "another network",
    "inputs": "other images",
    "settings": "other settings",
}
_DIGITS: Final = 12
"""Of a digest, as many as a person compares."""


class DescribedCheckpoint(Protocol):
    """What a run's record needs of a checkpoint; its weights may be on another computer."""

    @property
    def path(self) -> Path:
        """The file it was read from."""
        ...

    @property
    def recipe(self) -> Recipe:
        """How its input is made and its output read."""
        ...

    @property
    def config(self) -> UNetConfig:
        """The network's shape."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of the file, hexadecimal."""
        ...

    @property
    def guesses(self) -> tuple[str, ...]:
        """What neither the file nor anybody else said."""
        ...

    @property
    def overrides(self) -> Mapping[str, Any]:
        """What was said instead of the file."""
        ...


def identity_of(case: Case, checkpoint: DescribedCheckpoint, request: SegmentRequest) -> dict[str, Any]:
    """What decides the members of a run, as JSON gives it back; the keys are those of `run.json`."""
    made = _made_with(checkpoint, _with_planes_known(case, checkpoint.recipe, request))
    settings = made.pop("settings")
    return made | {"inputs": {name: volume.digest for name, volume in case.volumes.items()}, "settings": settings}


def _with_planes_known(case: Case, recipe: Recipe, request: SegmentRequest) -> SegmentRequest:
    """The request with what it comes to in this case: which members are sampled in which plane."""
    if recipe.second_plane is None:
        return request
    volume = case.grid_volume
    along = slice_axis_of(volume.affine, recipe.axis_codes)
    has = request.samples_second_plane(recipe, slices=volume.shape[along], thickness_mm=volume.spacing_mm[along])
    return request.model_copy(update={"second_plane": "on" if has else "off"})


def _made_with(checkpoint: DescribedCheckpoint, request: SegmentRequest) -> dict[str, Any]:
    """Checkpoint and settings, as JSON gives them back."""
    settings = {k: v for k, v in request.model_dump(mode="json").items() if k not in _FREE}
    if settings["window"] is None:  # runs of before there were windows have no word of it
        del settings["window"]
    recipe = checkpoint.recipe
    settings["sampler"] = settings["sampler"] or recipe.sampler
    settings["timesteps"] = settings["timesteps"] or recipe.timesteps
    if settings["stop_early"] == "auto":
        settings["stop_early"] = "on" if recipe.stop_early else "off"
    if recipe.second_plane is None:
        settings["second_plane"] = "off"
    elif settings["second_plane"] == "off":  # the same members as of a recipe without one
        recipe = recipe.planes[0]
    return {
        "checkpoint_digest": checkpoint.digest,
        "recipe": recipe.model_dump(mode="json", exclude={*_OF_SUMS, *_RESOLVED}),
        "network": json.loads(json.dumps(checkpoint.config.to_dict())),
        "settings": settings,
    }


def settings_digest(checkpoint: DescribedCheckpoint, request: SegmentRequest) -> str:
    """SHA-256 of what decides the results of a run, but for its images: its members, and how they are summed up."""
    sums = checkpoint.recipe.model_dump(mode="json", include={*_OF_SUMS})
    text = json.dumps(_made_with(checkpoint, request) | {"sums": sums}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def are_of_other_images(mine: RunRecord, other: RunRecord) -> bool:
    """Whether two runs are of different images, so that one must not replace the other.

    Runs that share an image are of one patient; where none is recorded, the case's name decides.
    """
    if mine.inputs and other.inputs:
        return are_other_images(mine.inputs, other.inputs)
    return mine.case != other.case


def are_other_images(mine: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Whether digests of images by modality have none in common, where both are known."""
    return bool(mine and others) and set(mine.values()).isdisjoint(others.values())


def difference(mine: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """What is otherwise than a run's record says, each with both values; empty where nothing is.

    Parameters
    ----------
    mine : mapping
        As `identity_of` gives it.
    record : mapping
        A run's `run.json`.

    Returns
    -------
    str
        Such as "other settings (seed 5, before 0)".
    """
    parts = []
    for key, value in mine.items():
        before = record.get(key)
        if key in _BEFORE and isinstance(before, dict):
            before = _BEFORE[key] | before
        if before == value:
            continue
        parts.append(f"{_WORDS[key]} ({'; '.join(_differences(key, value, before))})")
        if key == "checkpoint_digest":  # its recipe and its network are another's, too
            break
    return " and ".join(parts)


def _differences(key: str, value: Any, before: Any) -> Iterator[str]:
    if isinstance(value, dict):
        earlier = before if isinstance(before, dict) else {}
        for name in (*value, *(n for n in earlier if n not in value)):
            if value.get(name) != earlier.get(name):
                yield f"{name} {_told(key, value.get(name))}, before {_told(key, earlier.get(name))}"
    else:
        yield f"{_told(key, value)}, before {_told(key, before)}"


def _told(key: str, value: Any) -> str:
    if value is None:
        return "none"
    if key in ("checkpoint_digest", "inputs"):
        return str(value)[:_DIGITS]
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
