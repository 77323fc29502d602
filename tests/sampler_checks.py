"""imbalanced-learn's checks of samplers, as parametrised tests."""

import pytest
from imblearn.utils.estimator_checks import parametrize_with_checks


def sampler_checks(samplers):
    """Its own decorator hands pytest a generator, which pytest no longer takes."""
    names, cases = parametrize_with_checks(samplers).mark.args
    return pytest.mark.parametrize(names, list(cases))
