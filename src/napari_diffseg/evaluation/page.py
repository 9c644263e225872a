"""The report as one page that needs nothing but itself: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from napari_diffseg.evaluation import figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_diffseg.evaluation.report import Report
    from napari_diffseg.evaluation.snapshot import Snapshot

SHOWN = 3
"""How many of the best cases, and of the worst, are shown as pictures."""

_TABLE = {
    "dice": "Dice",
    "slice_dice_with_lesion": "Dice by slice, with lesion",
    "hd95_mm": "HD95 (mm)",
    "nsd_1mm": "NSD 1 mm",
    "nsd_2mm": "NSD 2 mm",
    "volume_error_ml": "Volume error (ml)",
    "members": "Members",
    "ged_squared": "GED²",
    "hungarian_iou": "HM-IoU",
    "d_max": "D max",
    "ece": "ECE",
    "brier": "Brier",
    "error_auroc": "AUROC of errors",
    "expected_error_auroc": "AUROC, expected mask",
    "aurc": "AURC",
    "qu_brats": "QU-BraTS",
}
_STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
h1, h2 {{ line-height: 1.2; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }}
th, td {{ border-bottom: 1px solid #ddd; padding: 0.25rem 0.5rem; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; }}
.wide {{ overflow-x: auto; }}
.figures {{ display: flex; flex-wrap: wrap; gap: 1rem; }}
figure {{ margin: 0; }}
figcaption {{ font-size: 13px; }}
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
    many = "case" if len(report.cases) == 1 else "cases"
    parts = [
        f"<h1>Evaluation of {len(report.cases)} {many}</h1>",
        "<p>A research tool; not a medical device.</p>",
        _problems(report),
        "<h2>Summary</h2>",
        _summary(report),
        "<h2>Curves</h2>",
        _curves(report),
        _pictures(snapshots),
        "<h2>Cases</h2>",
        _cases(report),
        _regions(report),
        "<h2>Rules</h2>",
        _definitions(report.rules.items()),
        "<h2>Settings</h2>",
        _definitions((name, "" if value is None else str(value)) for name, value in report.settings.items()),
        _definitions((name, value or "not installed") for name, value in report.versions.items()),
    ]
    head = f'<meta charset="utf-8"><title>Evaluation</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _problems(report: Report) -> str:
    lines = [f"{name}: not measured. {why}" for name, why in report.failed.items()]
    lines += [f"{name}: its truth is there, but no prediction." for name in report.without_prediction]
    return _list("Left out", lines)


def _regions(report: Report) -> str:
    lines = [f"{c.case}: calibration and errors on {c.region_voxels} voxels, {c.region}." for c in report.cases]
    lines += [f"{c.case}: {note}." for c in report.cases for note in c.notes]
    return _list("Notes", lines)


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _summary(report: Report) -> str:
    rows: list[tuple[str, ...]] = [("Measure", "Mean", "SD", "Median", "Least", "Greatest", "Cases", "Undefined")]
    for name, title in _TABLE.items():
        if (s := report.summary.get(name)) is not None:
            numbers = (s.mean, s.sd, s.median, s.least, s.greatest)
            rows.append((title, *(_number(v) for v in numbers), str(s.n), str(s.undefined)))
    return _table(rows)


def _cases(report: Report) -> str:
    there = [name for name in _TABLE if name in report.summary]
    rows: list[tuple[str, ...]] = [("Case", *(_TABLE[name] for name in there))]
    for case in report.cases:
        row = case.row()
        rows.append((case.case, *(_number(row.get(name, math.nan)) for name in there)))
    return _table(rows)


def _curves(report: Report) -> str:
    shown = []
    if report.reliability is not None:
        shown.append(("Reliability", figures.reliability_figure(report.reliability)))
    by_members = [c.dice_by_members for c in report.cases if c.dice_by_members]
    if by_members:
        shown.append(("Dice by number of members", figures.members_figure(by_members)))
    voxels = [c.errors.risk_coverage for c in report.cases if c.errors is not None]
    if voxels:
        shown.append(("Risk and coverage of voxels", figures.voxel_risk_figure(voxels)))
    if report.case_risk is not None:
        title, risk = "Cases by disagreement", "Mean of 1 - Dice"
        figure = figures.risk_figure(report.case_risk, title=title, kept="cases", risk=risk)
        shown.append(("Risk and coverage of cases", figure))
    pictures = "".join(f'<img alt="{escape(alt)}" src="{address}">' for alt, address in shown)
    return f'<div class="figures">{pictures}</div>' if shown else "<p>Neither members nor maps are there.</p>"


def _pictures(snapshots: Sequence[Snapshot]) -> str:
    ordered = sorted(snapshots, key=lambda s: (-s.dice, s.case))
    best = ordered[:SHOWN]
    worst = [s for s in reversed(ordered) if s not in best][:SHOWN]
    legend = (
        '<p>The slice on which lesion is largest, the patient\'s left on the left: <span class="truth">truth</span>, '
        '<span class="prediction">prediction</span>; beside it the uncertainty, black at 0, light at 0.3.</p>'
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


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [[escape(cell) for cell in row] for row in rows]
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in body]
    titles = "".join(f"<th>{cell}</th>" for cell in head)
    return f'<div class="wide"><table><tr>{titles}</tr>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def _definitions(pairs: Iterable[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(k)}</dt><dd>{escape(v)}</dd>' for k, v in pairs)}</dl>"


def _number(value: float) -> str:
    if math.isnan(value):
        return "–"
    return str(int(value)) if float(value).is_integer() and abs(value) >= 2 else f"{value:.4g}"
