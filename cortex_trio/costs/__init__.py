"""What calls cost: prices of models, sums of usage, budgets. Knows no gateway."""
