"""Which families of checkpoints can be used: random weights of each, made by its own code, and what is made of them.

For each family that can be used: whether it is recognised, whether `info` and `predict` end well, and how far one
evaluation and a whole DDIM chain are from those of its own code. For each that cannot: what is said. Prints a table for
docs/checkpoints.md and writes the figures to benchmarks/results/checkpoint_families.json.

The networks are those of tests/checkpoint, and MedSegDiff's numbers those of scripts/golden_medsegdiff.py.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from cells import write_record

from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.checkpoint.families.recognition import FAMILIES
from napari_diffseg.cli import main as command_line
from napari_diffseg.errors import DiffsegError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "checkpoint_families.json"
SIZE = 32
TWO = {"modalities": "t1,flair", "size": f"{SIZE},{SIZE}"}

sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "checkpoint")]


def main() -> None:
    """Try every family, print the table and keep the figures."""
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        case = importlib.import_module("builders").write_case(folder / "case", shape=(40, 36, 4))
        rows = [_used(row, case, folder / str(i)) for i, row in enumerate(_usable(folder))]
        rows += [_refused(family, folder) for family in FAMILIES if family.read is None]
    write_record(RESULT, {"rows": rows}, checkpoint=None, device=torch.device("cpu"))
    sys.stdout.write(table(rows))


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| family | recognised | `info` says what it is | `predict` | panel | one evaluation | DDIM chain | refused, "
        "because |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (row["family"], _yes(row["recognised"]), _yes(row["info"]), _yes(row["predict"]), _yes(row["panel"]))
        figures = (_number(row["evaluation"]), _number(row["chain"]))
        lines.append(f"| {' | '.join((*cells, *figures, row['refused'] or '–'))} |")
    return "\n".join(lines) + "\n"


def _usable(folder: Path) -> Iterator[dict[str, Any]]:
    """Files of the families that can be used, and how far our numbers are from their own code's."""
    foreign = importlib.import_module("foreign")
    core, old = foreign.calm(foreign.monai_network("heads")), foreign.calm(foreign.monai_network("heads"))
    torch.save(core.state_dict(), folder / "core.pt")
    torch.save(foreign.old_names(old.state_dict()), folder / "old.pt")
    model = foreign.calm(foreign.diffusers_network())
    pipeline = foreign.save_pipeline(folder / "pipeline", model)
    heads = {"num_head_channels": "8"}
    yield _row("MONAI DiffusionModelUNet", folder / "core.pt", TWO | heads, lambda x, t: core(x, t))
    yield _row("the same, of GenerativeModels", folder / "old.pt", TWO | heads, lambda x, t: old(x, t))
    yield _row("diffusers UNet2DModel", pipeline, TWO, lambda x, t: model(x, t).sample)
    yield _medsegdiff(folder)
    authors = {"modalities": "t1,t1ce,t2,flair", "size": f"{SIZE},{SIZE}"}
    yield _row("guided-diffusion (the authors' code)", ROOT / "tests" / "data" / "golden" / "plain.pt", authors, None)


def _row(
    family: str,
    path: Path,
    overrides: dict[str, str],
    theirs: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {"family": family, "path": path, "overrides": overrides, "evaluation": None, "chain": None}
    if theirs is not None:
        given = {name: value.split(",") for name, value in overrides.items() if name != "num_head_channels"}
        heads = {name: int(value) for name, value in overrides.items() if name == "num_head_channels"}
        loaded = load_checkpoint(path, **given, **heads)
        generator = torch.Generator().manual_seed(0)
        image, x = torch.randn(1, 2, 16, 16, generator=generator), torch.randn(1, 1, 16, 16, generator=generator)
        t = torch.tensor([500])
        both = torch.cat([image, x], dim=1)
        row["evaluation"] = float((loaded.network()(both, t) - theirs(both, t)).abs().max())
        row["chain"] = _chain_error(loaded, theirs, image, x)
    return row


def _chain_error(loaded: Any, theirs: Any, image: torch.Tensor, x: torch.Tensor) -> float:
    """Of 10 steps of DDIM against diffusers' scheduler, which goes by the same formula as MONAI's."""
    scheduler = importlib.import_module("diffusers").DDIMScheduler(clip_sample=loaded.recipe.clip is not None)
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas.double(), dim=0)
    scheduler.set_timesteps(10)
    recipe = loaded.recipe.model_copy(update={"timestep_spacing": "leading"})
    ours = importlib.import_module("test_monai_and_diffusers").chain(_With(loaded, recipe), image, x, 10)
    for t in scheduler.timesteps:
        predicted = theirs(torch.cat([image, x], dim=1), t[None])
        x = scheduler.step(predicted, t, x).prev_sample
    return float((ours - x).abs().max())


