"""Rules of the law *update*: the step applied is the declared optimizer's, with the declared values."""
