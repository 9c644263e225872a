"""Settings in TOML: read onto a preset, written whole."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_diffseg.errors import BadRequest
from napari_diffseg.imaging.atomic import atomic_write
from napari_diffseg.imaging.names.naming import shown_name
from napari_diffseg.recipe import describe_validation
from napari_diffseg.training.config import TrainingConfig
from napari_diffseg.training.presets import preset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NONE = "none"  # TOML has no null


def read_values(path: Path) -> dict[str, Any]:
    """The values of a TOML file, not yet checked.

    Raises
    ------
    BadRequest
        If the file cannot be read or is no TOML.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as err:
        raise BadRequest(f"{shown_name(path)} cannot be read: {err.strerror}: name a TOML file of settings.") from err
    except (ValueError, RecursionError) as err:
        raise BadRequest(f"{shown_name(path)} is no TOML: {err}: correct it.") from err


def read_config(path: Path) -> TrainingConfig:
    """The settings of a file: its own values, and for the others those of the preset that it names.

    Raises
    ------
    BadRequest
        If it cannot be read, or a value is unknown or out of bounds.
    """
    values = read_values(path)
    return changed(preset(str(values.get("preset", "default"))), values, where=shown_name(path))


def changed(base: TrainingConfig, values: Mapping[str, Any], *, where: str) -> TrainingConfig:
    """Settings with some values replaced.

    Parameters
    ----------
    base : TrainingConfig
        Gives all that is not replaced.
    values : mapping
        Nested as the settings are; the text "none" stands for None.
    where : str
        Where they come from, for messages.

    Raises
    ------
    BadRequest
        If a value is unknown, out of bounds, or contradicts another; each is named.
    """
    try:
        return TrainingConfig.model_validate(_titled(_merged(base.model_dump(), values), values))
    except ValidationError as err:
        raise BadRequest(f"{where}: {describe_validation(err)}.") from err


def write_config(path: Path, config: TrainingConfig) -> None:
    """Write all settings; `read_config` gives them back.

    Raises
    ------
    OutputFailed
        If the file cannot be written.
    """
    import tomli_w

    content = tomli_w.dumps(_without_null(config.model_dump(mode="json"))).encode()
    atomic_write(path, lambda file: file.write(content), overwrite=True, size=len(content))


def first_difference(old: TrainingConfig, new: TrainingConfig) -> str | None:
    """The first setting that differs, in words such as "optimiser.steps 40, before 20"; None where all agree."""
    before, after = _flat(old.model_dump()), _flat(new.model_dump())
    for name in (*after, *before):
        if after.get(name) != before.get(name):
            return f"{name} {after.get(name)}, before {before.get(name)}"
    return None


def _titled(merged: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """With the regions for a title, where nobody gave one: that of a preset is about one mask."""
    title = values.get("recipe", {}).get("title") if isinstance(values.get("recipe"), dict) else None
    if not values.get("regions") or values["regions"] == _NONE or title is not None:
        return merged
    return _merged(merged, {"recipe": {"title": f"Regions of a tumour ({values['regions']})"}})


def _merged(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in values.items():
        inner = merged.get(name)
        if isinstance(inner, dict) and isinstance(value, dict):
            merged[name] = _merged(inner, value)
        else:
            merged[name] = None if value == _NONE else value
    return merged


def _without_null(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_null(value) if isinstance(value, dict) else _NONE if value is None else value
        for name, value in values.items()
    }


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return flat
