"""The U-Net as samplers use it: one image, one timestep for all rows, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_diffseg.networks.blocks import Downsample, ResBlock, Upsample
from napari_diffseg.networks.fast_block import FastResBlock, expect
from napari_diffseg.networks.layers import GroupNorm32
from napari_diffseg.networks.norm_silu import norm_silu
from napari_diffseg.networks.packed_conv import PackedConv
from napari_diffseg.networks.phased_upsample import PhasedUpsample
from napari_diffseg.networks.tapped_conv import TappedConv
from napari_diffseg.networks.time_table import TimeTable
from napari_diffseg.networks.unet import TimedLayers

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.networks.unet import UNet

Layer = FastResBlock | PhasedUpsample | PackedConv | nn.Module

_NARROW = 4


class FastUNet:
    """A U-Net without the work that neither step nor row needs.

    The same weights and, up to the order of sums, the same arithmetic as `UNet`: the time embedding is folded into
    normalisations and biases once a timestep, pixels are repeated after a convolution and not before it, and no pass
    over the features is made for a dtype alone. On a processor, rows do not touch each other's sums: in bfloat16 a row
    is the same to the bit in any batch, and in float32 in any batch of two or more.

    Parameters
    ----------
    network : UNet
        As `to_inference` leaves it, channels-last, on its device; must not change afterwards.
    """

    def __init__(self, network: UNet) -> None:
        self.network = network
        self._down = [_fast_layers(block) for block in network.input_blocks[1:]]
        self._middle = _fast_layers(network.middle_block)
        self._up = [_fast_layers(block) for block in network.output_blocks]
        layers = [layer for block in (*self._down, self._middle, *self._up) for layer in block]
        self._blocks = [layer for layer in layers if isinstance(layer, FastResBlock)]
        self._times = TimeTable(network, self._blocks)
        self._stem = PackedConv.of(expect(nn.Conv2d, expect(TimedLayers, network.input_blocks[0])[0]))
        self._norm, head = expect(GroupNorm32, network.out[0]), expect(nn.Conv2d, network.out[2])
        self._head = TappedConv(head) if _is_narrow(head) else PackedConv.of(head)
        self._dtype = next(m for m in network.middle_block.modules() if isinstance(m, nn.Conv2d)).weight.dtype

    def conditioned_on(self, image: torch.Tensor) -> Callable[[torch.Tensor, float], torch.Tensor]:
        """The network for one batch of images.

        Parameters
        ----------
        image : Tensor, (B, I, H, W), float32
            On the network's device. H and W are multiples of `config.size_multiple`.

        Returns
        -------
        callable
            Takes a noisy mask (B, M, H, W), float32, and the timestep that the network is told; gives what it predicts,
            (B, out_channels, H, W), float32.

        Raises
        ------
        BadRequest
            If the size cannot be halved often enough; from the callable, if image and mask together have other
            channels than the network takes.
        """
        self.network.check_size(image.shape[2], image.shape[3])
        anchor = self.anchor(image)

        @torch.no_grad()
        def predict(x_t: torch.Tensor, timestep: float) -> torch.Tensor:
            self.network.check_channels(image.shape[1] + x_t.shape[1])
            return self.evaluate(torch.cat([image, x_t], dim=1), self.entry(timestep), anchor)

        return predict

    def entry(self, timestep: float) -> torch.Tensor:
        """What the timestep tells all blocks, one vector of float32, for `evaluate`; the same object every time."""
        return self._times(timestep)

    @torch.no_grad()
    def anchor(self, image: torch.Tensor) -> torch.Tensor | None:
        """What the anchor network sees in images (B, I, H, W), for `evaluate`; None where there is no such network."""
        return None if self.network.hwm is None else self.network.hwm(image)

    def evaluate(self, x: torch.Tensor, entry: torch.Tensor, anchor: torch.Tensor | None = None) -> torch.Tensor:
        """From image and noisy mask (B, in_channels, H, W) to (B, out_channels, H, W), float32; on the device alone."""
        told = dict(zip(self._blocks, self._times.parts(entry), strict=True))
        h = self._stem(x.contiguous(memory_format=torch.channels_last))
        h = (h if anchor is None else h + anchor).to(self._dtype)
        skips = [h]
        for layers in self._down:
            h = _through(layers, h, told)
            skips.append(h)
        h = _through(self._middle, h, told)
        for layers in self._up:
            h = _through(layers, torch.cat([h, skips.pop()], dim=1), told)
        norm = self._norm
        return self._head(norm_silu(h.float(), norm.weight, norm.bias, eps=norm.eps, groups=norm.num_groups))


def _fast_layers(layers: nn.Module) -> list[Layer]:
    return [_fast(layer) for layer in expect(TimedLayers, layers)]


def _fast(layer: nn.Module) -> Layer:
    if isinstance(layer, ResBlock):
        return FastResBlock(layer)
    if isinstance(layer, Upsample) and isinstance(layer.conv, nn.Conv2d):
        return PhasedUpsample(layer.conv)
    if isinstance(layer, Downsample) and isinstance(layer.op, nn.Conv2d):
        return PackedConv.of(layer.op)
    return layer


def _is_narrow(conv: nn.Conv2d) -> bool:
    return conv.weight.device.type == "cpu" and conv.out_channels <= _NARROW


def _through(layers: list[Layer], x: torch.Tensor, told: dict[FastResBlock, torch.Tensor]) -> torch.Tensor:
    for layer in layers:
        x = layer(x, told[layer]) if isinstance(layer, FastResBlock) else layer(x)
    return x
