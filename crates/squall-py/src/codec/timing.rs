//! How long values take there and back, as a worker does it: for `benchmarks/codec.py`.

use super::{Around, Fallback, Texts, decode_common_row, decode_row, encode_row};
use crate::fault;
use crate::row::PyRow;
use crate::values::row_of;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use squall_core::frame::{self, Body, NotPushed, RowBuffer, RowFlags, RowPlace};
use squall_core::ids::{Incarnation, RootId, Token};
use squall_core::mailbox::Mailbox;
use std::mem::ManuallyDrop;
use std::time::Duration;

const TOKEN: Token = Token { epoch: 1, incarnation: Incarnation(1) };

fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Writes rows with their ids into data frames of `per_frame`, then reads these into a mailbox; all frames are written
/// before the first is read. Returns (nanoseconds a row to write, to read, bytes a row), in CPU time of this thread.
#[pyfunction]
pub fn time_codec(py: Python<'_>, rows: Vec<Bound<'_, PyTuple>>, per_frame: usize) -> PyResult<(f64, f64, f64)> {
    let rows = rows.iter().map(row_of).collect::<PyResult<Vec<PyRow>>>()?;
    let fields = rows.first().map_or(0, PyRow::len);
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let mut buffer = RowBuffer::default();
    let began = thread_cpu();
    for (number, row) in (0..).zip(&rows) {
        let place = RowPlace { source: 7, stream: 1, sequence: number };
        let trees = [(RootId(number.wrapping_mul(0x9e37_79b9)), number.wrapping_mul(0x9e37_79b9_7f4a_7c15))];
        let pushed =
            buffer.push(place, RowFlags::default(), &trees, None, |out| encode_row(py, row, Fallback::Refuse, out));
        match pushed {
            Ok(_) => {}
            Err(NotPushed::Values(trouble)) => return Err(fault::unencodable_value(py, *trouble)),
            Err(NotPushed::TooLong(bytes)) => return Err(PyValueError::new_err(format!("a row of {bytes} bytes"))),
        }
        if buffer.len() == per_frame || number as usize + 1 == rows.len() {
            let mut frame = Vec::with_capacity(buffer.bytes() + 64);
            let sent = buffer.take(per_frame, usize::MAX, |rows| {
                frame::encode(&mut frame, TOKEN, number, &Body::Data { target: 3, rows })
            });
            sent.map_err(|fault| PyValueError::new_err(fault.to_string()))?;
            frames.push(frame);
        }
    }
    let written = thread_cpu() - began;
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let read = read(py, &frames, fields)?;
    let per_row = |time: Duration| time.as_nanos() as f64 / rows.len().max(1) as f64;
    Ok((per_row(written), per_row(read), bytes as f64 / rows.len().max(1) as f64))
}

fn read(py: Python<'_>, frames: &[Vec<u8>], fields: usize) -> PyResult<Duration> {
    let (inbox, texts) = (Mailbox::<PyRow>::default(), Texts::default());
    let around = Around { fallback: Fallback::Refuse, texts: &texts, users_code: &|| () };
    let began = thread_cpu();
    for frame in frames {
        let decoded = frame::decode(frame).map_err(|fault| PyValueError::new_err(fault.to_string()))?;
        let Some((_, Body::Data { rows, .. }, _)) = decoded else {
            return Err(PyValueError::new_err("a frame that is none"));
        };
        let mut refused = None;
        rows.for_each(|row| {
            let mut values = ManuallyDrop::new(PyRow::empty());
            if !decode_common_row(py, row.values, fields, &texts, &mut values) {
                match decode_row(py, row.values, fields, &around) {
                    Ok(made) => *values = made,
                    Err(trouble) => return refused = Some(trouble),
                }
            }
            let (root, edge) = row.trees.iter().next().unwrap_or((RootId::NONE, 0));
            // SAFETY: the row is taken by the call.
            unsafe { inbox.push_from(root, edge, 0, &raw const *values) };
        });
        if let Some(trouble) = refused {
            return Err(fault::undecodable_value(py, *trouble));
        }
        while let Some(row) = inbox.pop() {
            drop(row);
        }
    }
    Ok(thread_cpu() - began)
}
