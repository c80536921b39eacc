"""Rules of the law *replica agreement*: data-parallel ranks hold the same parameters."""
