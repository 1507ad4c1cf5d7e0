"""Triplet embeddings: mining, fitting, batches larger than memory."""
