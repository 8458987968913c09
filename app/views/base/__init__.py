"""A base model without any adapter: what its weights are like."""
