"""The result of a study, from the verdict down to every number."""
