"""The monitor as a service under an account of its own: it records what jobs of other accounts do."""
