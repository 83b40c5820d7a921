"""What must go when the log begins anew: what was numbered by the former one.

Its sequences are the tokens of attempts, and the catalog's position. Higher than any that the new log will give
for long, they would make an old attempt the newest, and every new event one that is folded already. The blobs
stay: nothing about them is numbered but by their sidecars.
"""

import shutil

from dpm_runtime.home import Home


def forget_sequences(home: Home) -> bool:
    """Delete all attempts and the catalog; returns whether there was any. May be done again after it broke off.

    Only while no service runs. Raises OSError.
    """
    attempts = list(home.incoming.iterdir())
    for folder in attempts:
        shutil.rmtree(folder)
    # the database before what belongs to it: without its journal it would be read, and be wrong
    catalogs = sorted(home.catalog.glob("catalog-*"), key=lambda path: not path.name.endswith(".sqlite"))
    for file in catalogs:
        file.unlink()
    return bool(attempts or catalogs)
