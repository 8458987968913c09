"""What training costs, before any training: sizes, budgets, memory, time of a step, the counts of the paper."""
