"""Where on its way to the card a model's answers change."""
