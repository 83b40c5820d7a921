"""What the tests of all members share."""

import signal

from hypothesis import settings

pytest_plugins = ["dpm_testkit.fixtures"]


def pytest_configure() -> None:
    """Take Ctrl-C as at a terminal: a shell's background job ignores it, and so would all that the tests start.

    An example of hypothesis may take as long as it takes.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("any-machine", deadline=None)  # a busy machine fails no test
    settings.load_profile("any-machine")
