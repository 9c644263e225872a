"""The tables of docs/evaluation.md, from the JSON files in benchmarks/results.

    python benchmarks/tables.py [--check]

Replaces what lies between the two marks in the page. `--check` changes nothing and fails where the page differs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from figures_page import FiguresPage, Record, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MEASURES = (
    ("Dice", "dice", 3),
    ("single mask", "single_dice", 3),
    ("GED²", "ged2", 3),
    ("HM-IoU", "hm_iou", 3),
    ("ECE, brain", "ece", 4),
    ("ECE, near", "ece_near", 4),
    ("AUROC", "auroc", 3),
)


def figures(results: Path) -> str:
    """All sections in Markdown; what has not been measured is said to be so."""
    sections: tuple[tuple[str, str, Callable[[Record], str]], ...] = (
        ("On new phantoms, by members", "phantom_ensemble", _members),
        ("By how much readers differ", "ambiguity", _ambiguity),
        ("What an exact sampler would score", "exact_sampler", _exact),
        ("Against plain U-Nets", "baseline_unet", _baseline),
        ("Against a plain U-Net of the checkpoint's size", "baseline_unet_large", _baseline),
        ("By sampler and steps", "sampling_steps", _steps),
        ("What short chains leave out", "rare_lesions", _rare_lesions),
        ("What each choice of the training is worth", "ablation", _ablation),
        ("On real cases", "real_cases", _cases),
        ("The same before, not refined", "real_cases_not_refined", _cases),
        ("The same before that, in one plane", "real_cases_one_plane", _cases),
        ("Refined by brightness", "refinement", _refinement),
        ("What harmless changes of a case cost", "robustness", _robustness),
        ("The same before, not refined, in one plane", "robustness_not_refined", _robustness),
        ("The same before that, with the rim shown", "robustness_rim_shown", _robustness),
        ("What other ways to prepare images would give", "preprocessing", _preprocessing),
    )
    parts = []
    for title, name, render in sections:
        path = results / f"{name}.json"
        body = "Not measured yet.\n"
        if path.exists():
            record = json.loads(path.read_text("utf-8"))
            body = f"{render(record)}\n{_source(record)}"
        parts.append(f"## {title}\n\n{body}")
    return "\n".join(parts)


def _source(record: Record) -> str:
    checkpoint = record.get("checkpoint") or record.get("sha256")
    digest = checkpoint["sha256"] if isinstance(checkpoint, dict) else checkpoint
    of = f"; checkpoint sha256 {digest[:12]}" if digest else ""
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    return f"`{record['command']}`; {record['date']}; {record['device']}; {versions}{of}.\n"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _measures(row: Record) -> list[str]:
    return [_number(row.get(key), digits) for _, key, digits in _MEASURES]


_HEAD = [name for name, _, _ in _MEASURES]


def _contrasts(record: Record) -> str:
    value = record.get("randomise")
    return ", contrasts as in training" if value is None else f", contrasts randomised by {value:g}"


def _members(record: Record) -> str:
    deep = record["by_members"]
    rows = [[str(row["members"]), str(deep["phantoms"]), *_measures(row)] for row in deep["rows"]]
    rows.append([f"**{record['members']}**", f"**{record['phantoms']}**", *_measures(record["ensemble"])])
    if record.get("smoothing_mm"):
        rows.append([f"{record['members']}, smoothed", str(record["phantoms"]), *_measures(record["smoothed"])])
    note = "" if record["complete"] else " Time ran out before all phantoms were sampled."
    return (
        f"{record['sampler']}, {record['steps']} steps, {record['precision']}; {record['slices']} slices of "
        f"{record['phantoms']} phantoms{_contrasts(record)}.{note} "
        f"Rows of {record['phantoms']} phantoms are of all of them, the others of the first ones."
        f"{_smoothing(record)}\n\n" + table(["members", "phantoms", *_HEAD], rows)
    )


def _smoothing(record: Record) -> str:
    mm = record.get("smoothing_mm")
    if not mm:
        return ""
    return f" Smoothed: by a Gaussian of {mm:g} mm, here in the plane alone, as slices lie far apart."


def _ambiguity(record: Record) -> str:
    rows = [
        [
            "drawn" if row["ambiguity"] is None else f"{row['ambiguity']:g}",
            _number(row["reader_dice"], 3),
            *_measures(row),
        ]
        for row in record["rows"]
    ]
    return (
        f"The same {record['phantoms']} phantoms{_contrasts(record)}, with boundaries over which readers differ more "
        f"or less; {record['members']} members, not smoothed. As drawn, each has its own, between 0.25 and 0.9.\n\n"
        + table(["ambiguity", "readers among themselves", *_HEAD], rows)
    )


def _exact(record: Record) -> str:
    rows = [[str(row["members"]), *_measures(row)] for row in record["rows"]]
    return (
        "Here the members are further readers, of the very distribution that the others come from: the ceiling. "
        "A network sees the images alone, which do not show all that readers of phantoms know. "
        f"{record['slices']} slices of {record['phantoms']} phantoms{_contrasts(record)}.\n\n"
        + table(["members", *_HEAD], rows)
    )


def _baseline(record: Record) -> str:
    training = record["training"]
    several, note = training["plain_networks"] > 1, training["note"].strip()
    rows = [
        [row["arm"] + (" (best)" if several and row["arm"] == record["best_plain"] else ""), *_measures(row)]
        for row in record["arms"]
    ]
    return (
        f"{_trained(training)}, batch {training['batch']}, on the same "
        f"{training['slices']} slices of {training['size'][0]} x {training['size'][1]} pixels of "
        f"{training['spacing_mm']:g} mm ({training['parameters'] / 1e6:.1f} M parameters); "
        f"{record['members']} members of {record['chain']['steps']} steps ({record['chain']['sampler']}); "
        f"{record['slices']} slices of {record['phantoms']} new phantoms{_contrasts(record)}. {note}\n\n"
        + table(["", *_HEAD], rows)
    )


def _trained(training: Record) -> str:
    count = training["plain_networks"]
    plain = f"{count} plain U-Net{'s' * (count > 1)} of {training['steps_each_plain']} steps{' each' * (count > 1)}"
    steps = training["steps_diffusion"]
    return plain if steps is None else f"{plain} and a diffusion network of {steps} steps"


def _steps(record: Record) -> str:
    rows = [[row["sampler"], str(row["steps"]), *_measures(row)] for row in record["rows"]]
    rows.append(["one evaluation, the mean itself", "1", *_measures(record["one_step_mean"])])
    near = "; ".join(
        f"{name}: {n['fewest']} steps (of {n['of']})" for name, n in record["fewest_steps_within_0.005"].items()
    )
    left = f" Left out for want of time: {'; '.join(record['left_out'])}." if record["left_out"] else ""
    return (
        f"{record['members']} members on {record['slices']} slices of {record['phantoms']} phantoms"
        f"{_contrasts(record)}, {record['precision']}. "
        f"At the last timestep x_T keeps {record['signal_left_at_last_timestep']:.1e} of the "
        f"mask, which is all that a shifted start puts back.{left}\n\n"
        + table(["sampler", "steps", *_HEAD], rows)
        + f"\nFewest steps from which on Dice and ECE stay within 0.005 of the sampler's longest chain: {near}.\n"
    )


def _ablation(record: Record) -> str:
    rows = [
        [
            row["variant"],
            str(row["seed"]),
            *(_number(row[key], n) for key, n in (("dice", 3), ("ged_squared", 3), ("ece", 4))),
        ]
        for row in record["rows"]
    ]
    note = "" if record["complete"] else " Not all variants were trained."
    height, width = record["size"]
    return (
        f"Preset `default` with one choice changed, in small: {record['steps']} steps of {record['batch']} slices of "
        f"{height} x {width} pixels of {record['spacing_mm']:g} mm, {record['training_phantoms']} phantoms; "
        f"{record['members']} members on {record['held_out_phantoms']} new ones. The order is meant, not the height. "
        f"What `default` gives with other seeds says which differences mean nothing.{note}\n\n"
        + table(["variant", "seed", "Dice", "GED²", "ECE, brain"], rows)
    )


def _cases(record: Record) -> str:
    keys = (
        ("Dice", "dice", 3),
        ("unsmoothed", "unsmoothed_dice", 3),
        ("single mask", "single", 3),
        ("one-step estimate", "expected_dice", 3),
        ("AUROC", "auroc", 3),
        ("unsmoothed", "unsmoothed_auroc", 3),
        ("AUROC, one-step", "expected_auroc", 3),
        ("ECE, brain", "ece", 4),
        ("unsmoothed", "unsmoothed_ece", 4),
        ("ECE, one-step", "expected_ece", 4),
    )
    rows = [[row["case"], *(_number(row.get(key), n) for _, key, n in keys)] for row in record["cases"]]
    mean = [_number(record.get(f"mean_{key}"), n) for _, key, n in keys]
    if "mean" in record:
        mean[0] = _number(record["mean"], 3)
    cases = table(["case", *(name for name, _, _ in keys)], [*rows, ["**mean**", *mean]])
    return _how(record) + cases + _other_masks(record)


def _refinement(record: Record) -> str:
    rows = []
    by_kind = {kind: [row for row in record["rows"] if _kind(row) == kind] for kind in map(_kind, record["rows"])}
    for kind, own in by_kind.items():
        both = [[row[way] for row in own] for way in ("not refined", "refined")]
        cells = [kind, str(len(own)), str(round(_mean(own, "truth")))]
        for measure, digits in (("dice", 3), ("voxels", 0), ("ece", 4)):
            for figures in both:
                is_empty = measure == "dice" and not _mean(own, "truth")
                cells.append("-" if is_empty else _number(_mean(figures, measure), digits))
        rows.append(cells)
    return (
        f"The same runs of {record['members']} members, summed up without the refinement by {record['refine_by']} and "
        "with it. Means over phantoms of 2 mm, every second one with faint oedema and look-alikes, against what more "
        "than half of all readers mark (ECE: against the exact probability), and over real cases.\n\n"
        + table(
            ["", "of", "voxels of truth", "Dice", "refined", "voxels marked", "refined", "ECE, brain", "refined"], rows
        )
    )


def _kind(row: Record) -> str:
    return str(row["case"] if row["kind"] == "real" else row["kind"])


def _mean(rows: list[Record], name: str) -> float:
    return float(sum(row[name] for row in rows) / len(rows))


def _other_masks(record: Record) -> str:
    """Of real cases: what other rules would make of the same probability."""
    found = [row["other_masks"] for row in record["cases"] if "other_masks" in row]
    if not found:
        return ""
    own = [row["dice"] for row in record["cases"]]
    columns = {"above 0.5 (as above)": own, **{name: [each[name] for each in found] for name in found[0]}}
    rows = [[name, _number(sum(dice) / len(dice), 3), _number(min(dice), 3)] for name, dice in columns.items()]
    return "\nOther masks of the same smoothed probability:\n\n" + table(["mask", "Dice", "lowest"], rows)


def _rare_lesions(record: Record) -> str:
    shares = list(record["rows"][0]["sampled"])
    rows = [
        [row["schedule"], row["sampler"], str(row["steps"]), *(f"{100 * row['sampled'][s]:.1f} %" for s in shares)]
        for row in record["rows"]
    ]
    return (
        f"A lesion of {record['pixels']} pixels that a known share of readers marks, as a whole, and how often chains "
        f"of a denoiser that makes no mistake mark it; {record['draws']} chains each. `linear` with masks of 0 and 1 "
        "is the paper's encoding, `cosine` with masks of -1 and 1 the shipped checkpoint's.\n\n"
        + table(["schedule", "sampler", "steps", *(f"marked by {100 * float(s):g} %" for s in shares)], rows)
    )


def _robustness(record: Record) -> str:
    keys = ("unchanged", "changed", "mean_loss", "largest_loss")
    rows = [
        [change, *(_number(row[k], 3) for k in keys), row["largest_loss_in"], _number(row["agreement"], 3)]
        for change, row in record["changes"].items()
    ]
    return (
        f"{record['cases']} cases, {record['measure']}{_refined(record)}, on "
        f"{'all slices' if record['every'] == 1 else 'one slice in ' + str(record['every'])}.{_left_out(record)} "
        "Dice with the truth on the "
        "same voxels as it is and changed; agreement is the Dice of the two masks.\n\n"
        + table(["change", "as it is", "changed", "loss", "largest loss", "in", "agreement"], rows)
    )


def _preprocessing(record: Record) -> str:
    keys = (("Dice", "dice", 3), ("lowest", "lowest", 3), ("AUROC", "auroc", 3), ("ECE, brain", "ece", 4))
    rows = [
        [row["images"], row["way"], f"{row['count']} {row['of']}", *(_number(row.get(key), n) for _, key, n in keys)]
        for row in record["ways"]
    ]
    return (
        f"The one-step estimate on one slice in {record['every']}. A bias field is a polynomial of place, fitted to "
        "the commonest tissue within the rim and divided by.\n\n"
        + table(["images", "prepared", "of", *(name for name, _, _ in keys)], rows)
    )


def _how(record: Record) -> str:
    """Of real cases: how they were smoothed, and which slices."""
    every = record.get("every", 1)
    slices = "" if every == 1 else f"One slice in {every}, as of a scan with gaps between its slices. "
    if not record.get("smoothing_mm"):
        return f"{slices}\n\n" if slices else ""
    longer = record["smoothing_mm"] * record.get("smoothing_slices", 1)
    across = "" if longer == record["smoothing_mm"] else f" ({longer:g} mm across slices)"
    smoothed = f"Smoothed by a Gaussian of {record['smoothing_mm']:g} mm{across}, but for what is called unsmoothed."
    return (
        f"{slices}{smoothed}{' The one-step estimate is' + _refined(record)[1:] + '.' if _refined(record) else ''}\n\n"
    )


def _refined(record: Record) -> str:
    by = record.get("refine_by")
    return f", refined by {by}" if by else ""


def _left_out(record: Record) -> str:
    left = record.get("left_out")
    return f" Left out: {left}." if left else ""


PAGE = FiguresPage("evaluation.md", "tables.py", figures)


if __name__ == "__main__":
    PAGE.main(__doc__)
