"""The report as one page that needs nothing but itself: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from napari_diffseg.evaluation.report import figures
from napari_diffseg.evaluation.report.html import NO_DEVICE, bullets, definitions, number, table, whole_page
from napari_diffseg.evaluation.report.report import column_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_diffseg.evaluation.report.report import Report, Summary
    from napari_diffseg.evaluation.report.snapshot import Snapshot

SHOWN = 3
"""How many of the best cases, and of the worst, are shown as pictures."""

_TABLE = {
    "dice": "Dice",
    "slice_dice_with_lesion": "Dice by slice, with lesion",
    "hd95_mm": "HD95 (mm)",
    "hd95_brats_mm": "HD95, BraTS (mm)",
    "lesion_dice": "Lesion-wise Dice",
    "lesion_hd95_mm": "Lesion-wise HD95 (mm)",
    "lesions_missed": "Lesions missed",
    "lesions_false": "False lesions",
    "nsd_1mm": "NSD 1 mm",
    "nsd_2mm": "NSD 2 mm",
    "volume_error_ml": "Volume error (ml)",
    "members": "Members",
    "ged_squared": "GED²",
    "hungarian_iou": "HM-IoU",
    "d_max": "D max",
    "ece": "ECE",
    "brier": "Brier",
    "mean_ece": "ECE, members' mean",
    "error_auroc": "AUROC of errors",
    "probability_error_auroc": "AUROC, smoothed probability",
    "expected_error_auroc": "AUROC, one-step estimate",
    "aurc": "AURC",
    "qu_brats": "QU-BraTS",
}

_OUTLINES = f"""
.truth {{ color: {figures.TRUTH_COLOUR}; font-weight: bold; }}
.prediction {{ color: {figures.PREDICTION_COLOUR}; font-weight: bold; }}
"""


def make_page(report: Report, snapshots: Sequence[Snapshot]) -> str:
    """The report as HTML.

    Parameters
    ----------
    report : Report
        With at least one case.
    snapshots : sequence of Snapshot
        One a case; the best and the worst are shown.

    Returns
    -------
    str
        A whole page. All names that come from files are escaped.
    """
    count = len({case.case for case in report.cases})
    many = "case" if count == 1 else "cases"
    parts = [
        f"<h1>Evaluation of {count} {many}</h1>",
        NO_DEVICE,
        _problems(report),
        "<h2>Summary</h2>",
        _summary(report),
        "<h2>Curves</h2>",
        _curves(report),
        _steps(report),
        _pictures(snapshots),
        "<h2>Cases</h2>",
        _cases(report),
        _notes(report),
        "<h2>Rules</h2>",
        definitions(report.rules.items()),
        "<h2>Settings</h2>",
        definitions((name, "" if value is None else str(value)) for name, value in report.settings.items()),
        definitions((name, value or "not installed") for name, value in report.versions.items()),
    ]
    return whole_page("Evaluation", parts, style=_OUTLINES)


def _problems(report: Report) -> str:
    lines = [f"{name}: not measured. {why}" for name, why in report.failed.items()]
    lines += [f"{name}: its truth is there, but no prediction." for name in report.without_prediction]
    return bullets("Left out", lines)


def _notes(report: Report) -> str:
    lines = [
        f"{f'{c.case}, {c.label}' if c.label else c.case}: {f'mask by {c.made_by}; ' if c.made_by else ''}"
        f"calibration of the {c.calibrated}, and errors, on {c.region_voxels} voxels, {c.region}."
        for c in report.cases
    ]
    lines += [f"{note}." for note in report.notes]
    lines += [f"{c.case}: {note}." for c in report.cases for note in c.notes]
    return bullets("Notes", list(dict.fromkeys(lines)))


def _summary(report: Report) -> str:
    """A table for each region, where there are several, after one of their means side by side."""
    if not report.regions:
        return _summary_of(report, "")
    means = [("Mean", *report.regions)]
    for name, title in _TABLE.items():
        found = [report.summary.get(column_of(region, name)) for region in report.regions]
        if any(found):
            means.append((title, *("" if s is None else _with_undefined(s) for s in found)))
    each = [f"<h3>{escape(region)}</h3>{_summary_of(report, region)}" for region in report.regions]
    return table(means) + "".join(each)


def _with_undefined(summary: Summary) -> str:
    missing = f" (undefined in {summary.undefined})" if summary.undefined else ""
    return f"{number(summary.mean)}{missing}"


def _summary_of(report: Report, region: str) -> str:
    rows: list[tuple[str, ...]] = [("Measure", "Mean", "SD", "Median", "Least", "Greatest", "Cases", "Undefined")]
    for name, title in _TABLE.items():
        if (s := report.summary.get(column_of(region, name))) is not None:
            numbers = (s.mean, s.sd, s.median, s.least, s.greatest)
            rows.append((title, *(number(v) for v in numbers), str(s.n), str(s.undefined)))
    return table(rows)


def _cases(report: Report) -> str:
    regions = report.regions or ("",)
    tables = []
    for region in regions:
        there = [name for name in _TABLE if column_of(region, name) in report.summary]
        rows: list[tuple[str, ...]] = [("Case", *(_TABLE[name] for name in there))]
        for case in report.cases:
            if case.label == region:
                row = case.row()
                rows.append((case.case, *(number(row.get(name, math.nan)) for name in there)))
        tables.append((f"<h3>{escape(region)}</h3>" if region else "") + table(rows))
    return "".join(tables)


def _steps(report: Report) -> str:
    if not report.by_steps:
        return ""
    rows: list[tuple[str, ...]] = [("Sampler", "Steps", "Cases", "Dice", "ECE", "GED²")]
    for s in report.by_steps:
        numbers = (number(v) for v in (s.mean_dice, s.ece, s.ged_squared))
        rows.append((s.sampler, str(s.timesteps), str(s.cases), *numbers))
    return f"<h2>By steps</h2>{table(rows)}"


def _curves(report: Report) -> str:
    shown = []
    if report.reliability is not None and not report.regions:
        shown.append(("Reliability", figures.reliability_figure(report.reliability, of=_calibrated(report))))
    for region, curve in report.reliability_by_region.items():
        of = f"{region}, {_calibrated(report)}"
        shown.append((f"Reliability, {region}", figures.reliability_figure(curve, of=of)))
    if report.by_steps:
        shown.append(("Dice by number of steps", figures.steps_figure(report.by_steps)))
    first = [c for c in report.cases if c.label == report.cases[0].label]
    by_members = [c.dice_by_members for c in first if c.dice_by_members]
    if by_members:
        shown.append(("Dice by number of members", figures.members_figure(by_members)))
    voxels = [c.errors.risk_coverage for c in first if c.errors is not None]
    if voxels:
        shown.append(("Risk and coverage of voxels", figures.voxel_risk_figure(voxels)))
    if report.case_risk is not None:
        title, risk = "Cases by disagreement", "Mean of 1 - Dice"
        figure = figures.risk_figure(report.case_risk, title=title, kept="cases", risk=risk)
        shown.append(("Risk and coverage of cases", figure))
    pictures = "".join(f'<img alt="{escape(alt)}" src="{address}">' for alt, address in shown)
    return f'<div class="figures">{pictures}</div>' if shown else "<p>Neither members nor maps are there.</p>"


def _calibrated(report: Report) -> str:
    """Which maps the pooled reliability curve is of."""
    return " or ".join(dict.fromkeys(c.calibrated for c in report.cases if c.calibration is not None))


def _pictures(snapshots: Sequence[Snapshot]) -> str:
    ordered = sorted(snapshots, key=lambda s: (-s.dice, s.case))
    best = ordered[:SHOWN]
    worst = [s for s in reversed(ordered) if s not in best][:SHOWN]
    legend = (
        "<p>The slice on which lesion is largest, the patient's left on the right (radiological): "
        '<span class="prediction">prediction</span>, <span class="truth">ground truth</span>; beside it the '
        "uncertainty in the panel's colours, clear at 0, light at 0.5.</p>"
    )
    groups = [("Best cases" if worst else "Cases in pictures", best), ("Worst cases", worst)]
    return legend.join(["<h2>Pictures</h2>", ""]) + "".join(_gallery(title, group) for title, group in groups if group)


def _gallery(title: str, group: Sequence[Snapshot]) -> str:
    shown = []
    for s in group:
        caption = f"{escape(s.case)}, slice {s.index}: Dice {s.dice:.3f}"
        picture = f'<img alt="{caption}" src="{figures.snapshot_figure(s)}">'
        shown.append(f"<figure>{picture}<figcaption>{caption}</figcaption></figure>")
    return f'<h3>{title}</h3><div class="figures">{"".join(shown)}</div>'
