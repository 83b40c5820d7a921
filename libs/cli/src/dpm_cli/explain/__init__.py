"""``dpm explain``: what a node does about a URL, and why."""
