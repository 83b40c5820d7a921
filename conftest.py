"""What the tests of all members share."""

pytest_plugins = ["dpm_testkit.fixtures"]
