"""Rules on gradients: that they are the loss's derivative, and what may happen to them before the step."""
