"""What tests of kernels share: drawn tensors, and comparisons with a reference in float64."""

import pytest
import torch

from skimb.kernels import cpu

needs_c = pytest.mark.skipif(not cpu.available, reason=str(cpu.missing))
TOLERANCE = {
    torch.float32: {"rtol": 1e-5, "atol": 2e-6},
    torch.float64: {"rtol": 1e-10, "atol": 1e-12},
}
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def draw(*size, seed=0, scale=3.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*size, generator=generator, dtype=torch.float64)).to(dtype)


def compare(found, expected, dtype, slack=1.0):
    """Against the reference in float64."""
    assert found is not None
    allowed = {name: slack * value for name, value in TOLERANCE[dtype].items()}
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a.double(), b, **allowed)
