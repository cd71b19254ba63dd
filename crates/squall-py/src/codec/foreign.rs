//! Values of types that are not the interpreter's own: registered ones, those of modules of the standard library, and
//! numpy's scalars. A module that was never imported has no instances, so nothing is imported to look for its types.

use super::encode::{Cause, Encoder, Unencodable, Written};
use super::{Fallback, registry};
use pyo3::exceptions::PyTypeError;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBytes, PyDate, PyDateAccess, PyDateTime, PyDelta, PyDeltaAccess, PyDict, PyTime, PyTimeAccess, PyType, PyTzInfo,
    PyTzInfoAccess,
};
use squall_core::codec::{Date, Duration, Time};

/// A type of a module, found when the module is there.
pub(super) struct Known {
    module: &'static str,
    name: &'static str,
    found: PyOnceLock<Py<PyType>>,
}

pub(super) static DECIMAL: Known = Known::new("decimal", "Decimal");
pub(super) static UUID: Known = Known::new("uuid", "UUID");
pub(super) static ZONE: Known = Known::new("zoneinfo", "ZoneInfo");
static NUMPY: Known = Known::new("numpy", "generic");

impl Known {
    const fn new(module: &'static str, name: &'static str) -> Known {
        Known { module, name, found: PyOnceLock::new() }
    }

    fn loaded<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyType>> {
        if let Some(found) = self.found.get(py) {
            return Some(found.bind(py).clone());
        }
        let modules = py.import("sys").ok()?.getattr("modules").ok()?.cast_into::<PyDict>().ok()?;
        modules.get_item(self.module).ok()??;
        self.imported(py).ok()
    }

    /// The type, its module imported if it was not.
    pub fn imported<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
        let load = || -> PyResult<Py<PyType>> {
            Ok(py.import(self.module)?.getattr(self.name)?.cast_into::<PyType>()?.unbind())
        };
        Ok(self.found.get_or_try_init(py, load)?.bind(py).clone())
    }

    fn is_type_of(&self, value: &Bound<'_, PyAny>) -> bool {
        self.loaded(value.py()).is_some_and(|known| value.get_type().is(&known))
    }

    fn is_base_of(&self, value: &Bound<'_, PyAny>) -> bool {
        self.loaded(value.py()).is_some_and(|known| value.is_instance(&known).unwrap_or(false))
    }
}

/// Whether the value was of a type that is known here.
type WasWritten = Result<bool, Box<Unencodable>>;

/// Writes a value that the caller holds and whose type is none of the interpreter's own.
pub(super) fn write(encoder: &mut Encoder<'_>, value: &Bound<'_, PyAny>) -> Written {
    if let Some(registered) = registry::of_type(&value.get_type()) {
        return write_registered(encoder, value, &registered);
    }
    if write_time(encoder, value)? {
        return Ok(());
    }
    if write_known(encoder, value)? {
        return encoder.fits(0);
    }
    match encoder.fallback {
        Fallback::Pickle => write_pickle(encoder, value),
        _ => Err(Unencodable::new(Cause::Type(value.get_type().unbind()))),
    }
}

fn write_registered(encoder: &mut Encoder<'_>, value: &Bound<'_, PyAny>, registered: &registry::Registered) -> Written {
    let name = &registered.name;
    encoder.enter(1)?;
    let plain = registered
        .encode
        .bind(value.py())
        .call1((value,))
        .map_err(|error| Unencodable::new(Cause::Encoder(name.clone(), error)))?;
    if plain.is(value) {
        return Err(Unencodable::new(Cause::Itself(name.clone())));
    }
    encoder.fits(name.len())?;
    encoder.writer().registered(name);
    // SAFETY: `plain` is held here.
    unsafe { encoder.value(plain.as_ptr()) }.map_err(|trouble| trouble.at(|| format!(" as {name} encodes it")))?;
    encoder.leave();
    encoder.fits(0)
}

fn write_pickle(encoder: &mut Encoder<'_>, value: &Bound<'_, PyAny>) -> Written {
    let pickled = value.py().import("pickle").and_then(|pickle| pickle.call_method1("dumps", (value, 5)));
    let pickled = pickled.and_then(|pickled| Ok(pickled.cast_into::<PyBytes>()?)).map_err(|error| {
        let name = value.get_type().fully_qualified_name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
        Unencodable::new(Cause::Encoder(name, error))
    })?;
    encoder.fits(pickled.as_bytes().len())?;
    encoder.writer().pickle(pickled.as_bytes());
    encoder.fits(0)
}

fn date_of(value: &impl PyDateAccess) -> Date {
    Date { year: value.get_year() as u16, month: value.get_month(), day: value.get_day() }
}

fn time_of(value: &impl PyTimeAccess, zone: bool) -> Time {
    Time {
        hour: value.get_hour(),
        minute: value.get_minute(),
        second: value.get_second(),
        microsecond: value.get_microsecond(),
        fold: value.get_fold(),
        zone,
    }
}

fn duration_of(value: &Bound<'_, PyDelta>) -> Duration {
    Duration {
        days: value.get_days(),
        seconds: value.get_seconds() as u32,
        microseconds: value.get_microseconds() as u32,
    }
}

