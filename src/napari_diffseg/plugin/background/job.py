"""A job in another thread: a function of a mailbox and a flag that asks it to stop. No exception leaves it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from napari_diffseg.errors import DiffsegError
from napari_diffseg.plugin.background.mailbox import Ended, Ending, Mailbox
from napari_diffseg.plugin.background.panel_words import worded

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    Job = Callable[[Mailbox, threading.Event], Any]

logger = logging.getLogger(__name__)


class Stopped(BaseException):
    """The user asked the job to stop, and it does; no handler of errors on the way takes it for one."""


def run_guarded(job: Job, mailbox: Mailbox, stop: threading.Event) -> None:
    """Do a job; however it ends, its last message is `Ended`, and nothing is raised."""
    try:
        ended = Ended(Ending.DONE, result=job(mailbox, stop))
    except Stopped:
        ended = Ended(Ending.CANCELLED)
    except DiffsegError as err:
        logger.info("The job failed.", exc_info=err)
        ended = Ended(Ending.FAILED, worded(err), error=type(err).__name__)
    except Exception as err:  # the thread's boundary: a raw one would vanish
        logger.exception("The job failed unexpectedly.")
        ended = Ended(Ending.FAILED, unexpected(err), error=type(err).__name__)
    mailbox.put(ended)


def unexpected(err: Exception) -> str:
    """A sentence for an exception that nobody foresaw."""
    first = (str(err).splitlines() or [""])[0]
    reason = f"{type(err).__name__}: {first}" if first else type(err).__name__
    return f"Unexpected error ({reason}): what is finished is kept; please report it with the log."
