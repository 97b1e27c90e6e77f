"""The command line: `quartile-async`, or `python -m quartile_async`."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line; says what to install where its libraries are missing."""
    try:
        from .cli import app, run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == __package__:
            raise
        sys.stderr.write(
            f"The command line needs {error.name}, which is not installed.\n"
            "Install it with: pip install 'quartile-async[cli]'\n"
        )
        sys.exit(2)
    run(app)


if __name__ == "__main__":
    main()
