"""The guard: inside the training process. It collects and ships; it never judges and never raises.

Standard library and, lazily, the torch that the program itself imported. See ``boot`` for the way in.
"""
