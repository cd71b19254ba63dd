//! Types of the user's own, and how their instances are written and made again.

use crate::gil::Gil;
use pyo3::prelude::*;
use pyo3::types::PyType;
use squall_core::cell::Local;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One registered type.
pub(super) struct Registered {
    pub class: Py<PyType>,
    /// What it is called on the wire: module and qualified name.
    pub name: String,
    /// From an instance to a value that has a form.
    pub encode: Py<PyAny>,
    /// And back.
    pub decode: Py<PyAny>,
}

#[derive(Default)]
struct Types {
    by_type: BTreeMap<usize, Arc<Registered>>,
    by_name: BTreeMap<String, Arc<Registered>>,
}

static TYPES: Gil<Local<Types>> = Gil(Local::new(Types { by_type: BTreeMap::new(), by_name: BTreeMap::new() }));

/// How instances of exactly this type are written.
pub(super) fn of_type(class: &Bound<'_, PyType>) -> Option<Arc<Registered>> {
    TYPES.with(|types| types.by_type.get(&(class.as_ptr() as usize)).cloned())
}

/// What is called so on the wire.
pub(super) fn by_name(name: &str) -> Option<Arc<Registered>> {
    TYPES.with(|types| types.by_name.get(name).cloned())
}

/// Says how instances of a type travel between workers. A name has one type: a file that is loaded again defines its
/// types anew, and the newer one stays.
#[pyfunction]
pub fn register_codec(class: Bound<'_, PyType>, name: String, encode: Py<PyAny>, decode: Py<PyAny>) {
    let address = class.as_ptr() as usize;
    let registered = Arc::new(Registered { class: class.unbind(), name: name.clone(), encode, decode });
    let replaced = TYPES.with(|types| {
        let by_name = types.by_name.insert(name, registered.clone());
        let of_name = by_name.as_ref().and_then(|old| types.by_type.remove(&(old.class.as_ptr() as usize)));
        (by_name, of_name, types.by_type.insert(address, registered))
    });
    drop(replaced); // outside of the cell: letting go of a type may run Python
}
