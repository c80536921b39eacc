"""Rules of the law *channels*: no unexpected way out of the training process."""
