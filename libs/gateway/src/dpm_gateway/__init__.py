"""The gateway kit: an ecosystem and the ports become an HTTP application."""
