"""Training language models on texts of one's own: prompts and how they are completed."""
