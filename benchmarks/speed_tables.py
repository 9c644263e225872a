"""The figures of docs/performance.md, from benchmarks/results.

    python benchmarks/speed_tables.py [--check]

Replaces what lies between the two marks in the page. `--check` changes nothing and fails where the page differs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from figures_page import FiguresPage, Record, table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MOST_MIB = 1536
_MOST_EXPONENT = 1.05


def figures(results: Path) -> str:
    """All sections in Markdown, a GPU's figures below a processor's; what has not been measured is said to be so."""
    sections = (
        ("Against the method as published", "speed", _rates),
        ("Waiting", "speed_runs", _runs),
        ("The viewer", "viewer", _viewer),
        ("How the time grows", "growth", _growth),
        ("Memory", "memory", _memory),
        ("Start", "startup", _start),
        ("Whether the masks are the same", "speed_agreement", _agreement),
        ("Steps that are left out", "early_stop", _early_stop),
        ("Beside an earlier build", "compare_builds", _builds),
    )
    parts, on_gpu = [], False
    for title, name, render in sections:
        body = _section(results / f"{name}.json", render) or "Not measured yet.\n"
        gpu = _section(results / f"{name}_gpu.json", render)
        on_gpu = on_gpu or gpu is not None
        parts.append(f"## {title}\n\n{body}" + (f"\n### On a GPU\n\n{gpu}" if gpu else ""))
    if not on_gpu:
        parts.append("## On a GPU\n\nNothing has been measured yet: `make bench-gpu` does it.\n")
    return "\n".join(parts)


def _section(path: Path, render: Callable[[Record], str]) -> str | None:
    if not path.exists():
        return None
    record = json.loads(path.read_text("utf-8"))
    return f"{render(record)}\n{_source(record)}"


def _source(record: Record) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    of = f"checkpoint sha256 {record['checkpoint']['sha256'][:12]}" if record["checkpoint"] else "random weights"
    busy = f"; other processes took {record['busy']:.0%} of the processor at the end" if "busy" in record else ""
    return f"`{record['command']}`; {record['date']}; {record['device']}; {versions}; {of}{busy}.\n"


def _rates(record: Record) -> str:
    rows = []
    for network in record["networks"]:
        size = " x ".join(map(str, network["size"]))
        name = f"{network['network']}, {size}, {network['gflop_a_member_step']:g} GFLOP"
        rows.append(_rate(name, "reference, fp32", network["reference"]))
        rows += [
            _rate("", f"{way}, {row['precision']}" + (" (its own batch)" if row["default"] else ""), row)
            for way, key in (("engine", "engine"), ("engine, compiled", "compiled"))
            for row in network.get(key, [])
        ]
        rows.append(_rate("", "engine, fp32", network["engine_fp32"]))
    products = "; ".join(
        f"{network['network']}: " + ", ".join(f"{rate:g} in {name}" for name, rate in network["matmul_gflops"].items())
        for network in record["networks"]
    )
    head = ["network", "way", "slices at once", "member-steps a second", "times the reference", "share of matmul"]
    return (
        "A member-step is one evaluation of one slice with noise and arithmetic of the sampler. The reference is batch "
        "1, float32, default memory format, one member after another. The share is the plain network's operations a "
        "second over those of a large matrix product in the same precision, timed in the same rounds (GFLOP/s: "
        f"{products}). {record.get('note', '')}\n\n" + table(head, rows)
    )


def _rate(network: str, way: str, row: Record) -> list[str]:
    times = f"{row['times_reference']:.2f}" if "times_reference" in row else "1"
    rate = row["member_steps_a_second"]
    return [network, way, str(row["batch"]), f"{rate:.3g}", times, f"{row['share_of_matmul']:.0%}"]


def _runs(record: Record) -> str:
    shape = " x ".join(map(str, record["case"]["shape"]))
    waits = [
        [
            name,
            str(w["slices"]),
            str(w["steps"]),
            *(_seconds(w.get(k)) for k in ("first_preview_s", "first_member_s", "all_s")),
        ]
        for name, w in record["waits"].items()
    ]
    return "\n".join(
        (
            f"The shipped case ({shape}), the network loaded; seconds from the request on.\n",
            table(["run", "slices", "steps", "first preview", "first member", "all"], waits),
        )
    )


def _viewer(record: Record) -> str:
    turns = [_spread(name, spread) for name, spread in record["gaps_ms"].items()]
    works = [_spread(name, spread) for name, spread in record["took_ms"].items()]
    found = [[name, f"{value:g}", f"{record['wanted'][name]:g}"] for name, value in record["found"].items()]
    return "\n".join(
        (
            "The shipped case in a napari window on a virtual screen, drawn by the processor; turns of "
            f"{record['seconds']:g} s, {record['rounds']} of each. Gaps between the beats of a timer of 1 ms in the "
            "window's event loop, in ms; a run counts from the click on Run, its layers' making included.\n",
            table(["turn", "p50", "p99", "worst", "count"], turns),
            "Work in the window's thread, in ms. Drawing the canvas comes after a preview and is what a graphics card "
            "does elsewhere.\n",
            table(["work", "p50", "p99", "worst", "count"], works),
            f"The engine made {record['previews_made_a_second']:g} previews a second.\n",
            table(["", "found", "wanted"], found),
        )
    )


def _spread(name: str, spread: Record) -> list[str]:
    return [name, *(f"{spread[key]:.1f}" for key in ("p50", "p99", "worst")), str(spread["count"])]


def _growth(record: Record) -> str:
    rows = [
        [name, ", ".join(map(str, g["counts"])), ", ".join(_seconds(s) for s in g["seconds"]), f"{g['exponent']:.2f}"]
        for name, g in record["growth"].items()
    ]
    return (
        "A small network, batches of one size; the exponent of the power law that fits best: 1 is in proportion, the "
        f"most wanted {_MOST_EXPONENT}.\n\n" + table(["number of", "", "seconds", "exponent"], rows)
    )


def _memory(record: Record) -> str:
    ways = {"files": "files", "viewer": "files and layers"}
    rows = [
        [ways[row["way"]], *(str(row[key]) for key in ("members", "loaded_mib", "above_loaded_mib", "seconds"))]
        for row in record["rows"]
    ]
    shape = " x ".join(map(str, record["shape"]))
    return (
        f"Peak memory of a fresh process above the loaded network, in MiB, for a case of {shape} voxels; wanted: 50 "
        f"members within {_MOST_MIB}. Here {record['how']}.\n\n"
        + table(["results in", "members", "loaded network", "above it", "seconds"], rows)
    )


def _start(record: Record) -> str:
    rows = [[f"{name}", f"{seconds:.2f}"] for name, seconds in record["start_s"].items()]
    return "Medians over fresh processes, files in the system's cache.\n\n" + table(["until it is there", "s"], rows)


def _agreement(record: Record) -> str:
    rows = [
        [
            f"{row['cases']} ({row['count']})",
            str(row["slices"]),
            row["path"],
            f"{row['lowest_consensus_dice']:.4f}",
            f"{row['members_changed']:.1e}",
            f"{row['mean_largest']:.2f}",
            f"{row['variance_largest']:.2f}",
            f"{row['variance_average']:.1e}",
        ]
        for row in record["rows"]
    ]
    head = ["cases", "slices", "engine in", "consensus Dice, lowest", "voxels of members that differ"]
    head += ["mean map, largest", "variance map, largest", "variance map, average"]
    return (
        f"{record['members']} members of the default steps, the same seeds, against the plain network in float32.\n\n"
        + table(head, rows)
    )


def _early_stop(record: Record) -> str:
    rows = []
    for row in record["rows"]:
        truth = row.get("dice_to_truth")
        rows.append(
            [
                row["case"],
                f"{row['times_faster']:.2f}",
                f"{row['steps_left_out']:.0%}",
                f"{row['where_no_lesion_was_expected']:.0%}",
                f"{row['consensus_dice']:.4f}",
                f"{row['consensus_voxels_that_differ']} of {row['consensus_voxels']}",
                f"{row['member_voxels_that_differ']} of {row['member_voxels']}",
                str(row["mean_voxels_that_differ"]),
                f"{row['largest_mean_difference']:.1f}",
                str(row["variance_voxels_that_differ"]),
                "{:.0f}, {:.0f}".format(*row["sum_of_variance"]),
                "-" if truth is None else "{:.4f}, {:.4f}".format(*truth.values()),
            ]
        )
    head = [
        "case",
        "times faster",
        "steps left out",
        "of them no lesion expected",
        "consensus Dice",
        "its voxels that differ",
    ]
    head += ["members' voxels that differ", "mean: voxels that differ", "mean: largest", "variance: voxels that differ"]
    head += ["sum of variance, all steps and without", "Dice to the truth, all steps and without"]
    return (
        f"{record['members']} members of whole cases with the same seeds, all steps against *stop early*; times are of "
        "the processor.\n\n" + table(head, rows)
    )


def _builds(record: Record) -> str:
    rows = [
        [
            row["what"],
            *(_seconds(row[key], 3) for key in ("earlier_s", "present_s")),
            *(_seconds(row.get(key)) for key in ("ratio", "processor_ratio")),
        ]
        for row in record["rows"]
    ]
    return (
        f"Build {record['earlier']} and build {record['present']} by turns in one run, medians of {record['rounds']}; "
        "above 1 the present one is faster.\n\n"
        + table(["what", "earlier, s", "present, s", "times faster", "times less of the processor"], rows)
    )


def _seconds(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


PAGE = FiguresPage("performance.md", "speed_tables.py", figures)


if __name__ == "__main__":
    PAGE.main(__doc__)
