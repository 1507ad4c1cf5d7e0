"""Metrics that need labels: classification, genre accuracy, cohesion, attribute estimates."""
