"""``dpm top``: a node as it works, live."""
