"""scikit-learn's own tests of its MLP, run on ours with only the import line changed."""

import importlib.util
from pathlib import Path

import pytest

SOURCE = (
    Path(importlib.util.find_spec("sklearn").origin).parent / "neural_network/tests/test_mlp.py"
)
IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor"

# Tests that reach into private parts of scikit-learn's solver, or where we differ on purpose.
DIFFERENT = {
    "test_fit": "sets private attributes before a first partial_fit",
    "test_gradient": "calls the private _loss_grad_lbfgs",
    "test_learning_rate_warmstart": "reads the private _optimizer.learning_rate",
    "test_adaptive_learning_rate": "reads the private _optimizer.learning_rate",
    "test_preserve_feature_names[MLPClassifier]": "fits one class, which is an error here",
}

if not SOURCE.exists():
    pytest.skip("scikit-learn was installed without its tests", allow_module_level=True)

_text = SOURCE.read_text()
assert _text.count(IMPORT) == 1, "scikit-learn's test file changed; look at it"
exec(compile(_text.replace(IMPORT, IMPORT.replace("sklearn", "skimb")), str(SOURCE), "exec"))

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def global_random_seed():
    return 42


@pytest.fixture(autouse=True)
def expected_differences(request):
    if request.node.name in DIFFERENT:
        request.applymarker(pytest.mark.xfail(reason=DIFFERENT[request.node.name], strict=True))
