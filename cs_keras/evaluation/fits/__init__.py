"""Several fits of the same interactions: alignment, average, and agreement, which is the ceiling of all models."""
