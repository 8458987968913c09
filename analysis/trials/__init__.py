"""Trials: methods × budgets × seeds, trained side by side, and what is known once they have finished."""
