//! The private module `squall._core`.
