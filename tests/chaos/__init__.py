"""Faults strike real processes by chance, and what comes out is counted by somebody else.

| Room | |
|---|---|
| `fan_out`, `join`, `apart` | the topologies that run, files as a user writes them, and what they note for the count |
| `faults` | what can happen, to whom, and how it is mended |
| `schedule` | which faults happen when, all from a seed |
| `proxy` | stands between workers and spoils what they say |
| `history` | what the topologies noted: what was lost, came twice or out of order, how long what took |
| `harness` | one run under faults, and its verdict |
| `soak` | one run that lives long: nothing grows |

`make chaos FOR=40s SEED=7`, or `python -m chaos --help` from `tests`.
"""
