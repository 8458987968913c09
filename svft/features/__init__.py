"""What PEFT's users know from LoRA: mixed batches, sums of adapters, scaling, and a card that says how to load."""
