"""What is run: settings, folds, the frames of each run, the two tasks, and run folders.

`study.json` freezes settings, folds and runs before the first run starts; `result.json` in a run's
folder is written last and means that the run is finished.
"""
