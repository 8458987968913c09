"""What comes with this project: the commands that made it."""
