//! Values that the interpreter's C interface does not make in one call.

use super::decode::{Made, Reason};
use super::foreign::{DECIMAL, DTYPE_KINDS, UUID, ZONE};
use super::{Fallback, registry};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDate, PyDateTime, PyDelta, PyDict, PyInt, PyTime, PyTzInfo};
use squall_core::codec::{Date, Duration, Fault, Time, Token};

/// An instance of the type registered as `name`, from the value that stands for it.
#[cold]
pub(super) fn registered(py: Python<'_>, name: &str, plain: Bound<'_, PyAny>) -> Made {
    let Some(registered) = registry::by_name(name) else {
        return Err(Box::new(Reason::Unregistered(name.to_owned())));
    };
    let instance = registered
        .decode
        .bind(py)
        .call1((plain,))
        .map_err(|error| Box::new(Reason::Decoder(name.to_owned(), error)))?;
    if !instance.get_type().is(registered.class.bind(py)) {
        let given = instance.get_type().fully_qualified_name()?.to_string();
        return Err(Box::new(Reason::Lied(name.to_owned(), given)));
    }
    Ok(instance.into_ptr())
}

fn zone_of<'a, 'py>(zone: &'a Option<Bound<'py, PyAny>>) -> PyResult<Option<&'a Bound<'py, PyTzInfo>>> {
    Ok(zone.as_ref().map(|zone| zone.cast::<PyTzInfo>()).transpose()?)
}

/// A time of day.
#[cold]
pub(super) fn time(py: Python<'_>, time: Time, zone: Option<Bound<'_, PyAny>>) -> Made {
    let Time { hour, minute, second, microsecond, fold, .. } = time;
    Ok(PyTime::new_with_fold(py, hour, minute, second, microsecond, zone_of(&zone)?, fold)?.into_any().into_ptr())
}

/// A date and time.
#[inline(never)]
pub(super) fn date_time(py: Python<'_>, date: Date, time: Time, zone: Option<Bound<'_, PyAny>>) -> Made {
    let (Date { year, month, day }, Time { hour, minute, second, microsecond, fold, .. }) = (date, time);
    let zone = zone_of(&zone)?;
    let made = PyDateTime::new_with_fold(py, year.into(), month, day, hour, minute, second, microsecond, zone, fold)?;
    Ok(made.into_any().into_ptr())
}

fn duration(py: Python<'_>, span: Duration) -> PyResult<Bound<'_, PyDelta>> {
    PyDelta::new(py, span.days, span.seconds as i32, span.microseconds as i32, true)
}

/// A value without values inside.
#[cold]
pub(super) fn plain(py: Python<'_>, token: Token<'_>, fallback: Fallback) -> Made {
    let made = match token {
        Token::BigInt(bytes) => {
            let signed = PyDict::new(py);
            signed.set_item("signed", true)?;
            py.get_type::<PyInt>().call_method("from_bytes", (PyBytes::new(py, bytes), "little"), Some(&signed))?
        }
        Token::Date(Date { year, month, day }) => PyDate::new(py, year.into(), month, day)?.into_any(),
        Token::Duration(span) => duration(py, span)?.into_any(),
        Token::Utc => PyTzInfo::utc(py)?.to_owned().into_any(),
        Token::Offset(east) => PyTzInfo::utc(py)?.get_type().call1((duration(py, east)?,))?,
        Token::NamedOffset(east, name) => PyTzInfo::utc(py)?.get_type().call1((duration(py, east)?, name))?,
        Token::Zone(key) => ZONE.imported(py)?.call1((key,))?,
        Token::Decimal(text) => DECIMAL.imported(py)?.call1((text,))?,
        Token::Uuid(bytes) => {
            let int = PyDict::new(py);
            int.set_item("int", u128::from_be_bytes(bytes))?;
            UUID.imported(py)?.call((), Some(&int))?
        }
        Token::Numpy { dtype, bytes } => numpy(py, dtype, bytes)?,
        Token::Pickle(bytes) if fallback == Fallback::Pickle => {
            py.import("pickle")?.call_method1("loads", (PyBytes::new(py, bytes),))?
        }
        Token::Pickle(_) => return Err(Box::new(Reason::Pickle)),
        _ => return Err(Fault::Malformed.into()), // the decoder makes all others itself
    };
    Ok(made.into_ptr())
}

fn numpy<'py>(py: Python<'py>, dtype: &str, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    // "<f8", "<M8[ns]": byte order, kind, size, unit.
    let mut form = dtype.chars();
    let (order, kind) = (form.next().unwrap_or_default(), form.next().unwrap_or_default());
    if dtype.len() > 20 || !"<>|=".contains(order) || !DTYPE_KINDS.contains(kind) || dtype.contains(',') {
        return Err(PyValueError::new_err(format!("numpy has no scalar of dtype {dtype:?}")));
    }
    let numpy = py.import("numpy")?;
    let data = PyBytes::new(py, bytes);
    match kind {
        'U' => numpy.getattr("str_")?.call1((data.call_method1("decode", ("utf-8", "surrogatepass"))?,)),
        'S' => numpy.getattr("bytes_")?.call1((data,)),
        _ => {
            let array = numpy.call_method1("frombuffer", (data, dtype))?;
            match array.len()? {
                1 => array.get_item(0),
                _ => Err(PyValueError::new_err(format!("{} bytes are no scalar of dtype {dtype:?}", bytes.len()))),
            }
        }
    }
}
