//! How the links stand, for those who look.

use super::Peer;
use crate::core::Core;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::collections::BTreeMap;

impl Core {
    /// How many frames that may bring work went to and came from each life of other workers.
    pub fn frames_of_work(&self) -> (BTreeMap<u16, u64>, BTreeMap<u16, u64>) {
        let peers =
            || self.links().into_iter().flat_map(|links| &links.peers).filter(|peer| peer.incarnation.get() != 0);
        let by = |count: fn(&Peer) -> u64| peers().map(|peer| (peer.incarnation.get(), count(peer))).collect();
        (by(|peer| peer.sent.get()), by(|peer| peer.received.get()))
    }

    /// How the links stand, and how often something was refused on them, by cause.
    pub fn link_figures<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        let Some(links) = self.links() else { return Ok(dict) };
        let peers = PyDict::new(py);
        for peer in &links.peers {
            let figures = PyDict::new(py);
            let standing = peer.with_end(|end| (end.is_up(), end.out.unreceipted(), end.out.kept_bytes()));
            let (is_up, unreceipted, kept_bytes) = standing.unwrap_or_default();
            let far = || self.tasks_of_worker(peer.worker).map(|(_, far)| far);
            figures.set_item("is_up", is_up)?;
            figures.set_item("unreceipted_frames", unreceipted)?;
            figures.set_item("unreceipted_bytes", kept_bytes)?;
            figures.set_item("frames_sent", peer.sent.get())?;
            figures.set_item("frames_received", peer.received.get())?;
            figures.set_item("waiting", far().map(|far| far.waiting()).sum::<usize>())?;
            figures.set_item("under_way", far().map(|far| far.under_way()).sum::<usize>())?;
            peers.set_item(peer.worker, figures)?;
        }
        dict.set_item("peers", peers)?;
        let violations = links.violations.with(|violations| violations.iter().collect::<Vec<_>>());
        let refusals = links.door.refusals();
        let counted: BTreeMap<&str, u64> = violations.into_iter().chain(refusals).filter(|(_, n)| *n > 0).collect();
        dict.set_item("refused", counted)?;
        Ok(dict)
    }
}
