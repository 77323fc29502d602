"""Install the wheel with each extra into an empty environment, and use what the extra promises; then with none.

Usage: python .ci/extras.py [EXTRA|none ...]

Without arguments all extras of pyproject.toml but those of the tests, and none. An environment takes more than a
gigabyte and is deleted after its turn.
"""

import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

from check_extra import BY_THE_TESTS, JOBS

ROOT = Path(__file__).parent.parent
PLACE = ROOT / "dist" / "extras"


def extras():
    """Extras of pyproject.toml to be tried, and "none"; each must have its jobs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [n for n in project["optional-dependencies"] if n not in BY_THE_TESTS]
    for name in names:
        if name not in JOBS:
            sys.exit(
                f"The extra {name!r} of pyproject.toml has no job; add one to JOBS in .ci/check_extra.py."
            )
    for name in JOBS:
        if name not in names:
            sys.exit(
                f"JOBS of .ci/check_extra.py has jobs for {name!r}, which is no extra of pyproject.toml."
            )
    return [*names, "none"]


def new_environment(name):
    """Python of an empty environment."""
    shutil.rmtree(PLACE / name, ignore_errors=True)
    venv.create(PLACE / name, with_pip=True)
    return next((PLACE / name).glob("[bS][ic][nr]*/python*"))


def run(*command):
    subprocess.run(list(map(str, command)), cwd=ROOT, check=True)


def wheel():
    """A wheel of the sources as they are."""
    python = new_environment("build")
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", PLACE / "build", ".")
    return next((PLACE / "build").glob("*.whl"))


def tried(name, built):
    """Whether the wheel with one extra does its jobs."""
    python = new_environment(name)
    # compiling all of torch takes longer than unpacking it
    pip = [python, "-m", "pip", "install", "-q", "--no-compile", "-c", "constraints.txt"]
    torch = re.search(r"^torch==\S+", (ROOT / "constraints.txt").read_text(), re.M)[0]
    try:
        # first and by its exact version: a range could bring a build with gigabytes of CUDA
        run(*pip, torch)
        run(*pip, built if name == "none" else f"{built}[{name}]")
        run(python, ".ci/check_extra.py", name)
    except subprocess.CalledProcessError as error:
        print(f"extras: {name}: {' '.join(error.cmd[1:])} ended with {error.returncode}")
        return False
    finally:
        shutil.rmtree(PLACE / name)
    return True


def main(chosen):
    """The exit status is 1 if an extra fails."""
    known = extras()
    unknown = set(chosen) - set(known)
    if unknown:
        sys.exit(f"extras: {sorted(unknown)} are unknown; there are {known}.")
    built = wheel()
    failed = [name for name in chosen or known if not tried(name, built)]
    shutil.rmtree(PLACE)
    sys.exit(f"extras: {', '.join(failed)} failed" if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
