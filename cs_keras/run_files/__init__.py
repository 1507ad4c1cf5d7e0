"""Every file that a run, a study or an ensemble leaves: its name, its record, reading and writing."""
