"""What the clients of this machine are set to use, by their files and their environment: one module a client.

It is here, and not with the gateways that ask for it, so that those have no input and output of their own.
"""

import os
from collections.abc import Mapping


def environment() -> Mapping[str, str]:
    """The environment of this process."""
    return os.environ
