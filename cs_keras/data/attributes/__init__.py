"""Tables of track attributes: columns, encoding, reading."""
