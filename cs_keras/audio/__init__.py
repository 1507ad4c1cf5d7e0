"""Audio files to samples and magnitude spectrograms; tags and checksums of files."""
