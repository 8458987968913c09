"""A base model: the names of its modules, their shapes, its configuration without weights, its weights, loading it."""
