"""Errors, arguments, files, locks, checksums, processes, progress, Markdown tables, vectors."""
