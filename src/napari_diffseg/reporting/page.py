"""A run on one page."""

from __future__ import annotations

import shlex
from html import escape
from typing import TYPE_CHECKING, Final

from napari_diffseg.appearance import AGREEMENT, AGREEMENT_NAMES, Convention
from napari_diffseg.ensemble.lesions import describe_smallest
from napari_diffseg.ensemble.summary import Rule
from napari_diffseg.ensemble.volumes import interval_title
from napari_diffseg.evaluation.report.figures import data_address
from napari_diffseg.evaluation.report.html import NO_DEVICE, bullets, definitions, number, table, whole_page
from napari_diffseg.events import name_members
from napari_diffseg.reporting.pictures import convergence_figure, slice_picture, volume_figure
from napari_diffseg.runs.command_words import checkpoint_word, override_words, request_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_diffseg.ensemble.summary import Summary
    from napari_diffseg.reporting.sheet import Sheet
    from napari_diffseg.runs.record import RecordedRecipe, RunRecord

_STYLE: Final = """
pre { white-space: pre-wrap; background: #f4f4f4; padding: 0.5rem; }
img.slice { max-width: 100%; }
dt { font-weight: bold; }
@media print { figure { break-inside: avoid; } }
"""
_OF_CHECKPOINTS: Final = (Rule.MAJORITY, Rule.PROBABILITY)
"""Rules that `predict` can make a mask by; `export` knows the others, too."""


def make_run_page(sheet: Sheet) -> str:
    """The run as HTML.

    Parameters
    ----------
    sheet : Sheet
        The run.

    Returns
    -------
    str
        A whole page. All that comes from files is escaped.
    """
    record = sheet.record
    parts = [
        f"<h1>Segmentation of {escape(record.case)}</h1>",
        NO_DEVICE,
        bullets("Notes", _notes(sheet)),
        "<h2>Volume</h2>",
        _volume(sheet),
        "<h2>Slices</h2>",
        *_slices(sheet),
        "<h2>Lesions</h2>",
        _lesions(sheet),
        "<h2>How it was made</h2>",
        definitions(_settings(sheet)),
        "<h3>Again</h3>",
        f"<p>In a folder with {escape(_ingredients(record))}:</p>",
        f"<pre>{escape(again(record, sheet.summary))}</pre>",
    ]
    return whole_page(f"Segmentation of {record.case}", parts, style=_STYLE)


def again(record: RunRecord, summary: Summary | None = None) -> str:
    """The command that makes the same masks from a folder with the images, for a POSIX shell.

    Parameters
    ----------
    record : RunRecord
        What a run says of itself.
    summary : Summary, optional
        How the mask is made, as `Summary.of_run` gives it, where it is not as the run's own is.
    """
    resolved = {"sampler": record.sampler or None, "timesteps": record.timesteps}
    request = {**record.request, **{name: value for name, value in resolved.items() if value is not None}}
    word = checkpoint_word(record.checkpoint.file or "CHECKPOINT", record.checkpoint_digest)
    words = ["napari-diffseg", "predict", ".", "--checkpoint", word, "--out", "results"]
    if reference := _reference(record):
        words += ["--resample", reference]
    overrides = dict(record.checkpoint.overrides)
    if summary is not None and summary.smoothing_mm != record.smoothing_mm:
        overrides["smoothing_mm"] = summary.smoothing_mm
    if summary is not None and record.refined_by and not summary.refined:
        overrides["refine_by"] = "none"
    if summary is not None and summary.rule in _OF_CHECKPOINTS and summary.rule_word != record.own_rule:
        overrides["rule"] = summary.rule_word
    return shlex.join(words + request_words(request) + override_words(overrides))


def _notes(sheet: Sheet) -> list[str]:
    notes = list(sheet.record.warnings)
    if sheet.record.status != "complete":
        notes.insert(0, "The run was stopped before its end: what is here is its whole members.")
    if sheet.correction is not None:
        notes.insert(0, f"Volume, lesions, Dice and outlines are of the mask {_edited_words(sheet)}.")
    if len(sheet.findings.volumes.by_member) < 2:
        notes.append("One member has no uncertainty.")
    return notes


