"""The job that tests the connection to another computer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffseg.plugin.background.latest_only import raise_if
from napari_diffseg.plugin.background.mailbox import StatusMessage

if TYPE_CHECKING:
    import threading

    from napari_diffseg.plugin.background.job import Job
    from napari_diffseg.plugin.background.mailbox import Mailbox
    from napari_diffseg.remote.computer import Computer


def test_job(computer: Computer) -> Job:
    """Start an engine there and ask it; the result is what it has, in words."""

    def job(mailbox: Mailbox, stop: threading.Event) -> str:
        from napari_diffseg.remote.connection_test import check_connection

        mailbox.put(StatusMessage(f"Testing the connection: {computer.name}…"))
        report = check_connection(
            computer, check=lambda: raise_if(stop), told=lambda words: mailbox.put(StatusMessage(words))
        )
        return report.words

    return job
