"""`python -m lowerbound`: the command line."""

from lowerbound.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    raise SystemExit(main())
