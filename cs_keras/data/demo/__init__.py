"""Synthetic demo data: music, playlists and the truth that generated both, from one seed.

Nothing is downloaded. Each track has an audible style and a social side that the audio does not contain; playlists
depend on both. So the best possible prediction from audio is known.
"""

from cs_keras.data.demo.catalogue import DemoCatalogue, draw_catalogue
from cs_keras.data.demo.config import DemoConfig
from cs_keras.data.demo.interactions import draw_interactions
from cs_keras.data.demo.style import GENRES, Style
from cs_keras.data.demo.synthesis import synthesise
from cs_keras.data.demo.write import write_demo_source

__all__ = [
    "GENRES",
    "DemoCatalogue",
    "DemoConfig",
    "Style",
    "draw_catalogue",
    "draw_interactions",
    "synthesise",
    "write_demo_source",
]
