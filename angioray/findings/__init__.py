"""What was found in new cines, for people and for viewers: a page, tables, DICOM objects.

`cines.py` has each cine looked at once, whatever happens on the way; the modules that write take
`angioray.inference.findings.Findings` and write one kind of file each. What names a patient, a file
or an instance is written where the caller says, with rights for its owner alone, and never into the
output that may be shared.
"""
