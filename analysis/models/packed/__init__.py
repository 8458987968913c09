"""Base models whose packages keep them in a format that transformers does not load as it is."""
