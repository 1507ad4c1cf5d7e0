"""The HTML report: pages, sections and charts."""
