"""Fetches what gateways ask for; the only writer of the blob store and of the catalog."""
