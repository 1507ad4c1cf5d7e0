"""Losses of networks: of factors, of tracks compared with each other, and of predicted interactions."""
