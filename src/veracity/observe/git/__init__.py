"""What a git repository says and holds, read without running anything that it configures."""

from .repositories import Repositories, find_repositories
from .state import GitState, read_git

__all__ = ["GitState", "Repositories", "find_repositories", "read_git"]
