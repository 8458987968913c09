"""Adapters of PEFT's: what of a config is followed, which tensors belong together, and the update ΔW of one weight."""
