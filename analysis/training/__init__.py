"""What is trained, on what, and how it is judged: tasks, methods, specification, session, evaluation."""
