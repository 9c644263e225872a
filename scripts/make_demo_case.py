"""Make the shipped case: a phantom of a glioma at 1.5 mm, drawn from a fixed seed.

python scripts/make_demo_case.py
"""

from __future__ import annotations

from pathlib import Path

from napari_diffseg.synthesis.phantom import PhantomSettings, make_phantom
from napari_diffseg.synthesis.write import write_case

TARGET = Path(__file__).resolve().parents[1] / "src/napari_diffseg/data/demo_case"
SETTINGS = PhantomSettings(
    kind="glioma", seed=22, shape=(160, 160, 104), spacing_mm=(1.5, 1.5, 1.5), readers=0, randomise=0.1, artefacts=0.15
)


def main() -> None:
    """Draw and write."""
    files = write_case(make_phantom(SETTINGS), TARGET, case_id="phantom_glioma", overwrite=True)
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{len(files)} files, {size:.1f} MB, in {TARGET.name}")


if __name__ == "__main__":
    main()
