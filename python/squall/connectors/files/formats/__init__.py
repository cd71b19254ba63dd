"""What files hold, as users say it: each format is one class, of which a spout reads and a sink writes files.

A row that a format wrote is read by it as the same row, if its types are those that it reads. `reading.format` and
`writing.rows` say what either side asks of it.
"""
