"""One run on one page, and as pictures: what is put beside a paper's methods, or sent to a colleague."""

from napari_diffseg.reporting.report import ReportChoice, RunReport, export_all

__all__ = ["ReportChoice", "RunReport", "export_all"]
