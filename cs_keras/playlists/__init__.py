"""Playlists: selection by scores, diversity reranking, file formats, and reading."""
