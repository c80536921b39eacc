"""Tar archives of all flavours: ``headers`` parses blocks, ``reader`` follows them and nests members."""
