"""pip and uv talk to it: the simple repository API, PEP 503 and PEP 691."""
