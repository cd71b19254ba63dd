//! Reading and writing the fields of frames.

use super::{Fault, Grant};
use crate::ids::RootId;
use std::fmt;
use std::marker::PhantomData;

/// Appends bytes.
pub(super) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}

/// What is still to be read of a body.
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn take(&mut self, bytes: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Fault::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Fault::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn u8(&mut self) -> Result<u8, Fault> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A LEB128 number.
    #[inline(always)]
    pub fn number(&mut self) -> Result<u64, Fault> {
        match self.u8()? {
            byte if byte < 0x80 => Ok(byte.into()),
            byte => self.longer_number(byte),
        }
    }

    fn longer_number(&mut self, first: u8) -> Result<u64, Fault> {
        let mut number = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Fault::Malformed)
    }

    /// A length and so many bytes.
    #[inline(always)]
    pub fn sized(&mut self) -> Result<&'a [u8], Fault> {
        let bytes = usize::try_from(self.number()?).map_err(|_| Fault::Short)?;
        self.take(bytes)
    }
}

#[inline(always)]
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[inline(always)]
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

/// Something of a fixed size that frames carry lists of.
pub trait Item: Copy {
    /// Its size in a frame.
    const BYTES: usize;
    /// Reads one from exactly [`Item::BYTES`] bytes.
    fn read(bytes: &[u8]) -> Self;
    /// Appends one.
    fn write(self, out: &mut Vec<u8>);
}

impl Item for RootId {
    const BYTES: usize = 8;

    fn read(bytes: &[u8]) -> Self {
        RootId(u64_at(bytes, 0))
    }

    fn write(self, out: &mut Vec<u8>) {
        put(out, &self.0.to_le_bytes());
    }
}

/// A root, and an edge id or an XOR.
impl Item for (RootId, u64) {
    const BYTES: usize = 16;

    #[inline(always)]
    fn read(bytes: &[u8]) -> Self {
        (RootId(u64_at(bytes, 0)), u64_at(bytes, 8))
    }

    fn write(self, out: &mut Vec<u8>) {
        put(out, &self.0.0.to_le_bytes());
        put(out, &self.1.to_le_bytes());
    }
}

impl Item for Grant {
    const BYTES: usize = 12;

    fn read(bytes: &[u8]) -> Self {
        Grant { target: u32_at(bytes, 0), total: u64_at(bytes, 4) }
    }

    fn write(self, out: &mut Vec<u8>) {
        put(out, &self.target.to_le_bytes());
        put(out, &self.total.to_le_bytes());
    }
}

/// Appends `items` as [`Items`] reads them.
pub fn write_items<T: Item>(out: &mut Vec<u8>, items: &[T]) {
    out.reserve(items.len() * T::BYTES);
    items.iter().for_each(|item| item.write(out));
}

/// A list of fixed-size items, as a view of a frame's bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Items<'a, T> {
    bytes: &'a [u8],
    of: PhantomData<T>,
}

impl<'a, T: Item> Items<'a, T> {
    /// A view of `bytes`, which must be whole items.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        if bytes.len().is_multiple_of(T::BYTES) { Ok(Items { bytes, of: PhantomData }) } else { Err(Fault::Short) }
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.bytes.len() / T::BYTES
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.bytes.is_empty()
    }

    /// The items in their order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = T> + 'a
    where
        T: 'a,
    {
        self.bytes.chunks_exact(T::BYTES).map(T::read)
    }

    /// The bytes as they are in the frame.
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }
}

impl<T: Item + fmt::Debug> fmt::Debug for Items<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
