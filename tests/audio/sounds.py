"""Sounds whose spectrum, length and level are known."""

import numpy as np

RATE_HZ = 22050


def tone(frequency_hz, duration_s=1.0, rate_hz=RATE_HZ, amplitude=0.5):
    """A sine, shape (n_samples,), float32."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def noise(n_samples, seed=0):
    """White noise within [-0.5, 0.5], shape (n_samples,), float32."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, n_samples).astype(np.float32)
