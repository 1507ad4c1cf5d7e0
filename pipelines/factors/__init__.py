"""Steps that make factors files: interactions in, WMF factors with their ceiling out."""
