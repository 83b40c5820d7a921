"""Random histories of a fetcher, its log, catalog and store, against a small model: many of them, and long ones.

Exits with 1 at the first that goes wrong, and prints the shortest form of it that was found.
"""

import argparse
import logging
import sys
import time

from dpm_testkit import histories


def main() -> int:
    """Read the arguments, run, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=60, help="the most that happens in one")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    begun = time.monotonic()
    histories.run(arguments.examples, arguments.steps)
    print(
        f"{arguments.examples} histories of up to {arguments.steps} steps, after which log, catalog and store "
        f"equal the model, in {time.monotonic() - begun:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
