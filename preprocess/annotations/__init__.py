"""Labels and regions in: one module for each format, and the frames that they belong to.

`label_sheet` reads labels: `sheets` makes rows of cells of any file, `label_headings` finds the
columns, `label_cells` reads a row, `label_files` makes paths relative. `labels` is what comes out.

A region keeps every reading of its file's name until the archive decides which cine is meant
(`region_matching`). What fits two cines is reported, not guessed. A new format is a module with
`recognises` and `parse`, and one line in `region_files.FORMATS`.
"""
