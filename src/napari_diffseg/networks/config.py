"""What shape a network has: everything that decides which weights there are, and how they are used."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Self

from napari_diffseg.errors import BadRecipe

if TYPE_CHECKING:
    from collections.abc import Mapping

NORM_GROUPS = 32
"""Groups of every normalisation, unless a network says otherwise."""
NORM_EPS = 1e-5
"""What every normalisation adds to the variance, unless a network says otherwise."""

POOLINGS = 5
"""How often an anchor network halves its input."""

_MAX_CHANNELS = 4096
_MAX_LEVELS = 8
_MAX_PARAMETERS = 4_000_000_000


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """Shape of a U-Net of the guided-diffusion family.

    Attributes
    ----------
    in_channels, out_channels : int
        Channels taken (image, then noisy mask) and given.
    model_channels : int
        Channels that `channel_mult` multiplies; even.
    num_res_blocks : int
        Residual blocks on a level, on the way down.
    attention_factors : tuple of int
        Downsampling factors with self-attention, as in the original's `attention_ds`: 16 is image size / 16. The
        middle always has it.
    channel_mult : tuple of int or float
        Channels of each level over `model_channels`, full resolution first.
    num_heads : int
        Attention heads, unless `num_head_channels` is given.
    num_head_channels : int or None
        Channels of a head; wins over `num_heads`.
    new_attention_order : bool
        Whether q, k and v are split before the heads are; the legacy order splits heads first.
    scale_shift_norm : bool
        Whether the time embedding scales and shifts the second normalisation (FiLM) rather than being added.
    resblock_updown : bool
        Whether residual blocks change the resolution, not a convolution or pooling of their own.
    conv_resample : bool
        Whether resolution changes hold a convolution; without effect where `resblock_updown`.
    dropout : float
        Probability, in training only.
    norm_groups : int
        Groups of every normalisation; every channel count is a multiple of it.
    norm_eps : float
        What every normalisation adds to the variance.
    time_freq_shift : float
        The lowest frequency of the time embedding is 10000 ** (-(half - 1) / (half - shift)) of the highest, where half
        of its length are cosines.
    anchor : bool
        Whether a second network, which sees the images alone, adds its features to the first convolution's
        (`anchor.AnchorNet`).

    Raises
    ------
    BadRecipe
        If a value is of the wrong kind, out of bounds, or contradicts another.
    """

    in_channels: int
    model_channels: int
    out_channels: int
    num_res_blocks: int
    attention_factors: tuple[int, ...]
    channel_mult: tuple[int | float, ...]
    num_heads: int = 1
    num_head_channels: int | None = None
    new_attention_order: bool = False
    scale_shift_norm: bool = False
    resblock_updown: bool = False
    conv_resample: bool = True
    dropout: float = 0.0
    norm_groups: int = NORM_GROUPS
    norm_eps: float = NORM_EPS
    time_freq_shift: float = 0.0
    anchor: bool = False

    def __post_init__(self) -> None:
        self._check_kinds()
        self._check_channels()
        self._check_attention()

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return len(self.channel_mult)

    @property
    def size_multiple(self) -> int:
        """Rows and columns of an input must be a multiple of this."""
        return max(1 << (self.levels - 1), 1 << POOLINGS if self.anchor else 1)

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level, full resolution first."""
        return tuple(int(self.model_channels * m) for m in self.channel_mult)

    def heads(self, channels: int) -> int:
        """Attention heads where there are `channels` channels."""
        return self.num_heads if self.num_head_channels is None else channels // self.num_head_channels

    def to_dict(self) -> dict[str, object]:
        """All fields as plain values that JSON can hold; tuples become lists."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The configuration from plain values, as `to_dict` gives them.

        Raises
        ------
        BadRecipe
            If a name is unknown or missing, or a value is refused.
        """
        known = [f.name for f in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise BadRecipe(f"Network: {', '.join(unknown)} is not known: use {', '.join(known)}.")
        if missing := [name for name in known[:6] if name not in values]:
            raise BadRecipe(f"Network: {', '.join(missing)} is missing: add it.")
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)  # type: ignore[arg-type]  # every kind is checked in __post_init__

    def _check_kinds(self) -> None:
        _check_int("in_channels", self.in_channels, _MAX_CHANNELS)
        _check_int("model_channels", self.model_channels, _MAX_CHANNELS)
        _check_int("out_channels", self.out_channels, _MAX_CHANNELS)
        _check_int("num_res_blocks", self.num_res_blocks, 16)
        _check_int("num_heads", self.num_heads, 256)
        if self.num_head_channels is not None:
            _check_int("num_head_channels", self.num_head_channels, _MAX_CHANNELS)
        _check_int("norm_groups", self.norm_groups, _MAX_CHANNELS)
        _check_multipliers(self.channel_mult)
        _check_ints("attention_factors", self.attention_factors, 1 << _MAX_LEVELS)
        for name in ("new_attention_order", "scale_shift_norm", "resblock_updown", "conv_resample", "anchor"):
            if not isinstance(getattr(self, name), bool):
                raise BadRecipe(f"Network: {name} is {getattr(self, name)!r}: give true or false.")
        _check_number("dropout", self.dropout, below=1)
        _check_number("norm_eps", self.norm_eps, below=0.1)
        _check_number("time_freq_shift", self.time_freq_shift, below=2)

    def _check_channels(self) -> None:
        if not 1 <= self.levels <= _MAX_LEVELS:
            raise BadRecipe(f"Network: channel_mult has {self.levels} levels: give 1 to {_MAX_LEVELS}.")
        if self.model_channels % 2:
            raise BadRecipe(f"Network: model_channels is {self.model_channels}: give an even number.")
        bad = [c for c in self.level_channels if c < 1 or c % self.norm_groups or c > _MAX_CHANNELS]
        if bad:
            raise BadRecipe(
                f"Network: model_channels times channel_mult gives {bad[0]} channels: choose them so that every level "
                f"has a multiple of {self.norm_groups}, at most {_MAX_CHANNELS}."
            )
        if self.anchor and self.level_channels[0] % 4:
            raise BadRecipe(
                f"Network: an anchor network cannot fill the {self.level_channels[0]} channels of the first level: "
                "choose a multiple of 4."
            )
        if self.time_freq_shift >= self.model_channels // 2:
            raise BadRecipe(f"Network: time_freq_shift {self.time_freq_shift:g} needs more than two model_channels.")
        # Two 3 x 3 convolutions a residual block: less than there will be, and enough to stop a hostile file.
        weights = sum((2 * self.num_res_blocks + 1) * 18 * c * c for c in self.level_channels)
        if weights > _MAX_PARAMETERS:
            raise BadRecipe(
                f"Network: it would have more than {weights / 1e9:.0f} thousand million weights, where "
                f"{_MAX_PARAMETERS / 1e9:.0f} are allowed: lower model_channels, channel_mult or num_res_blocks."
            )

    def _check_attention(self) -> None:
        factors = [1 << level for level in range(self.levels)]
        if len(set(self.attention_factors)) != len(self.attention_factors) or set(self.attention_factors) - {*factors}:
            raise BadRecipe(
                f"Network: attention_factors {self.attention_factors} must be different ones of {factors}, the "
                "downsampling factors of its levels."
            )
        with_attention = {c for f, c in zip(factors, self.level_channels, strict=True) if f in self.attention_factors}
        divisor, name = self.num_head_channels or self.num_heads, "num_head_channels"
        if self.num_head_channels is None:
            name = "num_heads"
        for channels in sorted({*with_attention, self.level_channels[-1]}):
            if channels % divisor:
                raise BadRecipe(f"Network: {name} {divisor} does not divide the {channels} channels with attention.")


def _check_int(name: str, value: object, largest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= largest:
        raise BadRecipe(f"Network: {name} is {value!r}: give a whole number from 1 to {largest}.")


def _check_number(name: str, value: object, *, below: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < below:
        raise BadRecipe(f"Network: {name} is {value!r}: give a number from 0 to below {below:g}.")


def _check_multipliers(value: object) -> None:
    if not isinstance(value, tuple):
        raise BadRecipe(f"Network: channel_mult is {value!r}: give a list of numbers.")
    for part in value:
        if isinstance(part, float) and 0 < part <= 64:
            continue
        _check_int("an entry of channel_mult", part, 64)


def _check_ints(name: str, value: object, largest: int) -> None:
    if not isinstance(value, tuple):
        raise BadRecipe(f"Network: {name} is {value!r}: give a list of whole numbers.")
    for part in value:
        _check_int(f"an entry of {name}", part, largest)
