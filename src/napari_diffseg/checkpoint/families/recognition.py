"""Which family a file of weights is of, by the names of its tensors alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from napari_diffseg.checkpoint.families import diffusers, guided, medsegdiff, monai
from napari_diffseg.checkpoint.families.family import Family, Shapes
from napari_diffseg.checkpoint.weights import shown_some
from napari_diffseg.errors import BadCheckpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_THREE_D: Final = (
    "it samples whole volumes in patches, and only slices can be sampled here yet: use the authors' own code for it"
)
_NOT_ALONE: Final = "it cannot be used here: use the authors' own code for it"

FAMILIES: Final[tuple[Family, ...]] = (
    Family(
        "MedSegDiff, version 1",
        (guided.STEM, "hwm.conv_trans_blocks_a."),
        refusal="every evaluation of it adds a convolution with new random weights to its bottleneck, so nobody can "
        "reproduce its masks: train it again as version 'new', or choose another file",
    ),
    Family(
        "MedSegDiff, version new",
        (guided.STEM, "hwm.conv_blocks_context.", "hwm.seg_outputs."),
        medsegdiff.read_medsegdiff,
    ),
    Family(
        "SegDiff",
        ("rrdb.conv_first.", "rrdb.RRDB_trunk."),
        refusal=f"its image goes through a network of its own before the U-Net, and {_NOT_ALONE}",
    ),
    Family(
        "guided-diffusion with classes",
        (guided.STEM, "label_emb.weight"),
        refusal="it was trained with classes, as diffusion-anomaly is to tell healthy from diseased, and is no "
        "segmentation network: choose a network that was trained on masks",
    ),
    Family("PatchDDM or another 3-D network of guided-diffusion", (guided.STEM,), rank=5, refusal=_THREE_D),
    Family("guided-diffusion (the authors' code)", (guided.STEM, "time_embed.0.weight"), guided.read_guided),
    Family("MONAI DiffusionModelUNet", (monai.STEM, "down_blocks.0.resnets.0."), monai.read_monai),
    Family(
        "a conditional UNet of diffusers (Stable Diffusion's kind)",
        (diffusers.STEM, "down_blocks.0.", "mid_block.attentions.0.transformer_blocks."),
        refusal="it sees its condition by cross-attention, where the image must be among its input channels: train a "
        "UNet2DModel",
    ),
    Family(
        "diffusers UNet2DModel",
        (diffusers.STEM, "time_embedding.linear_1.weight", "down_blocks.0.resnets.0."),
        diffusers.read_diffusers,
    ),
    Family("Diff-UNet", ("embed_model.conv_0.", "model.temb.dense.0.", "model.final_conv."), refusal=_THREE_D),
    Family(
        "med-seg-diff-pytorch (lucidrains)",
        ("cond_init_conv.weight", "time_mlp.1.weight", "conditioners."),
        refusal=f"its mask and its image have an encoder each, fixed to one image size, and {_NOT_ALONE}",
    ),
    Family(
        "denoising-diffusion-pytorch (lucidrains)",
        ("init_conv.weight", "time_mlp.1.weight", "downs.0."),
        refusal=f"it is a network of another kind, and {_NOT_ALONE}",
    ),
    Family(
        "nnU-Net",
        ("encoder.stages.0.", "decoder.seg_layers."),
        refusal="it segments at once, without diffusion, and has nothing to sample: use nnU-Net itself, and open its "
        "masks and probabilities as layers",
    ),
    Family(
        "nnU-Net, version 1",
        ("conv_blocks_context.0.blocks.0.conv.weight", "seg_outputs.0.weight"),
        refusal="it segments at once, without diffusion, and has nothing to sample: use nnU-Net itself, and open its "
        "masks and probabilities as layers",
    ),
    Family(
        "MONAI Swin UNETR",
        ("swinViT.patch_embed.", "encoder1.layer."),
        refusal="it segments at once, without diffusion, and has nothing to sample: use MONAI itself",
    ),
    Family(
        "MONAI AutoencoderKL",
        ("quant_conv_mu.conv.", "post_quant_conv.conv."),
        refusal="it is the autoencoder of a latent diffusion model, not a diffusion network",
    ),
    Family(
        "diffusers AutoencoderKL",
        ("quant_conv.", "post_quant_conv.", "encoder.conv_in."),
        refusal="it is the autoencoder of a latent diffusion model, not a diffusion network",
    ),
    Family(
        "a plain U-Net of MONAI",
        ("model.0.conv.unit0.conv.", "model.1.submodule."),
        refusal="it segments at once, without diffusion, and has nothing to sample",
    ),
)
"""The first that fits is it, so the particular come before the general."""

_LATENT = ("first_stage_model.", "cond_stage_model.")
_BOOKKEEPING = frozenset(
    {
        "num_batches_tracked",
        "num_updates",
        "decay",
        "collected",
        "step",
        "initted",
        "n_averaged",
        "logvar",
        "scale_factor",
        "betas",
        "alphas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
        "p2_loss_weight",
        "loss_weight",
        "lvlb_weights",
    }
)
"""Last parts of names that wrappers add and no network of the families has: counters, and a schedule's arrays."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A family's network in a file.

    Attributes
    ----------
    family : Family
        Which.
    names : mapping of str to str
        The name of each of its tensors in the family to that in the file.
    notes : tuple of str
        What was removed and ignored, for people.
    """

    family: Family
    names: Mapping[str, str]
    notes: tuple[str, ...]


def is_bookkeeping(name: str) -> bool:
    """Whether a tensor of this name is what a wrapper keeps beside a network, and no weight of it."""
    return name.rpartition(".")[2] in _BOOKKEEPING


def family_of(names: Iterable[str]) -> Family | None:
    """The family whose signature is among the names, after any prefix; None where there is none."""
    every = frozenset(names)
    return next((family for family in FAMILIES if family.rank is None and _prefixes(family, every)), None)


def recognise(shapes: Shapes) -> Recognised:
    """The network in a file of weights.

    A prefix that wrappers give all its names is removed, whatever it is. Of two copies the average (EMA) is taken.

    Parameters
    ----------
    shapes : mapping
        Name to shape of every tensor of the file.

    Raises
    ------
    BadCheckpoint
        If it is of no family, of one that cannot be used, or one part of a larger model.
    """
    names = frozenset(shapes)
    for family in FAMILIES:
        prefixes = [p for p in _prefixes(family, names) if _has_rank(family, shapes, p)]
        if prefixes:
            return _within(family, prefixes, shapes)
    raise BadCheckpoint(
        f"it holds {len(shapes)} tensors ({shown_some(sorted(shapes))}) of no diffusion network that is known here: "
        "those of guided-diffusion (the authors' code, MedSegDiff), MONAI's DiffusionModelUNet and diffusers' "
        "UNet2DModel are."
    )


def refuse(family: Family) -> BadCheckpoint:
    """The error that says what a file is and why it cannot be used."""
    return BadCheckpoint(f"it is {family.name}: {family.refusal}.")


def _prefixes(family: Family, names: frozenset[str]) -> list[str]:
    """What may stand before all names of a family in a file, the average's first, then the shortest."""
    first, *rest = family.signature
    if first.endswith("."):
        found = {name[: name.index(first)] for name in names if first in name}
    else:
        found = {name.removesuffix(first) for name in names if name.endswith(first)}
    whole = [p for p in found if (not p or p.endswith(".")) and all(_is_there(p + part, names) for part in rest)]
    return sorted(whole, key=lambda p: ("ema" not in p.lower(), len(p), p))


