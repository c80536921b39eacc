"""Clean runs: programs that are odd and legitimate, none of which may be accused."""
