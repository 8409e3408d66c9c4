"""What was found in new cines, for people and for viewers: a page, tables, DICOM objects.

Each module takes `angioray.inference.findings.Findings` and writes one kind of file. What names a
patient, a file or an instance is written where the caller says, with rights for its owner alone,
and never into the output that may be shared.
"""
