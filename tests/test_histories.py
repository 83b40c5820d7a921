"""Random histories, some of them; ``make soak`` tries more."""

from dpm_testkit import histories


def test_whatever_happens_log_catalog_and_store_equal_the_model() -> None:
    histories.run(examples=20, steps=20)
