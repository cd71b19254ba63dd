"""What makes a file spout: `found` says which files a task reads, `tracked` is one of them, `raw` its bytes.

`blocks`, `csv_records` and `row_groups` are its records, `progress` is how far it has ended and what of that is kept
over runs, `format` what a format has to do.
"""
