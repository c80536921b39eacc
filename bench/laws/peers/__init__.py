"""What others would have seen in the same cases."""
