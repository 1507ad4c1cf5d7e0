"""Steps run as Apache Beam jobs: parts of a job, their maker, and the pipeline that builds them."""
