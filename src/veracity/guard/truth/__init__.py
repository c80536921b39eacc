"""Gradient truth, the guard's side: the loss is evaluated again at moved parameters, and shipped."""
