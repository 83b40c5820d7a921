"""The networks of a node: Kubo for the bytes, Matrix rooms for who has what."""
