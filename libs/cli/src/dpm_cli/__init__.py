"""The command dpm: runs a node and shows what it does."""
