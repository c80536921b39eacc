"""Rules of the law *schedule*: the learning rate at a step is the declared function of the position."""
