"""Lists of tracks: chosen from scores, made varied, written for players and spreadsheets, read back."""
