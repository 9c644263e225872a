"""How long it takes until something is there: the command line, the reader, the panel, the network.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/startup.py [--repeats 5]

Every number is the median over fresh processes, with files in the system's cache. Without a display the panel is left
out.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Final

import torch
from cells import RESULTS, others_load, write_record
from options import parser

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint

_WHOLE: Final = {
    "napari-diffseg --help": "from napari_diffseg.cli import main; main(['--help'])",
    "the reader hook": "from napari_diffseg.plugin.files.reader import get_reader; get_reader('case_t1.nii.gz')",
    "the engine, PyTorch included": "import napari_diffseg.segmenting.segmenter",
    "an empty Python": "",
}
"""What a fresh process does, timed from outside."""

_TIMED: Final = """
import time
{before}
began = time.perf_counter()
{work}
print(time.perf_counter() - began)
{after}
"""
_PANEL: Final = {
    "before": "import napari; viewer = napari.Viewer(); from qtpy.QtWidgets import QApplication as Qt",
    "work": "viewer.window.add_plugin_dock_widget('napari-diffseg', 'Diffusion ensemble'); Qt.processEvents()",
    "after": "viewer.close()",
}
_LOAD: Final = {
    "before": "from napari_diffseg.plugin.session.engine import EngineCache\nEngineCache()('demo', {})",
    "work": "EngineCache()('demo', {}).checkpoint.network()",
    "after": "",
}
_FIRST_LOAD: Final = {
    "before": "from napari_diffseg.plugin.session.engine import EngineCache",
    "work": "EngineCache()('demo', {}).checkpoint.network()",
    "after": "",
}


def main() -> None:
    """Measure and write."""
    p = parser(__doc__)
    p.add_argument("--repeats", type=int, default=5)
    options = p.parse_args()
    start = {name: _median(options.repeats, code, inside=False) for name, code in _WHOLE.items()}
    inside = {"the shipped network, the first time": _FIRST_LOAD, "the shipped network, PyTorch loaded": _LOAD}
    if os.environ.get("DISPLAY"):
        inside["the panel, in an open napari"] = _PANEL
    start |= {name: _median(options.repeats, _TIMED.format(**parts), inside=True) for name, parts in inside.items()}
    figures = {"repeats": options.repeats, "start_s": start, "busy": others_load()}
    checkpoint = load_checkpoint(resolve_checkpoint("demo"))
    write_record(options.out or RESULTS / "startup.json", figures, checkpoint=checkpoint, device=torch.device("cpu"))
    print(json.dumps(figures, indent=1))


def _median(repeats: int, code: str, *, inside: bool) -> float:
    """Seconds of a process, or those it prints last; the first one only fills the system's cache."""
    taken = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        taken.append(float(done.stdout.splitlines()[-1]) if inside else time.perf_counter() - began)
    return round(statistics.median(taken[1:]), 3)


if __name__ == "__main__":
    main()
