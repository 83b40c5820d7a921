"""Kill, pause and restart the processes of a node under load, in rounds drawn by a seed, and audit it after each.

Prints each round as it ends, and exits with 1 at the first that goes wrong, saying how to run that one again.
"""

import argparse
import asyncio
import functools
import sys

from dpm_testkit import chaos


def main() -> int:
    """Read the arguments, run, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="what all chance follows from")
    parser.add_argument("--from", type=int, default=1, dest="first", help="number of the first round")
    arguments = parser.parse_args()
    say = functools.partial(print, flush=True)
    try:
        asyncio.run(chaos.run(arguments.rounds, arguments.seed, first=arguments.first, say=say))
    except chaos.Failed as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
