"""`python -m napari_diffseg` is the command line."""

import sys

from napari_diffseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
