"""Which files of a Python environment define what a file names, found without running any of them."""
