"""A page of the docs that holds figures: what lies between its two marks is made from benchmarks/results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Record = dict[str, Any]
"""A result, as it stands in its JSON."""

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


class FiguresPage:
    """A page and the script that fills it.

    Parameters
    ----------
    name : str
        Of the page, in docs/.
    script : str
        Of the script, in benchmarks/; the marks name it.
    figures : callable
        What stands between the marks, from the folder of the results.
    """

    def __init__(self, name: str, script: str, figures: Callable[[Path], str]) -> None:
        self.path = HERE.parent / "docs" / name
        self.script = script
        self.figures = figures
        self.begin, self.end = f"<!-- figures: begin (python benchmarks/{script}) -->", "<!-- figures: end -->"

    def put(self, page: str, text: str) -> str:
        """The page with the text between its marks; ends the script where they are not there."""
        before, begin, rest = page.partition(self.begin)
        _, end, after = rest.partition(self.end)
        if not begin or not end:
            raise SystemExit(f"docs/{self.path.name} lacks {self.begin} or {self.end}: put them back.")
        return f"{before}{self.begin}\n\n{text}\n{self.end}{after}"

    def made(self, results: Path = RESULTS) -> str:
        """The page as the results want it."""
        return self.put(self.path.read_text("utf-8"), self.figures(results))

    def main(self, doc: str | None) -> None:
        """Write the page, or with --check only say whether it is up to date."""
        parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
        parser.add_argument("--check", action="store_true")
        parser.add_argument("--results", type=Path, default=RESULTS)
        options = parser.parse_args()
        made = self.made(options.results)
        if not options.check:
            self.path.write_text(made, "utf-8")
        elif made != self.path.read_text("utf-8"):
            raise SystemExit(f"docs/{self.path.name} is not what the results say: run python benchmarks/{self.script}.")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
