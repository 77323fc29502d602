"""Triton kernels; imported only where triton is."""
