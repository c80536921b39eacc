"""Witnesses: others who have seen a tree head and would notice another history."""
