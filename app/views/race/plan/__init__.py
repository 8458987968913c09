"""Planning a study: task, methods and their sizes, settings, the bet, and the button that starts it."""
