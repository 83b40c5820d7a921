"""A homeserver of the node's own: a Synapse that it configures and keeps running, for its networks' rooms."""