def _is_there(wanted: str, names: frozenset[str]) -> bool:
    return any(name.startswith(wanted) for name in names) if wanted.endswith(".") else wanted in names


def _has_rank(family: Family, shapes: Shapes, prefix: str) -> bool:
    return family.rank is None or len(shapes[prefix + family.signature[0]]) == family.rank


def _within(family: Family, prefixes: list[str], shapes: Shapes) -> Recognised:
    if latent := [name for name in shapes if name.startswith(_LATENT)]:
        raise BadCheckpoint(
            f"it is a latent diffusion model ({shown_some(latent)}): it samples codes of an autoencoder and no masks, "
            "and cannot be used here."
        )
    if family.read is None:
        raise refuse(family)
    prefix = prefixes[0]
    names = {name.removeprefix(prefix): name for name in shapes if name.startswith(prefix)}
    names = {own: name for own, name in names.items() if not is_bookkeeping(own)}
    average = _flat_average(names, prefix, shapes)
    taken = {*names.values(), *average.values()}
    copies = (*prefixes[1:], *(("model_ema.",) if average else ()))
    rest = [n for n in shapes if n not in taken and not is_bookkeeping(n) and not n.startswith(copies)]
    if rest and prefix:
        raise BadCheckpoint(
            f"it is {family.name} under the prefix {prefix!r}, but only as a part of a larger model that also holds "
            f"{shown_some(sorted(rest))}: what the parts do together is not known here, so it cannot be used."
        )
    notes = [f"the prefix {prefix!r} was removed from all names"] if prefix else []
    if average:
        notes.append("weights are the average of the weights (EMA) under 'model_ema.'")
    elif len(prefixes) > 1:
        others = ", ".join(repr(p) for p in prefixes[1:])
        notes.append(f"weights are those under {prefix!r}; the file also holds some under {others}")
    return Recognised(family, average or names, tuple(notes))


def _flat_average(names: Mapping[str, str], prefix: str, shapes: Shapes) -> dict[str, str]:
    """The average that latent-diffusion's LitEma keeps beside: the same names without their dots."""
    inner = prefix.removeprefix("model.").replace(".", "")
    flat = {own: f"model_ema.{inner}{own.replace('.', '')}" for own in names}
    return flat if all(name in shapes for name in flat.values()) else {}
