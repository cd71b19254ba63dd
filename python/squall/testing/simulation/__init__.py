"""Several workers, their links and their parent, in one process, on one thread, in virtual time; all from one seed.

The code is what ships: the core of each worker, its links (frames, receipts, credit), its stages and positions, and the
parent's crew with all its decisions. Others are the clock, the way of bytes and words, and that a life is no process.
"""
