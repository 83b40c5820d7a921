"""What the tests of all members share."""

import signal

pytest_plugins = ["dpm_testkit.fixtures"]


def pytest_configure() -> None:
    """Take Ctrl-C as at a terminal: a shell's background job ignores it, and so would all that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
