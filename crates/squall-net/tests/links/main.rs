//! Links between two ends in one process: what arrives, over what kind of connection, and who gets through the gate.

mod ends;
mod frames;
mod gate;
mod proxy;
mod strangers;
