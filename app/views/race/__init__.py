"""Parts of the page Race: the plan with its bet, the study while it runs, its result, and past studies."""
