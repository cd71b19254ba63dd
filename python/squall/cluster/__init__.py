"""What many workers need decided: which runs which tasks, when one is replaced, when all have ended. Pure.

Events in, actions out, time as an argument; the engines carry out what is decided here.
"""
