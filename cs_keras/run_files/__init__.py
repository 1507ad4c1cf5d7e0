"""The files of a run, a study or an ensemble: names, records, reading and writing."""
