"""One adapted matrix, or two, in; one table out: coefficients, spectrum, ranks, coverage, comparison, edits."""
