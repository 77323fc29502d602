"""``python -m skimb.benchmark``: run a study and write its pages."""

from skimb.benchmark._command import main

if __name__ == "__main__":
    main()
