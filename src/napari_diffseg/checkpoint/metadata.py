"""What travels with the weights inside a file of our own."""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_diffseg.checkpoint.weights import shown
from napari_diffseg.errors import BadCheckpoint, BadRecipe
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.recipe import Recipe, describe_validation

FORMAT: Final = 1
"""Version of the metadata; a file with a later one is refused."""

_Line = Annotated[str, Field(max_length=2000)]
_Name = Annotated[str, Field(max_length=64)]
_Number = Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)]


class Metadata(BaseModel):
    """The metadata of a file, as JSON holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT
    recipe: Recipe
    config: dict[_Name, bool | _Number | float | list[_Number | float] | None] = Field(
        max_length=32, description="The network, as `UNetConfig.to_dict` gives it."
    )
    card: dict[_Name, _Line] = Field(default_factory=dict, max_length=64)
    guesses: tuple[_Line, ...] = Field((), max_length=64, description="What had to be guessed when it was converted.")
    created_with: str = Field("", max_length=100)

    @property
    def network(self) -> UNetConfig:
        """The network's configuration.

        Raises
        ------
        BadRecipe
            If it is none.
        """
        return UNetConfig.from_dict(self.config)

    def to_json(self) -> str:
        """The metadata as text; the same metadata give the same text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)


def parse_metadata(text: str) -> Metadata:
    """The metadata of a file, checked.

    Raises
    ------
    BadCheckpoint
        If they are damaged, contradict themselves, or come from a later version.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise BadCheckpoint("its recipe is damaged: download or copy it again.") from err
    version = values.get("format") if isinstance(values, dict) else None
    if type(version) is int and version > FORMAT:
        raise BadCheckpoint("it was made by a later version of napari-diffseg: update napari-diffseg.")
    try:
        metadata = Metadata.model_validate(values)
        _ = metadata.network
    except ValidationError as err:
        why = shown(describe_validation(err), 400)
        raise BadCheckpoint(f"its recipe cannot be used ({why}): ask who made it.") from err
    except BadRecipe as err:
        raise BadCheckpoint(f"its network cannot be built: {shown(str(err), 400)}") from err
    return metadata
