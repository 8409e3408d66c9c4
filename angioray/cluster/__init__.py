"""The study on Ray: the plan, the queue of runs, the lanes that train them, and progress.

A lane is one long-lived TorchTrainer. It takes runs from one queue until none is left, so the
start of its processes, its device and its frames are paid for once. `plan` decides before anything
starts how many lanes there are and what each holds; `lanes` follows them, and `lane_control` keeps
them alive, all in one actor.
"""
