"""Opening adapters that are no SVFT adapters, and projecting their updates into the singular basis of the base.

`recognise` says what a directory holds; `tensor_files` and `base_weights` read it one tensor at a time; `peft_update`
and `checkpoint` give the update ΔW of one matrix; `projection` brings it into the basis; `projected_adapter` puts
these together.
"""
