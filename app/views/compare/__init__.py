"""Two adapters beside each other: the verdict and one figure first, the rest behind titles that open."""
