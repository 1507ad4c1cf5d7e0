"""Exact top-k search and ranks: factor matrices in, lists out."""
