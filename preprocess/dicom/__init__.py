"""One DICOM file into frames and technical attributes.

`reader` reads an allow-list of attributes and nothing else, through a guarded parser (`parsing`):
what identifies a patient is never read, apart from what the keyed pseudonym is made of.
"""
