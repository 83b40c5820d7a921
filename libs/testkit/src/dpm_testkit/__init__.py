"""Memory twins of the ports, their conformance suites, servers that misbehave."""
