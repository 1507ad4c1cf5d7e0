"""Steps that answer a query: a run and a catalogue in, ranked tracks or outliers out."""
