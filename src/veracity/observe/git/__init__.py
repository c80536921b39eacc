"""What a git repository says and holds, read without running anything that it configures."""

from .state import GitState, read_git

__all__ = ["GitState", "read_git"]
