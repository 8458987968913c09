"""Whisper: from the file of a package to what transformers loads."""
