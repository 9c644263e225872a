"""The U-Net that predicts a mask's noise (or the mask) from an image, a noisy mask and the time."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_diffseg.errors import BadRequest
from napari_diffseg.networks.anchor import AnchorNet
from napari_diffseg.networks.attention import AttentionBlock
from napari_diffseg.networks.blocks import Downsample, ResBlock, Upsample
from napari_diffseg.networks.layers import GroupNorm32, zeroed

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffseg.networks.config import UNetConfig

_MAX_PERIOD = 10_000.0


class UNet(nn.Module):
    """U-Net of the guided-diffusion family, with its parameter names, shapes, order and arithmetic.

    Parameters
    ----------
    config : UNetConfig
        Its shape. The weights are new: the branches end in zeros, so the first output is zero.

    References
    ----------
    Dhariwal & Nichol 2021, arXiv:2105.05233, section 3; Nichol & Dhariwal 2021, arXiv:2102.09672, appendix A.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        embedding = 4 * config.model_channels
        self.time_embed = nn.Sequential(
            nn.Linear(config.model_channels, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        )
        self.input_blocks, skips = _way_down(config)
        self.hwm = AnchorNet(config.in_channels - 1, config.level_channels[0]) if config.anchor else None
        channels = config.level_channels[-1]
        self.middle_block = TimedLayers(
            [
                _res_block(config, channels, channels),
                _attention(config, channels),
                _res_block(config, channels, channels),
            ]
        )
        self.output_blocks = _way_up(config, skips)
        first = config.level_channels[0]
        self.out = nn.Sequential(
            _norm(config)(first), nn.SiLU(), zeroed(nn.Conv2d(first, config.out_channels, 3, padding=1))
        )

    def forward(self, x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        """What the network predicts.

        Parameters
        ----------
        x : Tensor, (B, in_channels, H, W), float32
            Image and noisy mask. H and W are multiples of `config.size_multiple`.
        timesteps : Tensor, (B,)
            Of the original chain; may be fractional.

        Returns
        -------
        Tensor, (B, out_channels, H, W), float32
            bfloat16 under autocast.

        Raises
        ------
        BadRequest
            If x has another number of channels, or a size that cannot be halved often enough.
        """
        self.check_channels(x.shape[1])
        self.check_size(x.shape[2], x.shape[3])
        inner = _dtype_of(self.middle_block)
        emb = self.time_embed(self.embed_time(timesteps)).to(inner)
        h = self.input_blocks[0](x, emb)
        if self.hwm is not None:
            h = h + self.hwm(x[:, :-1])
        h = h.to(inner)
        skips = [h]
        for block in self.input_blocks[1:]:
            h = block(h, emb)
            skips.append(h)
        h = self.middle_block(h, emb)
        for block in self.output_blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), emb)
        out: torch.Tensor = self.out(h.float())
        return out

    def embed_time(self, timesteps: torch.Tensor) -> torch.Tensor:
        """Timesteps (B,) as what `time_embed` takes, (B, model_channels), float32."""
        return timestep_embedding(timesteps, self.config.model_channels, freq_shift=self.config.time_freq_shift)

    def check_channels(self, channels: int) -> None:
        """Raise BadRequest unless an input of so many channels, image and mask together, can be taken."""
        if channels != self.config.in_channels:
            raise BadRequest(
                f"The network takes {self.config.in_channels} channels, but was given {channels}: choose a checkpoint "
                "made for these modalities and labels."
            )

    def check_size(self, height: int, width: int) -> None:
        """Raise BadRequest unless so many rows and columns can be halved often enough."""
        multiple = self.config.size_multiple
        if height % multiple or width % multiple:
            raise BadRequest(
                f"The network was given {height} x {width} pixels, but needs multiples of {multiple}: crop or pad them."
            )


class TimedLayers(nn.ModuleList):
    """Layers one after the other, of which the residual blocks are told the time."""

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        """From x (B, C, H, W) and emb (B, embedding) to (B, C', H', W')."""
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


