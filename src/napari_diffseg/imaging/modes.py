"""Names of the choices that a recipe makes about images; light enough to be imported anywhere."""

from typing import Literal

NormalisationName = Literal["percentile", "zscore", "minmax", "none"]
CentreName = Literal["image", "brain"]
FitName = Literal["crop", "stretch"]
PercentileOfName = Literal["brain", "image"]