class _With:
    """A checkpoint with another recipe."""

    def __init__(self, loaded: Any, recipe: Any) -> None:
        self.network, self.recipe = loaded.network, recipe


def _medsegdiff(folder: Path) -> dict[str, Any]:
    module = importlib.import_module("test_medsegdiff")
    config = module.replace(module.SMALL, model_channels=128, attention_factors=(2,))
    path = folder / "emasavedmodel_0.9999_000100.pt"
    torch.save(module.drawn(config), path)
    x = torch.from_numpy(np.random.RandomState(8).standard_normal((2, 5, 32, 64)).astype(np.float32))
    out = load_checkpoint(path).network()(x, torch.tensor([10, 700]))[:, :, ::4, ::8].numpy()
    error = float(np.abs(out - np.load(module.GOLDEN)["y"]).max())
    row = _row("MedSegDiff, version new", path, {"size": f"{SIZE},{SIZE}"}, None)
    return row | {"evaluation": error}


def _used(row: dict[str, Any], case: Path, out: Path) -> dict[str, Any]:
    path, overrides = row.pop("path"), row.pop("overrides")
    options = [word for name, value in overrides.items() for word in (f"--{name.replace('_', '-')}", value)]
    run = ["--out", str(out), "--members", "1", "--timesteps", "2", "--device", "cpu"]
    said = {"modalities": overrides["modalities"].split(",")} if "modalities" in overrides else {}
    family = load_checkpoint(path, **said).family
    return row | {
        "recognised": row["family"] == family or row["family"].startswith("the same"),
        "info": _runs(["info", str(path), *options]),
        "predict": _runs(["predict", str(case), "--checkpoint", str(path), *run, *options]),
        "panel": _runs_in_panel(path, overrides, case, out.with_name(f"{out.name}-panel")),
        "refused": "",
    }


def _runs_in_panel(path: Path, overrides: dict[str, str], case: Path, runs: Path) -> bool:
    """Whether the panel's session loads a checkpoint, takes the case's layers and samples a member to its end."""
    from napari.layers import Layer

    from napari_diffseg.plugin.files.reader import read_layers
    from napari_diffseg.plugin.session.session import Session

    session = Session(launch=lambda target, _stop: target(), runs_folder=runs)
    failed: list[str] = []
    session.failed.connect(lambda sentence, _error: failed.append(sentence))
    said = {name: json.loads(f"[{value}]") for name, value in overrides.items() if name != "modalities"}
    said = {name: values if values[1:] else values[0] for name, values in said.items()}
    if "modalities" in overrides:
        said["modalities"] = overrides["modalities"].split(",")
    session.choose_checkpoint(str(path), said)
    session.poll()
    layers = [Layer.create(*data) for data in read_layers([str(case)])]
    for modality in session.recipe.modalities:
        session.assign(modality, next(layer for layer in layers if layer.name.split()[-1] == modality))
    for name, setting in (("members", 1), ("timesteps", 2), ("device", "cpu")):
        session.set_value(name, setting)
    session.start()
    session.poll()
    for sentence in failed:
        sys.stderr.write(f"{path} in the panel: {sentence}\n")
    return not failed and bool(list(runs.glob("*/members/member-001.nii.gz")))


def _runs(words: list[str]) -> bool:
    """Whether a command ends well."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        done = command_line(words) == 0
    if not done:
        sys.stderr.write(f"{' '.join(words)}: {said.getvalue()}\n")
    return done


def _refused(family: Any, folder: Path) -> dict[str, Any]:
    shape = (2,) * (family.rank or 2)
    names = [part + "weight" if part.endswith(".") else part for part in family.signature]
    torch.save({name: torch.zeros(shape) for name in names}, folder / "refused.pt")
    said = ""
    try:
        load_checkpoint(folder / "refused.pt")
    except DiffsegError as err:
        said = str(err)
    return {
        "family": family.name,
        "recognised": family.name in said,
        "info": family.name in said,
        "predict": False,
        "panel": False,
        "evaluation": None,
        "chain": None,
        "refused": family.refusal if family.refusal in said else "",
    }


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"


if __name__ == "__main__":
    main()
