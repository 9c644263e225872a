"""The pieces of a page that needs nothing but itself: no script, no font, no picture from elsewhere."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NO_DEVICE: Final = "<p>A research tool; not a medical device.</p>"
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1, h2 { line-height: 1.2; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { border-bottom: 1px solid #ddd; padding: 0.25rem 0.5rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; }
figcaption { font-size: 13px; }
"""


def whole_page(title: str, parts: Iterable[str], *, style: str = "") -> str:
    """A page of parts that are HTML already.

    Parameters
    ----------
    title : str
        Of the window; escaped here.
    parts : iterable of str
        In their order.
    style : str
        Rules beside those that all pages have.
    """
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}{style}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def bullets(title: str, lines: Sequence[str]) -> str:
    """Lines under a title; nothing without lines."""
    if not lines:
        return ""
    return f"<h2>{title}</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text, the first their titles."""
    head, *body = [[escape(cell) for cell in row] for row in rows]
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in body]
    titles = "".join(f"<th>{cell}</th>" for cell in head)
    return f'<div class="wide"><table><tr>{titles}</tr>{"".join(f"<tr>{line}</tr>" for line in lines)}</table></div>'


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they are."""
    return f"<dl>{''.join(f'<dt>{escape(k)}</dt><dd>{escape(v)}</dd>' for k, v in pairs)}</dl>"


def number(value: float) -> str:
    """To four digits, whole ones whole; a dash for NaN."""
    if math.isnan(value):
        return "–"
    return str(int(value)) if float(value).is_integer() and abs(value) >= 2 else f"{value:.4g}"
