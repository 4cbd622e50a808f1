"""The side-by-side bench of PAR; see `__main__.py`."""
