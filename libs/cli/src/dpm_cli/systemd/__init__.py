"""``dpm service``: a node that systemd starts, restarts and stops."""
