//! Deterministic simulation of the core from one seed.
