"""What tasks are made of: the examples that packages and this project carry, and a person's own file."""
