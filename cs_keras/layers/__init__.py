"""Keras layers: the Kapre front end, augmentation, Bag of Tones, pooling; and their plain-Keras forms."""
