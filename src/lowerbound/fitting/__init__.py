"""From data and words to a fitted model: the plan, its defaults, and the stages of a fit."""
