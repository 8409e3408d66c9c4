"""How anything is trained: the step, the loop around it, batches, frames, optimiser, checkpoint.

A batch is a pure function of the seed and the step. So a run resumes from the step number, weights
and optimiser state, and on a CPU ends with the same bits as an undisturbed run.
"""
