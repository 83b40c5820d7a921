"""``dpm prefetch``: a node fetches what a lock file names, before anybody needs it."""
