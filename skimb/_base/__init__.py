"""What the estimators share: validation, targets, weights, training, predictions, state."""
