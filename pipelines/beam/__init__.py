"""Steps run as Apache Beam jobs: their parts, the process that runs them, and the pipeline."""
