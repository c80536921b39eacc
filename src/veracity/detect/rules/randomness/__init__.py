"""Rules of the law *randomness*: no random generator of the job returns to an earlier state."""
