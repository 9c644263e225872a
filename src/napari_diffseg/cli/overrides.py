"""Options that replace what a checkpoint says, or does not say, of itself; one for each field of the recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from cyclopts import Group, Parameter
from pydantic import BaseModel, ConfigDict, Field, create_model

from napari_diffseg.imaging.names.naming import modalities_named
from napari_diffseg.recipe import Recipe

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_NETWORK: dict[str, str] = {
    "num_heads": "Attention heads of the network.",
    "num_head_channels": "Channels of an attention head, instead of their number.",
    "new_attention_order": "true: queries, keys and values are split before the heads.",
    "norm_groups": "Groups of the network's normalisations.",
    "norm_eps": "What the network's normalisations add to the variance.",
}

_OF_A_RUN = ("sampler", "timesteps", "stop_early", "second_plane", "label_values")
"""Fields of the recipe whose options, where something is run, mean the run's own."""


class OverridesBase(BaseModel):
    """What the user says of a checkpoint; a field that is None was left alone."""

    model_config = ConfigDict(frozen=True)

    def given(self) -> dict[str, Any]:
        """The overrides that were given, as plain values: comma-separated ones split, `none` as None."""
        return {name: _plain(name, text) for name, text in self.model_dump().items() if text is not None}


def _plain(name: str, text: str) -> Any:
    if text.lower() == "none":
        return None
    if name in Recipe.model_fields and _is_tuple(Recipe.model_fields[name]):
        parts = [part.strip() for part in text.split(",")]
        return modalities_named(parts) if name == "modalities" else parts
    if name in ("num_heads", "num_head_channels") and text.isdigit():
        return int(text)
    return text


def _is_tuple(field: FieldInfo) -> bool:
    kinds = (field.annotation, *get_args(field.annotation))
    return any(get_origin(kind) is tuple for kind in kinds)


def _describe(field: FieldInfo) -> str:
    choices = [str(c) for c in get_args(field.annotation) if isinstance(c, str)]
    listed = f" One of {', '.join(choices)}." if choices else " Comma-separated." if _is_tuple(field) else ""
    return f"{field.description}{listed}"


_Text = Annotated[str | None, Parameter(allow_leading_hyphen=True)]  # for `--clip -1,1`

_FIELDS: dict[str, Any] = {name: (str | None, Field(None, description=text)) for name, text in _NETWORK.items()}
_FIELDS |= {
    name: (_Text, Field(None, description=_describe(field)))
    for name, field in Recipe.model_fields.items()
    if name not in _OF_A_RUN
}
_DEFAULTS: dict[str, Any] = {
    name: (_Text, Field(None, description=_describe(Recipe.model_fields[name]))) for name in _OF_A_RUN
}
_GROUP = Parameter(name="*", group=Group("What the checkpoint is (replaces its recipe, or a guess)", sort_key=9))

Overrides = create_model("Overrides", __base__=OverridesBase, **_FIELDS)

OverrideOptions = Annotated[Overrides, _GROUP]
"""Of a verb that runs the checkpoint."""

RecipeOverrides = create_model("RecipeOverrides", __base__=Overrides, **_DEFAULTS)

RecipeOptions = Annotated[RecipeOverrides, _GROUP]
"""Of a verb that tells or writes the recipe: its defaults for a run, too."""
