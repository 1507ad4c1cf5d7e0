"""Output formats of tables: terminal, Markdown, CSV, LaTeX, HTML, figures."""
