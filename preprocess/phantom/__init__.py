"""A synthetic X-ray coronary angiography archive, written as a hospital would hand it over.

Coronary trees on a beating heart are filled by a bolus of iodine and projected by a C-arm's cone
beam through a chest; quanta, blur and display processing make the stored frames. The patients are
fictitious, the files genuine multi-frame XA DICOM.
"""
