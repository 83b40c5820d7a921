"""The pure heart of DPM: artifacts, digests, CIDs, events, decisions and ports."""
