"""The report of a study: tables, figures and one HTML page from whatever has finished so far.

`writing.write_report` writes it. A section reads `findings` (numbers, and the evidence under them)
and gives tables or figures; `writing` puts them into the order in which they are read.
"""
