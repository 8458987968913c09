"""Studies that were run before: the visitor's own, and those that come with this project."""
