"""What tables are made of: cells, rows and columns, numbers as text, notes, and paired comparisons."""