def _volume(sheet: Sheet) -> str:
    volumes = sheet.findings.volumes
    low, high = volumes.interval_ml
    count = len(volumes.by_member)
    text = f"{volumes.mean_ml:.2f} ml on average of {count} member{'s' if count > 1 else ''}"
    if count > 1:
        text += f"; {interval_title(count)} from {low:.2f} to {high:.2f} ml"
    if sheet.correction is not None:
        text = f"{sheet.correction.findings.volume_ml:.2f} ml in the mask edited by hand. Of the members: {text}"
    shown = [("Volume by member", volume_figure(volumes))]
    if sheet.findings.convergence.dice:
        shown.append(("How the majority settles", convergence_figure(sheet.findings.convergence)))
    pictures = "".join(f'<img alt="{alt}" src="{address}">' for alt, address in shown)
    return f'<p>{text}.</p>{_label_table(sheet)}<div class="figures">{pictures}</div>'


def _label_table(sheet: Sheet) -> str:
    """Volume and Dice of each label; nothing where the sentence above has said all."""
    first = sheet.labels[0]
    if len(sheet.labels) == 1 and first.edited is None and first.dice_to_truth is None:
        return ""
    count = len(sheet.findings.volumes.by_member)
    columns: list[tuple[str, list[str]]] = [
        ("Label", [label.name for label in sheet.labels]),
        ("Members (ml)", [_members_words(label.by_members, count) for label in sheet.labels]),
        ("Mask (ml)", [number(label.mask) for label in sheet.labels]),
    ]
    for title, values in (
        ("Edited (ml)", [label.edited for label in sheet.labels]),
        ("Dice, edited and mask", [label.dice_to_mask for label in sheet.labels]),
        ("Dice with ground truth", [label.dice_to_truth for label in sheet.labels]),
    ):
        known = [value for value in values if value is not None]
        columns += [(title, [number(value) for value in known])] if known else []
    heads, cells = zip(*columns, strict=True)
    return table([heads, *zip(*cells, strict=True)])


def _members_words(spread: tuple[float, tuple[float, float]], count: int) -> str:
    mean, (low, high) = spread
    return number(mean) if count < 2 else f"{number(mean)} ({interval_title(count)}: {number(low)} to {number(high)})"


def _edited_words(sheet: Sheet) -> str:
    assert sheet.correction is not None  # only then is it asked for
    record = sheet.correction.record
    told = [record.words, record.made_with and f"in {record.made_with}", record.changed and f"on {record.changed}"]
    changed = f"{record.voxels_added} voxels added, {record.voxels_removed} removed"
    return f"{', '.join(filter(None, told))}: {changed}"


def _slices(sheet: Sheet) -> Iterator[str]:
    behind = f"on {escape(sheet.image)}" if sheet.image else "on the mean of the members, as no image was given"
    who = "a member marks" if sheet.correction is None else "a member or the edited mask marks"
    yield (
        f"<p>{len(sheet.telling)} of {len(sheet.slices)} slices on which {who} something, {behind}. "
        f"{_sides(sheet)}Left: {_outlined(sheet)}. Middle: outlines of what more than {_agreement()} of the members "
        "mark. Right: the uncertainty, clear where it is 0. Orientation and colours are the panel's.</p>"
    )
    for index in sheet.telling:
        address = data_address("image/png", slice_picture(sheet, sheet.view(index)))
        yield f'<figure><img class="slice" alt="slice {index}" src="{address}"></figure>'


def _outlined(sheet: Sheet) -> str:
    of_labels = "" if len(sheet.labels) == 1 else " (each label in its colour)"
    if sheet.correction is None:
        return f"the mask{of_labels or ' (green)'}"
    return f"the mask edited by hand{of_labels or ' (pink)'}, dotted what the rule gives"


def _sides(sheet: Sheet) -> str:
    if not any(sheet.sides):
        return ""
    left = "right" if sheet.convention is Convention.RADIOLOGICAL else "left"
    doubt = " (the file does not state it)" if "?" in sheet.sides[0] else ""
    return f"The patient's left is on the {left} ({sheet.convention.value} view){doubt}. "


def _agreement() -> str:
    """Levels and colours of the outlines, such as `5 % (blue), 50 % (white), 95 % (yellow)`."""
    named = zip(AGREEMENT, AGREEMENT_NAMES, strict=True)
    return ", ".join(f"{100 * level:.0f} % ({name})" for level, name in named)


