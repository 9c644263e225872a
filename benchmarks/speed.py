"""How fast members are sampled: the method as published, one after another in float32, against the engine's way.

    python benchmarks/speed.py [--networks demo,paper] [--device auto] [--rounds 5] [--compiled]

Every round times a large matrix product, the reference (plain network, batch 1, float32, PyTorch's default memory
format) and the engine's network at several batch sizes, one after the other, so that whatever else the machine does
hits all alike; figures are medians over rounds. With `--compiled` each network is compiled first, and measured so as
well, at the same batch sizes in the same rounds. The paper's network has random weights. Writes
`benchmarks/results/speed.json`, on a GPU `speed_gpu.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from cells import RESULTS, others_load, write_record
from torch.utils.flop_counter import FlopCounterMode

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint
from napari_diffseg.diffusion.ddim import sample_ddim
from napari_diffseg.diffusion.denoiser import ConditionedDenoiser
from napari_diffseg.diffusion.noise import SeededNoise
from napari_diffseg.diffusion.schedule import make_schedule, respaced_timesteps
from napari_diffseg.networks.compiled_unet import compile_unet
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.networks.unet import UNet, to_inference
from napari_diffseg.recipe import PAPER
from napari_diffseg.segmenting.device.choose_device import precision_name, resolve_device, resolve_precision
from napari_diffseg.segmenting.device.heap import freed_memory_kept
from napari_diffseg.segmenting.device.memory import choose_batch_size
from napari_diffseg.segmenting.device.prepare import is_compiled, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.recipe import Recipe
    from napari_diffseg.segmenting.device.prepare import Prepared

_PAPER = UNetConfig(
    in_channels=5,
    model_channels=128,
    out_channels=2,
    num_res_blocks=2,
    attention_factors=(16,),
    channel_mult=(1, 1, 2, 2, 4, 4),
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A network to measure: how to make a fresh copy, what it is used by, and how many steps a round takes."""

    name: str
    make: Callable[[], UNet]
    recipe: Recipe
    steps: int


def main() -> None:
    """Measure and write."""
    options = _options()
    device = resolve_device(options.device)
    checkpoint = load_checkpoint(resolve_checkpoint("demo"))
    subjects = {
        "demo": Subject("shipped", checkpoint.network, checkpoint.recipe, checkpoint.recipe.timesteps),
        "paper": Subject("paper's", _paper_network, PAPER, 2),
    }
    batches = [int(b) for b in options.batches.split(",")] if options.batches else None
    with torch.inference_mode(), freed_memory_kept():
        rows = [
            _measure(subjects[name], device, rounds=options.rounds, batches=batches, compiled=options.compiled)
            for name in options.networks.split(",")
        ]
    out = options.out or RESULTS / ("speed.json" if device.type == "cpu" else "speed_gpu.json")
    figures = {"rounds": options.rounds, "busy": others_load(), "networks": rows}
    write_record(out, figures, checkpoint=checkpoint, device=device)
    print(json.dumps(rows, indent=1))


def _options() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    p.add_argument("--networks", default="demo,paper")
    p.add_argument("--device", default="auto")
    p.add_argument(
        "--batches", default="", help="rows at once, such as 1,4,16; by default up to twice the engine's own"
    )
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--compiled", action="store_true", help="compile each network first, and measure it so as well")
    p.add_argument("--out", type=Path)
    return p.parse_args()


