"""Budgets: what a fine-tuning would cost on any model, before any training."""
