"""How far the compiling of a network is that goes on beside runs; without PyTorch, for who shows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class CompilePhase(Enum):
    """How far it is."""

    NOTHING = "nothing"
    """Nothing is compiled, and nothing was."""
    UNDER_WAY = "under way"
    ELSEWHERE = "elsewhere"
    """Another process compiles the same network."""
    READY = "ready"
    """The next run takes it."""
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Compiling:
    """Where the compiling stands: for how many seconds, and what is to be known of it, as a sentence."""

    phase: CompilePhase = CompilePhase.NOTHING
    seconds: float = 0.0
    note: str = ""
