"""Peak memory above the loaded model against the number of members, on a case of 240 x 240 x 155 voxels.

    python benchmarks/memory.py [--device cpu] [--members 1,5,20,50,200] [--shape 240,240,155]

Each number is that of a fresh process (`memory_process.py`), once as the command line does it and once with the result
layers of the panel as well.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

from cells import RESULTS, write_record
from options import parser

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.segmenting.device.choose_device import resolve_device

_HERE = Path(__file__).resolve().parent
_HOW = (
    "the first member is sampled by the engine on all slices, in one step and with previews; the others are that "
    "member shifted by some voxels, slice batch by slice batch; run folder, ensemble, maps, layers and what is "
    "measured at the end are the product's own"
)


def main() -> None:
    """Measure and write."""
    p = parser(__doc__)
    p.add_argument("--members", default="1,5,20,50,200")
    p.add_argument("--shape", default="240,240,155")
    options = p.parse_args()
    shape = [int(n) for n in options.shape.split(",")]
    device = resolve_device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        case = Path(folder) / "phantom"
        _ask("write", str(case), options.shape)  # not in this process: what it takes would be inherited
        rows = []
        for way, members in product(("files", "viewer"), options.members.split(",")):
            run = Path(folder) / f"{way}-{members}"
            answer = _ask(way, members, str(case), str(run), options.checkpoint, device.type)
            rows.append({"way": way, "members": int(members)} | answer)
    figures: dict[str, Any] = {"shape": shape, "how": _HOW, "rows": rows}
    name = "memory.json" if device.type == "cpu" else "memory_gpu.json"
    checkpoint = load_checkpoint(resolve_checkpoint(options.checkpoint))
    write_record(options.out or RESULTS / name, figures, checkpoint=checkpoint, device=device)
    print(json.dumps(figures, indent=1))


def _ask(*arguments: str) -> dict[str, Any]:
    """What a fresh process prints."""
    command = [sys.executable, str(_HERE / "memory_process.py"), *arguments]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    answer: dict[str, Any] = json.loads(printed.splitlines()[-1])
    print(json.dumps(answer), flush=True)
    return answer


if __name__ == "__main__":
    main()
