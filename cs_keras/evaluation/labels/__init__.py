"""Metrics that need labels: classification, multi-label ranking, genre accuracy, cohesion, attribute estimates."""
