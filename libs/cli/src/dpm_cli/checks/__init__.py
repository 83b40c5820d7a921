"""The checks of ``dpm doctor``, grouped by what they look at. Each has a code that never changes its meaning."""
