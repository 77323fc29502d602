"""Run tests on releases newer than constraints.txt, pre-releases included; warn, never fail.

Usage: python .ci/newest.py TEST_FILE...
"""

import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv-newest" / "bin" / "python"
WATCHED = ("scikit-learn", "imbalanced-learn", "skorch")


def pinned(name):
    """The version that constraints.txt pins."""
    text = (ROOT / "constraints.txt").read_text()
    return re.search(rf"^{name}==(\S+)$", text, re.MULTILINE)[1]


def offered(python, name):
    """The newest version that the registry offers; None where it does not answer."""
    command = [python, "-m", "pip", "index", "versions", "--pre", name]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.match(rf"{name} \((\S+)\)", done.stdout)
    if done.returncode or not found:
        last = done.stderr.strip().splitlines()[-1:]
        print(f"newest: the registry does not answer for {name}: {' '.join(last)}")
        return None
    return found[1]


def failed_step(newer, tests):
    """Install the newer versions and run tests; the step that failed, or None."""
    if not PYTHON.exists():
        venv.create(PYTHON.parents[1], with_pip=True)
    pip = [PYTHON, "-m", "pip", "install", "--quiet"]
    torch = f"torch=={pinned('torch')}"
    steps = {
        "install torch": [*pip, torch],
        "install": [*pip, torch, *newer, "--editable", ".[test]"],
        "run the tests": [PYTHON, "-m", "pytest", "-q", "-m", "not slow", *tests],
    }
    for name, command in steps.items():
        if subprocess.run(command, cwd=ROOT).returncode:
            return name
    return None


def main(tests):
    """Print one line of what came out; the exit status is 0 always."""
    versions = {name: offered(sys.executable, name) for name in WATCHED}
    newer = [f"{n}=={v}" for n, v in versions.items() if v is not None and v != pinned(n)]
    if not newer and None in versions.values():
        print("newest: not run")
    elif not newer:
        print(f"newest: the registry offers nothing newer than constraints.txt: {versions}")
    elif step := failed_step(newer, tests):
        print(
            f"WARNING: newest: could not {step} with {', '.join(newer)}; no failure of this build"
        )
    else:
        print(f"newest: the tests pass with {', '.join(newer)}")


if __name__ == "__main__":
    main(sys.argv[1:])