/// Whether the value is one of `datetime`, which then is written.
fn write_time(encoder: &mut Encoder<'_>, value: &Bound<'_, PyAny>) -> WasWritten {
    if let Ok(date) = value.cast_exact::<PyDate>() {
        encoder.writer().date(date_of(date));
    } else if let Ok(moment) = value.cast_exact::<PyDateTime>() {
        let zone = moment.get_tzinfo();
        encoder.writer().date_time(date_of(moment), time_of(moment, zone.is_some()));
        write_zone(encoder, zone)?;
    } else if let Ok(time) = value.cast_exact::<PyTime>() {
        let zone = time.get_tzinfo();
        encoder.writer().time(time_of(time, zone.is_some()));
        write_zone(encoder, zone)?;
    } else if let Ok(duration) = value.cast_exact::<PyDelta>() {
        encoder.writer().duration(duration_of(duration));
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn write_zone(encoder: &mut Encoder<'_>, zone: Option<Bound<'_, PyTzInfo>>) -> Written {
    let Some(zone) = zone else { return Ok(()) };
    encoder.enter(1)?;
    // SAFETY: `zone` is held here.
    unsafe { encoder.value(zone.as_ptr()) }.map_err(|trouble| trouble.at(|| ".tzinfo".to_owned()))?;
    encoder.leave();
    Ok(())
}

fn write_known(encoder: &mut Encoder<'_>, value: &Bound<'_, PyAny>) -> WasWritten {
    let py = value.py();
    let utc = PyTzInfo::utc(py)?;
    if value.is(utc) {
        encoder.writer().utc();
    } else if value.get_type().is(utc.get_type()) {
        return write_offset(encoder, value);
    } else if ZONE.is_type_of(value) {
        let Some(key) = value.getattr("key")?.extract::<Option<String>>()? else { return Ok(false) };
        encoder.writer().zone(&key);
    } else if DECIMAL.is_type_of(value) {
        let text = value.str()?;
        encoder.fits(text.len()?)?;
        encoder.writer().decimal(text.to_str()?);
    } else if UUID.is_type_of(value) {
        encoder.writer().uuid(value.getattr("int")?.extract::<u128>()?.to_be_bytes());
    } else if NUMPY.is_base_of(value) {
        return write_numpy(encoder, value);
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn write_offset(encoder: &mut Encoder<'_>, zone: &Bound<'_, PyAny>) -> WasWritten {
    // What `datetime.timezone` was made of: (offset,) or (offset, name).
    let made_of = zone.call_method0("__getinitargs__")?;
    if let Ok((east,)) = made_of.extract::<(Bound<'_, PyDelta>,)>() {
        encoder.writer().offset(duration_of(&east));
        return Ok(true);
    }
    let (east, name) = made_of.extract::<(Bound<'_, PyDelta>, Bound<'_, pyo3::types::PyString>)>()?;
    let name = name.to_str()?;
    encoder.fits(name.len())?;
    encoder.writer().named_offset(duration_of(&east), name);
    Ok(true)
}

/// The dtypes that are written: booleans, numbers, times, text, byte strings.
pub(super) const DTYPE_KINDS: &str = "biufcmMSU";

fn write_numpy(encoder: &mut Encoder<'_>, value: &Bound<'_, PyAny>) -> WasWritten {
    let dtype = value.getattr("dtype")?;
    let (kind, name): (char, String) = (dtype.getattr("kind")?.extract()?, dtype.getattr("str")?.extract()?);
    let module: String = value.get_type().getattr("__module__")?.extract()?;
    // Not structured scalars nor objects; and no subclass of the user's, which would be narrowed.
    if !DTYPE_KINDS.contains(kind) || module != "numpy" {
        return Ok(false);
    }
    // An item of an array loses the zeros at the end of its text, so that is written as it is.
    let bytes = match kind {
        'U' => value.call_method1("encode", ("utf-8", "surrogatepass"))?,
        'S' => value.py().get_type::<PyBytes>().call1((value,))?,
        _ => value.call_method0("tobytes")?,
    };
    let bytes = bytes.cast_into::<PyBytes>().map_err(|_| PyTypeError::new_err("numpy gave no bytes"))?;
    encoder.fits(bytes.as_bytes().len())?;
    encoder.writer().numpy(&name, bytes.as_bytes());
    Ok(true)
}

/// A large integer's two's complement.
pub(super) fn bytes_of_int(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let bits: usize = value.call_method0("bit_length")?.extract()?;
    let signed = PyDict::new(value.py());
    signed.set_item("signed", true)?;
    value.call_method("to_bytes", (bits / 8 + 1, "little"), Some(&signed))?.extract()
}

/// A short `repr`, for messages.
///
/// # Safety
/// `value` is a live object; the interpreter lock is held.
pub(super) unsafe fn repr_of(value: *mut PyObject) -> String {
    // SAFETY: as the caller promises.
    let value = unsafe { Bound::from_borrowed_ptr(Python::assume_attached(), value) };
    let repr = value.py().import("squall.errors").and_then(|errors| errors.getattr("repr_of")?.call1((value,)));
    repr.and_then(|repr| repr.extract()).unwrap_or_else(|_| "?".to_owned())
}
