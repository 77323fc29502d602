"""Reports on classifiers of rare classes: figures, comparisons and sentences by stated rules."""

from skimb.inspection._report.report import Report, report

__all__ = ["Report", "report"]
