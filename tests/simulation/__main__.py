"""`python -m tests.simulation`: any number of simulated worlds, or one again.

python -m tests.simulation --seeds 10000
python -m tests.simulation --seed 4711 --trace
"""

from __future__ import annotations

import functools
import sys

from .run import simulated
from .seeds import run_seeds
from .world import World


def _told(world: World) -> str:
    return f"{len(world.http.seen)} requests"


def main() -> int:
    return run_seeds("tests.simulation", __doc__, simulated, _told, traced=functools.partial(simulated, trace=True))


if __name__ == "__main__":
    sys.exit(main())
