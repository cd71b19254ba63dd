"""What makes a file sink: `rows`, `csv_rows` and `arrow_rows` make bytes of rows, `layout` says into which file.

`staged` is what a file that is not published yet holds, `staging` writes it, `publishing` makes it visible, `recovery`
does so after a crash; `open_files` has those of a task.
"""
