"""The view Edit: cards to guess, edits of one's own, and what they do to matrix and model."""
