"""All that can be known before the cases are encoded, which may take hours, is checked before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_diffseg.errors import BadCase, BadImage, BadRequest, Remedy
from napari_diffseg.networks.unet import UNet
from napari_diffseg.regions import CONVENTIONS, brats_convention, regions_described
from napari_diffseg.training.config import ANY_BRATS
from napari_diffseg.training.config_file import changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari_diffseg.training.config import TrainingConfig
    from napari_diffseg.training.source import CaseSource, Marked
    from napari_diffseg.training.split import Split


def check_network(config: TrainingConfig) -> None:
    """Build the network without memory, and show it an input of the recipe's size.

    Raises
    ------
    BadRecipe
        If the settings contradict each other.
    BadRequest
        If its levels cannot halve the size.
    ScheduleError
        If the noise schedule cannot be.
    """
    recipe, shape = config.recipe, config.network.unet_config(config.recipe)
    recipe.noise_schedule()
    if any(length % shape.size_multiple for length in recipe.size):
        rows, columns = (max(1, round(n / shape.size_multiple)) * shape.size_multiple for n in recipe.size)
        raise BadRequest(
            f"recipe.size {recipe.size[0]} x {recipe.size[1]} cannot be halved {shape.levels - 1} times, as the "
            f"{shape.levels} levels of network.channel_mult do: choose multiples of {shape.size_multiple}, such as "
            f"{rows} x {columns}, or fewer levels.",
            Remedy("recipe.size", f"[{rows}, {columns}]"),
        )
    with torch.device("meta"), torch.no_grad():
        UNet(shape)(torch.zeros(1, shape.in_channels, *recipe.size), torch.zeros(1))


def check_batch(config: TrainingConfig, processes: int) -> None:
    """Refuse a batch that processes cannot share evenly.

    Raises
    ------
    BadRequest
        If so.
    """
    settings = config.optimiser
    if settings.batch_size % (settings.accumulate * processes):
        raise BadRequest(
            f"A batch of {settings.batch_size} cannot be shared by {processes} processes in {settings.accumulate} "
            "parts: choose a multiple of both.",
            Remedy("optimiser.batch_size", str(settings.accumulate * processes)),
        )


def check_labels(config: TrainingConfig, source: CaseSource, split: Split) -> None:
    """Refuse labels and regions that no case that is trained on has; masks are read until all have been found.

    Raises
    ------
    BadRequest
        With the labels that there are.
    """
    files, wanted = config.data.region_files or {}, dict[str, frozenset[int]]()
    if config.data.lesion_labels is not None:
        wanted = {f"label {label}": frozenset({label}) for label in config.data.lesion_labels}
    else:
        for region in config.recipe.regions:
            if region.values and region.name not in files:
                labels = ", ".join(map(str, region.values))
                wanted[f"{region.name} (label{'s' * (len(region.values) > 1)} {labels})"] = frozenset(region.values)
    missing, own, there = dict(wanted), set(files), set[int]()
    for marked in _all_marked(source, split.train):
        there |= marked.labels
        missing = {name: labels for name, labels in missing.items() if not labels & there}
        own -= marked.regions
        if not (missing or own):
            return
    if own:
        name = min(own)
        raise BadRequest(
            f"No case has a mask of {name} that fits {files[name]}: correct the pattern.", Remedy("data.region_files")
        )
    found = f"their labels are {', '.join(map(str, sorted(there)))}" if there else "they are empty"
    setting = "data.lesion_labels" if config.data.lesion_labels is not None else "regions"
    raise BadRequest(
        f"No mask that is trained on holds {next(iter(missing))}: {found}. Name labels that are there.", Remedy(setting)
    )


def settled(config: TrainingConfig, source: CaseSource, *, say: Callable[[str], None]) -> TrainingConfig:
    """The settings with the regions of BraTS that the data tell, where they leave open of which year.

    What the data set itself calls its labels counts before what labels there are.

    Raises
    ------
    BadRequest
        If the labels fit several years or none, or there is no enhancing tumour.
    """
    if config.regions != ANY_BRATS:
        return config
    if described := regions_described(source.label_names()):
        values = "; ".join(f"{r.name} {', '.join(map(str, r.values))}" for r in described)
        say(f"The regions as the data set describes its labels: {values}.")
        known = next((name for name, regions in CONVENTIONS.items() if regions == described), None)
        own = {"labels": [r.name for r in described], "label_values": [r.values for r in described]}
        return changed(config, {"regions": known} if known else {"regions": "none", "recipe": own}, where="Regions")
    cases = source.split().cases
    say(f"Looking which labels the masks of {len(cases)} cases have.")
    labels = {label for marked in _all_marked(source, cases) for label in marked.labels}
    convention = brats_convention(labels)
    told = ", ".join(map(str, sorted(labels))) or "none"
    if convention is None:
        raise BadRequest(
            f"The labels of the masks are {told}, and none is enhancing tumour: choose other regions than those of "
            "BraTS."
        )
    say(f"The labels are {told}: regions {convention}.")
    return changed(config, {"regions": convention}, where="Regions")


def _all_marked(source: CaseSource, cases: Sequence[str]) -> Iterator[Marked]:
    """What is drawn in cases, one after another; of one that cannot be read, nothing."""
    for case in cases:
        try:
            yield source.marked(case)
        except (BadCase, BadImage, OSError):
            continue  # it is named when it is encoded
