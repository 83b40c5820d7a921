"""apt updates and installs through it: Debian's repository format."""
