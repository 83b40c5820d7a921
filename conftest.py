"""What the tests of all members share."""

import os
import signal

from hypothesis import settings

pytest_plugins = ["dpm_testkit.fixtures"]


def pytest_configure() -> None:
    """Take Ctrl-C as at a terminal: a shell's background job ignores it, and so would all that the tests start.

    An example of hypothesis may take as long as it takes. With CI in the environment the examples are the same
    every time: a change is judged by what it changes. Everywhere else they are new ones.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("any-machine", deadline=None)  # a busy machine fails no test
    settings.register_profile("ci", settings.get_profile("any-machine"), derandomize=True)
    settings.load_profile("ci" if os.environ.get("CI") else "any-machine")
