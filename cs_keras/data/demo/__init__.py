"""Synthetic demo data: music, playlists and the ground truth that generated both, from one seed.

Nothing is downloaded. Each track has an audible style and social factors that the audio does not contain;
playlists depend on both. So the best possible prediction from audio is known.
"""
