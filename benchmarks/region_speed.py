"""What three regions cost beside one: the same network with other numbers of mask channels, by turns in one run."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.networks.unet import UNet

_SIZE = (64, 48)


def seconds_of(network: UNet, x: torch.Tensor) -> float:
    """Of one evaluation."""
    began = time.perf_counter()
    with torch.inference_mode():
        network(x, torch.zeros(len(x), dtype=torch.long))
    return time.perf_counter() - began


def main() -> None:
    """Measure, and write `results/region_speed.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "region_speed.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks = {
        labels: UNet(
            UNetConfig(
                in_channels=4 + labels,
                model_channels=32,
                out_channels=labels,
                num_res_blocks=2,
                attention_factors=(),
                channel_mult=(1, 2, 3, 4),
            )
        ).eval()
        for labels in (1, 3)
    }
    inputs = {labels: torch.randn(4, 4 + labels, *_SIZE) for labels in networks}
    seconds: dict[int, list[float]] = {labels: [] for labels in networks}
    for n in range(options.rounds + 3):
        for labels, network in networks.items():
            taken = seconds_of(network, inputs[labels])
            if n >= 3:
                seconds[labels].append(taken)
    ratio = statistics.median(three / one for one, three in zip(seconds[1], seconds[3], strict=True))
    least = {str(labels): min(taken) for labels, taken in seconds.items()}
    found = {"rows": 4, "size": _SIZE, "rounds": options.rounds, "median_ratio": ratio, "least_seconds": least}
    options.out.write_text(json.dumps(found | {"torch": torch.__version__}, indent=1) + "\n", "utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
