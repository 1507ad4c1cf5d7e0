"""Reading of run folders for reports."""
