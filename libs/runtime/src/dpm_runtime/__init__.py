"""Adapters of the ports of dpm-core: NATS, SQLite, disk, HTTP, settings, telemetry."""
