"""How many files this process may open: connections are files, too."""

import resource

UNLIMITED = 1_000_000
"""What counts where the system sets no limit."""


def raise_files_limit() -> None:
    """Take all that the system allows: what one starts with suits programs that use select(2)."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def files_limit() -> int:
    """How many it may open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft
