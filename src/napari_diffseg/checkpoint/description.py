"""A checkpoint in words, for the command line and the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_diffseg.checkpoint.load import FAMILY

if TYPE_CHECKING:
    from napari_diffseg.checkpoint.model import Checkpoint
    from napari_diffseg.networks.config import UNetConfig
    from napari_diffseg.recipe import Recipe

_NOT_STATED = "not stated"
_GUESSED_BEFORE = "percentile = 99.5 (fits the original"
_PERCENTILE_NOTE = (
    "its percentile was guessed as 99.5 when it was converted, and stays so; the original's example data fit 99, with "
    "which images are 5 to 14 % brighter: convert the weights again, or state percentile 99, to use that"
)
_COUNTED = {"brain": "the brain", "image": "all voxels"}
_DIRECTIONS = {
    "L": "left",
    "R": "right",
    "A": "anterior",
    "P": "posterior",
    "S": "superior",
    "I": "inferior",
}


def describe(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """What a checkpoint is, as rows of a name and a value.

    Both are plain text on one line, whatever the file holds. A row "guessed" follows for each guess.
    """
    recipe, dtypes, card = checkpoint.recipe, _dtypes(checkpoint), dict(checkpoint.card)
    by_probability = recipe.rule == "probability" and recipe.smoothing_mm > 0
    rows = [
        ("family", checkpoint.family),
        ("kind", f"{checkpoint.kind}, {' and '.join(dtypes)}"),
        ("title", recipe.title or _NOT_STATED),
        ("parameters", f"{checkpoint.parameters / 1e6:.2f} M in {len(checkpoint.state)} tensors"),
        *_input_rows(recipe),
        *_diffusion_rows(recipe),
        (
            "augmentation",
            "left-right flip of every second member (test time)" if recipe.mirror else "none at test time",
        ),
        ("second plane", _second_plane(recipe)),
        (
            "stop early",
            "steps of masks that are decided are left out" if recipe.stop_early else "no: all steps are taken",
        ),
        ("smoothing", _smoothing(recipe)),
        ("refinement", f"one-step estimate by brightness in {recipe.refine_by}" if recipe.refine_by else "none"),
        ("default mask", f"{'smoothed probability' if by_probability else 'mean of the members'} > 0.5"),
        ("attention", _attention(checkpoint.config)),
        ("digest", checkpoint.digest[:12]),
        ("licence", recipe.licence or card.pop("licence", _NOT_STATED)),
        ("trained on", recipe.trained_on or _NOT_STATED),
        *(
            (name, value)
            for name, value in card.items()
            if (name, value) != ("licence", recipe.licence) and name != FAMILY
        ),
        *(("guessed", guess) for guess in checkpoint.guesses),
        *(("note", _PERCENTILE_NOTE) for guess in checkpoint.guesses if guess.startswith(_GUESSED_BEFORE)),
    ]
    return [(_one_line(name), _one_line(value)) for name, value in rows]


def as_values(checkpoint: Checkpoint) -> dict[str, Any]:
    """What a checkpoint is, for programs: plain values that JSON can hold."""
    return {
        "family": checkpoint.family,
        "kind": checkpoint.kind,
        "sha256": checkpoint.digest,
        "parameters": checkpoint.parameters,
        "tensors": len(checkpoint.state),
        "dtypes": _dtypes(checkpoint),
        "recipe": checkpoint.recipe.model_dump(mode="json"),
        "network": checkpoint.config.to_dict(),
        "card": dict(checkpoint.card),
        "guesses": list(checkpoint.guesses),
    }


def _second_plane(recipe: Recipe) -> str:
    other = recipe.across
    if other is None:
        return "none: all members are sampled in the same slices"
    rows, columns, slices = (_DIRECTIONS[code] for code in other.axis_codes)
    directions = f"rows towards {rows}, columns towards {columns}, slices towards {slices}"
    return f"every second member is sampled in {other.plane} slices ({directions})"


def _smoothing(recipe: Recipe) -> str:
    if not recipe.smoothing_mm:
        return "off"
    longer = recipe.smoothing_mm * recipe.smoothing_slices
    across = f", {longer:g} mm across slices" if recipe.smoothing_slices != 1 else ""
    return f"Gaussian of {recipe.smoothing_mm:g} mm over the vote map{across}"


def _dtypes(checkpoint: Checkpoint) -> list[str]:
    return sorted({str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.state.values()})


def _input_rows(recipe: Recipe) -> list[tuple[str, str]]:
    rows, columns, slices = (_DIRECTIONS[code] for code in recipe.axis_codes)
    masks = [f"noisy mask of {label}" for label in recipe.labels]
    channels = [f"channel {i} = {name}" for i, name in enumerate((*recipe.modalities, *masks), start=1)]
    if recipe.channel_order == "mask_first":
        parts = (*masks, *recipe.modalities)
        channels = [f"channel {i} = {name}" for i, name in enumerate(parts, start=1)]
    percentile = ""
    if recipe.normalisation == "percentile":
        percentile = f", upper percentile {recipe.percentile:g} of {_COUNTED[recipe.percentile_of]}"
    scaled = f", then 0 to 1 becomes {recipe.value_range[0]:g} to {recipe.value_range[1]:g}"
    placed = f"about the centre of the {recipe.centre}" if recipe.fit == "crop" else "to which a slice is stretched"
    return [
        ("input", ", ".join(channels)),
        ("missing modalities", "supported: all but one may be missing" if recipe.may_miss else "not supported"),
        ("labels", ", ".join(recipe.labels)),
        ("size", f"{recipe.size[0]} x {recipe.size[1]} pixels {placed}"),
        ("spacing", "the image's own" if recipe.spacing_mm is None else f"{recipe.spacing_mm:g} mm"),
        ("directions", f"rows towards {rows}, columns towards {columns}, slices towards {slices}"),
        ("normalisation", f"{recipe.normalisation}{percentile}{scaled if recipe.value_range != (0, 1) else ''}"),
        (
            "rim",
            f"the brain's outermost voxel and {recipe.rim_mm:g} mm more are not shown" if recipe.rim_mm else "shown",
        ),
        ("mask", f"{recipe.mask_low:g} background, {recipe.mask_high:g} lesion, threshold {recipe.threshold:g}"),
    ]


def _diffusion_rows(recipe: Recipe) -> list[tuple[str, str]]:
    rescaled = ", timesteps rescaled to 1000" if recipe.rescale_timesteps else ""
    clip = "not clipped" if recipe.clip is None else f"clipped to {recipe.clip[0]:g} to {recipe.clip[1]:g}"
    return [
        ("schedule", f"{recipe.schedule}{_betas(recipe)}, {recipe.train_timesteps} timesteps{rescaled}"),
        ("prediction", f"{recipe.prediction}, mask {clip}"),
        ("variance", recipe.variance),
        ("sampler", f"{recipe.sampler}, {recipe.timesteps} steps unless others are asked for{_spacing(recipe)}"),
    ]


def _betas(recipe: Recipe) -> str:
    betas = "" if recipe.beta_range is None else f" from {recipe.beta_range[0]:g} to {recipe.beta_range[1]:g}"
    return betas + (", rescaled to end in pure noise" if recipe.zero_terminal_snr else "")


def _spacing(recipe: Recipe) -> str:
    offset = f" with offset {recipe.timestep_offset}" if recipe.timestep_offset else ""
    return "" if recipe.timestep_spacing == "linspace" else f", spaced {recipe.timestep_spacing}{offset}"


def _attention(config: UNetConfig) -> str:
    order = "new" if config.new_attention_order else "legacy"
    if config.num_head_channels is not None:
        return f"heads of {config.num_head_channels} channels, {order} order"
    return f"{config.num_heads} head{'s' if config.num_heads > 1 else ''}, {order} order"


def _one_line(text: str) -> str:
    """Text from a file, without line breaks and control characters."""
    return "".join(c if c.isprintable() else " " for c in text)