def _measure(
    subject: Subject, device: torch.device, *, rounds: int, batches: list[int] | None, compiled: bool = False
) -> dict[str, Any]:
    config = subject.make().config
    dtype = resolve_precision("auto", device)
    size = subject.recipe.size
    own = choose_batch_size(config, size, device, threads=torch.get_num_threads())
    most = own if device.type == "cuda" else 2 * own  # where "own" is what memory allows
    batches = batches or sorted({1, *(max(1, own // k) for k in (4, 2)), own, most})
    exact_batch = max(1, own // 2) if device.type == "cuda" else own
    works: dict[str, Callable[[], object]] = {
        f"matmul {precision_name(d)}": _matmul(d, device) for d in dict.fromkeys((torch.float32, dtype))
    }
    plain = to_inference(subject.make(), memory_format=torch.contiguous_format).to(device)
    fast = prepare(subject.make(), size, device=device, dtype=dtype)
    exact = prepare(subject.make(), size, device=device, dtype=torch.float32)
    compiling, machine_code = _compiled(subject, device, dtype) if compiled else (None, None)
    works["reference"] = _chain(plain, subject, 1, device)
    works |= {f"engine {b}": _chain(fast, subject, b, device) for b in batches}
    if machine_code is not None:
        works |= {f"compiled {b}": _chain(machine_code, subject, b, device) for b in batches}
    works[f"engine fp32 {exact_batch}"] = _chain(exact, subject, exact_batch, device)
    seconds = _timed(works, rounds, device)
    seconds |= {name: s / subject.steps for name, s in seconds.items() if not name.startswith("matmul")}
    flop = _flop(config, size)
    peak = {d: _MATMUL_FLOP[device.type] / seconds[f"matmul {d}"] for d in ("fp32", precision_name(dtype))}
    own_way = {
        way: [
            {"precision": precision_name(dtype), "default": b == own}
            | _figures(b, seconds[f"{way} {b}"], flop, peak[precision_name(dtype)], seconds["reference"])
            for b in batches
        ]
        for way in ("engine", *(["compiled"] if compiled else []))
    }
    return {
        "network": subject.name,
        "size": list(size),
        "gflop_a_member_step": round(flop / 1e9, 2),
        "matmul_gflops": {name: round(value / 1e9, 1) for name, value in peak.items()},
        "reference": _figures(1, seconds["reference"], flop, peak["fp32"], None),
        "engine_fp32": _figures(
            exact_batch, seconds[f"engine fp32 {exact_batch}"], flop, peak["fp32"], seconds["reference"]
        ),
        **own_way,
        **({"compiled_in_s": round(compiling, 1)} if compiling is not None else {}),
    }


def _compiled(subject: Subject, device: torch.device, dtype: torch.dtype) -> tuple[float, Prepared]:
    """Seconds that the compiler took, and the network as the engine uses what it made."""
    size, began = subject.recipe.size, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "network.pt2"
        compile_unet(to_inference(subject.make(), dtype).to(device), size, package)
        seconds = time.perf_counter() - began
        network = prepare(subject.make(), size, device=device, dtype=dtype, package=package)
    if not is_compiled(network):
        raise SystemExit(f"{subject.name}: what was compiled cannot be used; the log says why")
    return seconds, network


def _figures(batch: int, seconds: float, flop: float, peak: float, reference_s: float | None) -> dict[str, Any]:
    """Of one step of `seconds`; the share counts the plain network's operations, whatever was left out."""
    rate = batch / seconds
    figures = {
        "batch": batch,
        "member_steps_a_second": round(rate, 2),
        "ms_a_member_step": round(1e3 / rate, 2),
        "share_of_matmul": round(rate * flop / peak, 3),
    }
    return figures if reference_s is None else figures | {"times_reference": round(rate * reference_s, 2)}


def _chain(network: UNet | Prepared, subject: Subject, batch: int, device: torch.device) -> Callable[[], object]:
    """A chain of one batch, its noise and arithmetic included, as the engine does it."""
    recipe = subject.recipe
    image = torch.rand(batch, len(recipe.modalities), *recipe.size, device=device)
    total = recipe.train_timesteps
    schedule = make_schedule(recipe.schedule, total, timesteps=respaced_timesteps(total, subject.steps))

    def work() -> object:
        denoiser = ConditionedDenoiser(
            network, image, schedule, prediction=recipe.prediction, variance=recipe.variance, clip=recipe.clip
        )
        noise = SeededNoise(range(batch), (len(recipe.labels), *recipe.size), device)
        return list(sample_ddim(denoiser, schedule, noise))

    return work


_MATMUL_SIZE = {"cpu": 2048, "cuda": 8192, "mps": 4096}
_MATMUL_FLOP = {kind: 2.0 * n**3 for kind, n in _MATMUL_SIZE.items()}


def _matmul(dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    n = _MATMUL_SIZE[device.type]
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    return lambda: a @ b


def _timed(works: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each; the first round only warms up."""
    taken = defaultdict(list)
    for _ in range(rounds + 1):
        for name, work in works.items():
            if device.type == "cuda":
                work()  # a network keeps recordings of two batch sizes, and has to make this one's again
            _wait(device)
            began = time.perf_counter()
            work()
            _wait(device)
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(all_[1:]) for name, all_ in taken.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _flop(config: UNetConfig, size: tuple[int, int]) -> float:
    """Operations (twice the multiply-adds) of one plain evaluation of one slice, as PyTorch counts them."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        UNet(config).eval()(torch.empty(1, config.in_channels, *size), torch.empty(1))
    return float(counter.get_total_flops())


def _paper_network() -> UNet:
    """The paper's network with random weights in every layer, those that begin as zero included."""
    torch.manual_seed(0)
    network = UNet(_PAPER)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02)
    return network


if __name__ == "__main__":
    main()
