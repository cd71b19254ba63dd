"""What files hold, as users say it: each format is one class, of which a spout reads and a sink writes files.

A row that a format wrote is read by it as the same row, if its types are those that it reads; but for what a text file
cannot tell: a byte order mark that the first value begins with, a carriage return that a line ends with.
`reading.format` and `writing.rows` say what either side asks of it.
"""