def timestep_embedding(timesteps: torch.Tensor, length: int, *, freq_shift: float = 0.0) -> torch.Tensor:
    """Cosines, then sines, of the timesteps at geometrically spaced frequencies.

    Parameters
    ----------
    timesteps : Tensor, (B,)
        May be fractional.
    length : int
        Even.
    freq_shift : float
        With 1 the longest period is 2 pi * 10000, and not a step before.

    Returns
    -------
    Tensor, (B, length), float32
        Periods go from 2 pi to nearly 2 pi * 10000.

    References
    ----------
    Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """
    half = length // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / (half - freq_shift)
    angles = timesteps.float()[:, None] * torch.exp(-math.log(_MAX_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def to_inference(
    model: UNet, dtype: torch.dtype = torch.float32, *, memory_format: torch.memory_format = torch.channels_last
) -> UNet:
    """Make a network ready for sampling, in place: no dropout, no gradients, its inside in `dtype`.

    The first convolution, an anchor network, the time embedding, the normalisations and the head stay in float32: an
    epsilon error grows 157 times on its way to x_0 at the noisiest timestep of the linear schedule.

    Parameters
    ----------
    model : UNet
        Is changed.
    dtype : torch.dtype
        float32 or bfloat16.
    memory_format : torch.memory_format
        Layout of the convolutions' weights, which that of the features follows.

    Returns
    -------
    UNet
        The same object.
    """
    model.eval().requires_grad_(False)
    kept = (model.time_embed, model.input_blocks[0], model.out, *((model.hwm,) if model.hwm is not None else ()))
    exact = {m for part in kept for m in part.modules()}
    for module in model.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)) and module not in exact:
            module.to(dtype=dtype)
    model.to(memory_format=memory_format)  # type: ignore[call-overload]  # torch's stubs leave this one out
    return model


def _way_down(config: UNetConfig) -> tuple[nn.ModuleList, list[int]]:
    """The encoder's blocks, and how many channels each of them leaves."""
    channels = config.level_channels[0]
    blocks = [TimedLayers([nn.Conv2d(config.in_channels, channels, 3, padding=1)])]
    left = [channels]
    for level, wanted in enumerate(config.level_channels):
        for _ in range(config.num_res_blocks):
            blocks.append(TimedLayers(_level_layers(config, level, channels, wanted)))
            channels = wanted
            left.append(channels)
        if level < config.levels - 1:
            blocks.append(TimedLayers([_down(config, channels)]))
            left.append(channels)
    return nn.ModuleList(blocks), left


def _way_up(config: UNetConfig, skips: list[int]) -> nn.ModuleList:
    """The decoder's blocks; each takes what the one before gives, and one skip connection, the last first."""
    channels, skips = skips[-1], list(skips)
    blocks = []
    for level, wanted in reversed(list(enumerate(config.level_channels))):
        for i in range(config.num_res_blocks + 1):
            layers = _level_layers(config, level, channels + skips.pop(), wanted)
            channels = wanted
            if level > 0 and i == config.num_res_blocks:
                layers.append(_up(config, channels))
            blocks.append(TimedLayers(layers))
    return nn.ModuleList(blocks)


def _level_layers(config: UNetConfig, level: int, channels: int, wanted: int) -> list[nn.Module]:
    layers: list[nn.Module] = [_res_block(config, channels, wanted)]
    if 1 << level in config.attention_factors:
        layers.append(_attention(config, wanted))
    return layers


def _res_block(config: UNetConfig, channels: int, wanted: int, *, resample: nn.Module | None = None) -> ResBlock:
    return ResBlock(
        channels,
        wanted,
        embedding=4 * config.model_channels,
        film=config.scale_shift_norm,
        dropout=config.dropout,
        resample=resample,
        norm=_norm(config),
    )


def _norm(config: UNetConfig) -> Callable[[int], GroupNorm32]:
    return partial(GroupNorm32, groups=config.norm_groups, eps=config.norm_eps)


def _attention(config: UNetConfig, channels: int) -> AttentionBlock:
    heads = config.heads(channels)
    return AttentionBlock(channels, heads, new_order=config.new_attention_order, norm=_norm(config))


def _down(config: UNetConfig, channels: int) -> nn.Module:
    if config.resblock_updown:
        return _res_block(config, channels, channels, resample=Downsample(channels, conv=False))
    return Downsample(channels, conv=config.conv_resample)


def _up(config: UNetConfig, channels: int) -> nn.Module:
    if config.resblock_updown:
        return _res_block(config, channels, channels, resample=Upsample(channels, conv=False))
    return Upsample(channels, conv=config.conv_resample)


def _dtype_of(module: nn.Module) -> torch.dtype:
    """Of the first convolution within: normalisations stay in float32."""
    return next(m.weight.dtype for m in module.modules() if isinstance(m, nn.Conv2d))
