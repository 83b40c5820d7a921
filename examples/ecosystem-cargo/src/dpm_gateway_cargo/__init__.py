"""An ecosystem that is no part of DPM: crates, as cargo gets them from a sparse registry."""
