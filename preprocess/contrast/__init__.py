"""When contrast enters, fills and leaves the arteries of a cine.

`filling` measures how much of the arterial tree bears contrast in each frame, `phases` fits a rise
and a fall to it, and `proposals` fills what the labels leave open.
"""
