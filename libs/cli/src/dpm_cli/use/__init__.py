"""``dpm use``: clients are pointed at a node, and back."""
