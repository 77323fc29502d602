"""Fitted estimators for other runtimes."""

from skimb.export._onnx import as_inputs, to_onnx

__all__ = ["as_inputs", "to_onnx"]
