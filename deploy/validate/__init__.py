"""Whether a deployed model has kept its accuracy."""
