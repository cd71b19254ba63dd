//! How a spout of sockets tells records apart and encrypts, as Python says it.

use crate::tcp::QUEUE_BYTES;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use squall_core::framing::Framing;
use squall_net::tcp::{HANDSHAKE, REST_BYTES, Receipts, StreamOptions};
use squall_net::tls::{Tls, TlsDefect};
use std::path::PathBuf;

/// How records come from connections.
#[pyclass(frozen, module = "squall._core")]
pub struct StreamSettings(pub StreamOptions);

#[pymethods]
impl StreamSettings {
    #[new]
    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (*, framing, delimiter = Vec::new(), size = 0, prefix_bytes = 4, big_endian = true, max_record,
        max_connections, client_buffer, tls = None, receipts = None))]
    fn new(
        framing: &str,
        delimiter: Vec<u8>,
        size: usize,
        prefix_bytes: u8,
        big_endian: bool,
        max_record: usize,
        max_connections: usize,
        client_buffer: usize,
        tls: Option<&TlsSide>,
        receipts: Option<&str>,
    ) -> PyResult<StreamSettings> {
        let framing = match framing {
            "lines" => Framing::Lines,
            "delimiter" => Framing::Delimiter(delimiter),
            "fixed" => Framing::Fixed(size),
            "length_prefix" => Framing::LengthPrefix { bytes: prefix_bytes, big_endian },
            other => return Err(PyValueError::new_err(format!("unknown framing {other:?}"))),
        };
        let receipts = match receipts {
            None => Receipts::None,
            Some("processed") => Receipts::Processed,
            Some("stored") => Receipts::Stored,
            Some(other) => return Err(PyValueError::new_err(format!("unknown receipts {other:?}"))),
        };
        Ok(StreamSettings(StreamOptions {
            framing,
            max_record,
            max_connections,
            client_buffer,
            queue_bytes: QUEUE_BYTES,
            rest_bytes: REST_BYTES,
            tls: tls.map(|side| side.0.clone()),
            handshake: HANDSHAKE,
            receipts,
        }))
    }
}

/// How one side does its TLS hand-shakes.
#[pyclass(frozen, module = "squall._core")]
pub struct TlsSide(Tls);

#[pymethods]
impl TlsSide {
    #[staticmethod]
    #[pyo3(signature = (certificate, key, client_ca, /))]
    fn server(certificate: PathBuf, key: PathBuf, client_ca: Option<PathBuf>) -> PyResult<TlsSide> {
        Tls::server(&certificate, &key, client_ca.as_deref()).map(TlsSide).map_err(unusable)
    }

    #[staticmethod]
    #[pyo3(signature = (ca, certificate, key, server_name, /))]
    fn client(
        ca: Option<PathBuf>,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
        server_name: Option<String>,
    ) -> PyResult<TlsSide> {
        let identity = certificate.as_deref().zip(key.as_deref());
        Tls::client(ca.as_deref(), identity, server_name).map(TlsSide).map_err(unusable)
    }
}

fn unusable(defect: TlsDefect) -> PyErr {
    PyValueError::new_err(defect.to_string())
}
