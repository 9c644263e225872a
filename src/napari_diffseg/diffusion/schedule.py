"""Noise schedules: how much noise a mask holds at each timestep, and which timesteps a chain visits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, assert_never

import numpy as np
import numpy.typing as npt

from napari_diffseg.errors import ScheduleError

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

ScheduleName = Literal["linear", "cosine", "scaled_linear", "sigmoid", "explicit"]
PredictionName = Literal["epsilon", "x0", "v"]
VarianceName = Literal["learned_range", "fixed_large", "fixed_small"]
SpacingName = Literal["linspace", "leading", "trailing"]

_MAX_TOTAL = 100_000
_SIGMOID_RANGE = 6.0


def linear_betas(total: int) -> Float64Array:
    """Betas from 1e-4 to 0.02, scaled by 1000 / total so that the noise at the end hardly depends on `total`.

    Parameters
    ----------
    total : int
        Timesteps, more than 20.

    Returns
    -------
    ndarray, (total,), float64
        Increasing, all below 1.

    Raises
    ------
    ScheduleError
        If `total` is 20 or less, where the last beta would be 1 or more.

    References
    ----------
    Ho et al. 2020, arXiv:2006.11239, section 4; the scaling is that of Nichol & Dhariwal 2021, arXiv:2102.09672.
    """
    _check_total(total)
    scale = 1000 / total
    if scale * 0.02 >= 1:
        raise ScheduleError(
            f"A linear schedule of {total} timesteps would have a beta of {scale * 0.02:.3g}: use more than 20 "
            "timesteps, or the cosine schedule."
        )
    return np.linspace(scale * 1e-4, scale * 0.02, total, dtype=np.float64)


def cosine_betas(total: int) -> Float64Array:
    """Betas of a squared cosine in the cumulative alpha, at most 0.999.

    Parameters
    ----------
    total : int
        Timesteps.

    Returns
    -------
    ndarray, (total,), float64

    Raises
    ------
    ScheduleError
        If `total` is not positive.

    References
    ----------
    Nichol & Dhariwal 2021, arXiv:2102.09672, equation 17.
    """
    _check_total(total)
    kept = [math.cos((i / total + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(total + 1)]
    return np.array([min(1 - after / before, 0.999) for before, after in pairwise(kept)])


def betas_between(name: ScheduleName, total: int, first: float, last: float) -> Float64Array:
    """Betas that rise from `first` to `last`, without regard to `total`.

    Parameters
    ----------
    name : {"linear", "scaled_linear", "sigmoid"}
        Linear in beta, linear in its square root, or along a sigmoid from -6 to 6.
    total : int
        Timesteps.
    first, last : float
        0 < first < last < 1. A sigmoid comes within 0.25 % of their distance to either.

    Returns
    -------
    ndarray, (total,), float64

    Raises
    ------
    ScheduleError
        If the betas or the timesteps cannot be, or this kind of schedule has no first and last beta.

    References
    ----------
    Rombach et al. 2022, arXiv:2112.10752 (scaled linear); Xu et al. 2022, arXiv:2203.02923 (sigmoid).
    """
    _check_total(total)
    if not 0 < first < last < 1:
        raise ScheduleError(f"Betas from {first:g} to {last:g} cannot be: give two that rise between 0 and 1.")
    if name == "linear":
        return np.linspace(first, last, total, dtype=np.float64)
    if name == "scaled_linear":
        return np.linspace(math.sqrt(first), math.sqrt(last), total, dtype=np.float64) ** 2
    if name == "sigmoid":
        rising = 1 / (1 + np.exp(-np.linspace(-_SIGMOID_RANGE, _SIGMOID_RANGE, total, dtype=np.float64)))
        return np.asarray(rising * (last - first) + first)
    raise ScheduleError(f"A schedule of kind {name} has no first and last beta: leave them out.")


def with_zero_terminal_snr(betas: Float64Array) -> Float64Array:
    """Betas changed so that nothing of the mask is left at the last timestep.

    Parameters
    ----------
    betas : ndarray, (T,), float64
        T at least 2.

    Returns
    -------
    ndarray, (T,), float64
        The first is as it was, the last is 1; the square roots of the cumulative alphas are shifted and stretched.

    Raises
    ------
    ScheduleError
        If there is only one.

    References
    ----------
    Lin et al. 2023, arXiv:2305.08891, algorithm 1.
    """
    if len(betas) < 2:
        raise ScheduleError("A chain that ends in pure noise needs two timesteps or more.")
    signal = np.sqrt(np.cumprod(1 - betas))
    stretched = (signal - signal[-1]) * (signal[0] / (signal[0] - signal[-1]))
    kept = stretched**2
    changed: Float64Array = 1 - kept / np.append(1.0, kept[:-1])
    return changed


def respaced_timesteps(total: int, count: int, *, spacing: SpacingName = "linspace", offset: int = 0) -> Int64Array:
    """The `count` timesteps, of `total`, that a shortened chain visits, largest first.

    Parameters
    ----------
    total : int
        Timesteps the network was trained with (T), at least 1.
    count : int
        Timesteps to keep, 1 <= count <= total.
    spacing : {"linspace", "leading", "trailing"}
        "linspace": the first is total - 1, the last 0. "leading": whole multiples of total // count, the last 0, so
        that the first may be well below total - 1. "trailing": the first is total - 1, the rest total / count apart.
    offset : int
        Added to every timestep of "leading".

    Returns
    -------
    ndarray, (count,), int64
        Strictly decreasing and evenly spaced. Where both ends are fixed, a chain of one step is (total - 1,): it starts
        from pure noise like any other.

    Raises
    ------
    ScheduleError
        If count is outside [1, total], or the offset goes beyond the last timestep.

    References
    ----------
    Nichol & Dhariwal 2021, arXiv:2102.09672, section 4; Lin et al. 2023, arXiv:2305.08891, table 2.
    """
    _check_total(total)
    if not 1 <= count <= total:
        raise ScheduleError(f"{count} timesteps cannot be chosen of {total}: give a number from 1 to {total}.")
    match spacing:
        case "linspace":
            return _from_end_to_end(total, count)
        case "leading":
            largest = (count - 1) * (total // count) + offset
            if offset < 0 or largest >= total:
                raise ScheduleError(
                    f"{count} timesteps of {total} with an offset of {offset} would go up to {largest}: ask for fewer."
                )
            leading: Int64Array = np.arange(count, dtype=np.int64)[::-1] * (total // count) + offset
            return leading
        case "trailing":
            trailing: Int64Array = np.rint(total - np.arange(count) * (total / count)).astype(np.int64) - 1
            return trailing
        case _:
            assert_never(spacing)


def _from_end_to_end(total: int, count: int) -> Int64Array:
    if count == 1:
        return np.array([total - 1], dtype=np.int64)
    # Strides are added up one by one, as in the original: a product rounds elsewhere in the last digit.
    positions = np.cumsum(np.r_[0.0, np.full(count - 1, (total - 1) / (count - 1))])
    timesteps: Int64Array = np.rint(positions).astype(np.int64)[::-1].copy()
    return timesteps


@dataclass(frozen=True, eq=False)
class Schedule:
    """The timesteps that a chain visits and the noise at each, as numbers.

    The arrays of noise are in *increasing* order, and an index i into them, 0 the least noise, is what samplers and
    denoisers speak of; `timesteps` is in the order of sampling. `timestep(i)` joins the two.

    Attributes
    ----------
    timesteps : ndarray, (N,), int64
        Timesteps of the original chain, strictly decreasing.
    betas, alphas_cumprod : ndarray, (N,), float64
        Of the shortened chain, increasing with the timestep and decreasing, respectively.
    total : int
        Timesteps of the original chain (T).
    """

    timesteps: Int64Array
    betas: Float64Array
    alphas_cumprod: Float64Array
    total: int

    def __len__(self) -> int:
        return len(self.timesteps)

    def timestep(self, index: int) -> int:
        """The original timestep at an index of the shortened chain."""
        return int(self.timesteps[len(self) - 1 - index])

    @cached_property
    def alphas_cumprod_prev(self) -> Float64Array:
        """(N,) cumulative alphas one step nearer to the mask; the first is 1."""
        return np.append(1.0, self.alphas_cumprod[:-1])

    @cached_property
    def posterior_mean_x0(self) -> Float64Array:
        """(N,) weight of x_0 in the mean of q(x_{t-1} | x_t, x_0); Ho et al. 2020, equation 7."""
        return self.betas * np.sqrt(self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)

    @cached_property
    def posterior_mean_x_t(self) -> Float64Array:
        """(N,) weight of x_t in that mean."""
        return (1 - self.alphas_cumprod_prev) * np.sqrt(1 - self.betas) / (1 - self.alphas_cumprod)

    @cached_property
    def posterior_log_variance(self) -> Float64Array:
        """(N,) log of the variance of q(x_{t-1} | x_t, x_0), the smallest that a step can have.

        It is zero at index 0, whose logarithm is replaced by that of index 1. A chain of a single step has no index 1
        and takes beta.
        """
        variance = self.betas * (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)
        first = variance[1] if len(self) > 1 else self.betas[0]
        log_variance: Float64Array = np.log(np.append(first, variance[1:]))
        return log_variance

    @cached_property
    def large_log_variance(self) -> Float64Array:
        """(N,) log of beta, the largest variance that a step can have; at index 0 as `posterior_log_variance`."""
        return np.append(self.posterior_log_variance[0], np.log(self.betas[1:]))


def make_schedule(
    name: ScheduleName,
    total: int,
    *,
    timesteps: npt.ArrayLike | None = None,
    beta_range: tuple[float, float] | None = None,
    betas: npt.ArrayLike | None = None,
    zero_terminal_snr: bool = False,
) -> Schedule:
    """The schedule of a chain.

    Parameters
    ----------
    name : {"linear", "cosine", "scaled_linear", "sigmoid", "explicit"}
        Kind.
    total : int
        Timesteps the network was trained with (T).
    timesteps : array of int, optional
        Those of the T that the chain visits, in either order; all by default. The betas are derived again so that the
        noise at each is what it was.
    beta_range : (float, float), optional
        First and last beta. By default 0.0001 and 0.02, which the linear schedule scales by 1000 / T.
    betas : array of float, (T,), optional
        For "explicit", all of them.
    zero_terminal_snr : bool
        Whether the betas are changed so that the last timestep is pure noise.

    Returns
    -------
    Schedule

    Raises
    ------
    ScheduleError
        If a timestep is given twice or is not one of the T, or if the T or the betas cannot be.
    """
    every = _explicit(betas, total) if name == "explicit" else _betas(name, total, beta_range)
    if zero_terminal_snr:
        every = with_zero_terminal_snr(every)
    if timesteps is None:
        kept = np.arange(total, dtype=np.int64)
    else:
        kept = _checked_timesteps(np.asarray(timesteps), total)
        signal = np.cumprod(1 - every)[kept]
        every = np.subtract(1, signal / np.append(1.0, signal[:-1]), dtype=np.float64)
    alphas_cumprod: Float64Array = np.cumprod(1 - every, dtype=np.float64)
    return Schedule(kept[::-1].copy(), every, alphas_cumprod, total)


def _betas(name: ScheduleName, total: int, beta_range: tuple[float, float] | None) -> Float64Array:
    if name == "cosine" and beta_range is None:
        return cosine_betas(total)
    if name == "linear" and beta_range is None:
        return linear_betas(total)
    return betas_between(name, total, *(beta_range or (1e-4, 0.02)))


def _explicit(betas: npt.ArrayLike | None, total: int) -> Float64Array:
    _check_total(total)
    given = np.asarray(() if betas is None else betas, dtype=np.float64)
    if given.shape != (total,):
        raise ScheduleError(f"An explicit schedule of {total} timesteps needs as many betas, not {given.size}.")
    if not (given > 0).all() or not (given <= 1).all() or (given[:-1] == 1).any():
        raise ScheduleError("The betas of an explicit schedule must lie between 0 and 1: correct them.")
    return given


def _checked_timesteps(timesteps: npt.NDArray[np.generic], total: int) -> Int64Array:
    """Increasing."""
    if timesteps.ndim != 1 or not timesteps.size or not np.issubdtype(timesteps.dtype, np.integer):
        raise ScheduleError("The timesteps to keep must be a list of one or more whole numbers.")
    kept = np.unique(timesteps).astype(np.int64)
    if kept.size != timesteps.size:
        raise ScheduleError("The timesteps to keep name one twice: name each once.")
    if kept[0] < 0 or kept[-1] >= total:
        raise ScheduleError(f"The timesteps to keep go from {kept[0]} to {kept[-1]}: keep within 0 and {total - 1}.")
    return kept


def _check_total(total: int) -> None:
    if not 1 <= total <= _MAX_TOTAL:
        raise ScheduleError(f"A chain of {total} timesteps cannot be: give a number from 1 to {_MAX_TOTAL}.")
