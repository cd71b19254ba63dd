//! Sockets and threads of a worker: carries out what the core decides.