def _lesions(sheet: Sheet) -> str:
    """The table of lesions, with what is not in it: of the mask edited by hand, where there is one."""
    found = sheet.findings if sheet.correction is None else sheet.correction.findings
    if not found.components:
        return "<p>No member marks anything.</p>" if sheet.correction is None else "<p>The edited mask is empty.</p>"
    whose = "any member marks" if sheet.correction is None else "the mask edited by hand holds"
    left_out = describe_smallest(found.components, found.smallest_ml)
    said = f"<p>Connected components of what {whose}. {left_out}</p>"
    if not found.lesions:
        return said
    rows = [("Lesion", "Members that see it", "Volume (ml)", "Interval (ml)", "Interval of", "Voxel")]
    for n, lesion in enumerate(found.lesions, start=1):
        low, high = lesion.interval_ml
        title = interval_title(lesion.holders) if sheet.correction is None else ""
        interval = f"{number(low)} to {number(high)}" if title else ""
        place = ", ".join(map(str, lesion.voxel))
        seen = f"{lesion.holders} of {lesion.asked}"
        rows.append((str(n), seen, number(lesion.volume_ml), interval, title, place))
    shown = rows if sheet.correction is None else [(*row[:3], row[5]) for row in rows]
    return f"{said}{table(shown)}"


def _settings(sheet: Sheet) -> Iterator[tuple[str, str]]:
    record = sheet.record
    yield "mask", sheet.summary.words
    if sheet.smoothing_mm and sheet.summary.asks_for_probability:
        yield "Gaussian smoothing of the vote map", f"{sheet.smoothing_mm:g} mm"
        if "refined" in record.maps and sheet.summary.refined:
            yield "refinement", f"one-step estimate by brightness in {record.refined_by}"
    yield "uncertainty", sheet.summary.measure.title
    for name in ("sampler", "timesteps", "device", "precision", "began", "seconds"):
        if (value := getattr(record, name)) not in (None, ""):
            yield name, str(value)
    if record.settings.get("stop_early") == "on":
        yield "stop early", _left_out(record)
    if record.members_across:
        yield "second plane", f"{name_members(record.members_across)}: {record.plane_across} slices"
    yield "seed", str(record.request.get("seed", ""))
    yield "checkpoint", f"{record.checkpoint.file}, sha256 {record.checkpoint_digest}"
    yield from ((f"checkpoint's {name}", value) for name, value in _of_the_recipe(record.recipe) if value)
    for name, digest in record.inputs.items():
        yield f"image {name}", f"{record.files.get(name) or 'no file'}, content sha256 {digest}"
    yield "versions", ", ".join(f"{name} {value}" for name, value in record.versions.items())


def _left_out(record: RunRecord) -> str:
    """Steps that were left out, where the run could still say how many."""
    text = "steps of masks that were decided were left out"
    counts = [(part.unneeded, part.unneeded_empty or 0) for part in record.parts if part.unneeded is not None]
    if not counts:
        return text
    unneeded, empty = (sum(numbers) for numbers in zip(*counts, strict=True))
    return f"{text}: {empty} where no lesion was expected, {unneeded - empty} where masks no longer changed"


def _of_the_recipe(recipe: RecordedRecipe) -> Iterator[tuple[str, str]]:
    yield "title", recipe.title
    yield "modalities", ", ".join(recipe.modalities)
    yield "labels", ", ".join(recipe.labels)
    yield "trained on", recipe.trained_on
    yield "licence", recipe.licence


def _reference(record: RunRecord) -> str | None:
    """The modality on whose grid the images were brought; None where none was, or the command cannot say on whose."""
    references = set(record.resampled.values())
    return str(*references) if len(references) == 1 and references <= record.files.keys() else None


def _ingredients(record: RunRecord) -> str:
    """The images of the run, and those that it was to do without: one that is there would be taken."""
    files = ", ".join(name for name in record.files.values() if name) or "the images"
    if record.resampled and _reference(record) is None:
        files += f" ({', '.join(record.resampled)} resampled as for this run)"
    absent = [name for name in record.recipe.modalities if name not in record.inputs]
    return f"{files}, and no {' or '.join(absent)}" if absent and record.inputs else files
