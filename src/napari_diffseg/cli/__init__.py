"""The command line: one verb a file, heavy imports inside the verb, so that `--help` is instant."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from napari_diffseg.cli.signals import Terminated, sigterm_interrupts
from napari_diffseg.cli.streams import open_streams
from napari_diffseg.cli.wording import worded
from napari_diffseg.errors import BadRecipe, BadRequest, DiffsegError
from napari_diffseg.recipe import describe_validation

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143

app = App(
    name="napari-diffseg",
    help="Brain-lesion segmentation with its uncertainty, by a conditioned diffusion ensemble.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),  # no option that only repeats a default
)
app.command("napari_diffseg.cli.demo:demo", help="Segment the shipped case with the shipped checkpoint, in napari.")
app.command("napari_diffseg.cli.predict:predict", help="Segment cases and write masks, members and uncertainty.")
app.command("napari_diffseg.cli.status:status", help="Show how far the cases of a folder are.")
app.command("napari_diffseg.cli.export:export", help="Write results of kept runs by name, as BIDS, or on another grid.")
app.command("napari_diffseg.cli.train:train", help="Train a checkpoint on cases with masks, or on phantoms.")
app.command("napari_diffseg.cli.evaluate:evaluate", help="Measure predictions against the masks that people drew.")
app.command("napari_diffseg.cli.phantom:phantom", help="Write a synthetic case with the masks of several readers.")
app.command("napari_diffseg.cli.info:info", help="Say what a checkpoint is, and what had to be guessed.")
app.command("napari_diffseg.cli.convert:convert", help="Write a state dict as a checkpoint that carries its recipe.")
app.command(
    "napari_diffseg.cli.engine:engine", help="Serve runs to a panel on this computer or another (started by it)."
)
app.command("napari_diffseg.cli.prepare:prepare", help="Compile a checkpoint's network for this machine's GPU, ahead.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after the program's name; those of the process by default.

    Returns
    -------
    int
        0 done, 1 failed (of several cases: some failed, the others are done), 2 usage, 130 interrupted, 143 terminated.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    open_streams()
    try:
        with sigterm_interrupts():
            code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as err:
        return _complain(_usage(err), USAGE)
    except (BadRequest, BadRecipe) as err:
        return _complain(worded(err), USAGE)
    except DiffsegError as err:
        return _complain(worded(err), FAILED)
    except OSError as err:
        place = err.filename or "The output stream"
        return _complain(f"{place}: {err.strerror or err}: make room, allow access, or choose another place.", FAILED)
    except Terminated:
        return _complain("Terminated.", TERMINATED)
    except KeyboardInterrupt:
        return _complain("Interrupted.", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _usage(err: CycloptsError) -> str:
    cause = err.__cause__
    text = describe_validation(cause) if isinstance(cause, ValidationError) else str(err)
    end = "" if text.endswith((".", "?")) else "."
    return f"{text}{end} See {' '.join(('napari-diffseg', *(err.command_chain or ()), '--help'))}."


def _complain(text: str, code: int) -> int:
    sys.stderr.write(f"napari-diffseg: {text}\n")
    return code
