//! Writing values.

use super::{Date, Duration, MAX_SHORT, Time, tag};

/// Appends values to bytes. Limits are for who walks the values: here are only their forms.
pub struct Writer<'a>(pub &'a mut Vec<u8>);

impl Writer<'_> {
    /// Appends at most [`MAX_SHORT`] bytes behind a tag: with one look at the room, and no call for a few bytes.
    #[inline(always)]
    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        assert!(bytes.len() <= MAX_SHORT);
        self.0.reserve(MAX_SHORT + 1);
        let length = self.0.len();
        // SAFETY: there is room for a tag and so many bytes, which are written before the length says so.
        unsafe {
            let place = self.0.as_mut_ptr().add(length);
            *place = tag;
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.add(1), bytes.len());
            self.0.set_len(length + 1 + bytes.len());
        }
    }

    /// Appends a LEB128 number.
    fn length(&mut self, mut number: usize) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn sized(&mut self, tag: u8, bytes: &[u8]) {
        self.0.reserve(bytes.len() + 11);
        self.counted(tag, bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn counted(&mut self, tag: u8, count: usize) {
        self.0.push(tag);
        self.length(count);
    }

    /// None.
    pub fn none(&mut self) {
        self.0.push(tag::NONE);
    }

    /// True or false.
    pub fn bool(&mut self, value: bool) {
        self.0.push(if value { tag::TRUE } else { tag::FALSE });
    }

    /// An integer of at most 64 bits.
    #[inline(always)]
    pub fn int(&mut self, value: i64) {
        if (0..i64::from(tag::SHORT_ASCII)).contains(&value) {
            self.0.push(value as u8);
        } else if let Ok(value) = i16::try_from(value) {
            match i8::try_from(value) {
                Ok(value) => self.tagged(tag::INT8, &value.to_le_bytes()),
                Err(_) => self.tagged(tag::INT16, &value.to_le_bytes()),
            }
        } else {
            match i32::try_from(value) {
                Ok(value) => self.tagged(tag::INT32, &value.to_le_bytes()),
                Err(_) => self.tagged(tag::INT64, &value.to_le_bytes()),
            }
        }
    }

    /// A larger integer: two's complement, little-endian.
    pub fn big_int(&mut self, bytes: &[u8]) {
        self.sized(tag::BIG_INT, bytes);
    }

    /// A float.
    #[inline(always)]
    pub fn float(&mut self, value: f64) {
        self.tagged(tag::FLOAT, &value.to_le_bytes());
    }

    /// A complex number.
    pub fn complex(&mut self, real: f64, imaginary: f64) {
        self.tagged(tag::COMPLEX, &real.to_le_bytes());
        self.0.extend_from_slice(&imaginary.to_le_bytes());
    }

    /// Text of ASCII characters only.
    #[inline(always)]
    pub fn ascii(&mut self, text: &[u8]) {
        debug_assert!(text.is_ascii());
        if text.len() > MAX_SHORT {
            return self.sized(tag::ASCII, text);
        }
        self.tagged(tag::SHORT_ASCII + text.len() as u8, text);
    }

    /// Text by its code points, surrogates allowed.
    pub fn text(&mut self, characters: impl Iterator<Item = u32> + Clone) {
        let (mut bytes, mut surrogates) = (0, false);
        for character in characters.clone() {
            surrogates |= (0xd800..0xe000).contains(&character);
            bytes += match character {
                0..0x80 => 1,
                0x80..0x800 => 2,
                0x800..0x1_0000 => 3,
                _ => 4,
            };
        }
        self.counted(if surrogates { tag::SURROGATES } else { tag::UTF8 }, bytes);
        self.0.reserve(bytes);
        for character in characters {
            match char::from_u32(character) {
                Some(character) => {
                    let mut buffer = [0; 4];
                    self.0.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                }
                None => {
                    let low = |shift: u32| 0x80 | (character >> shift & 0x3f) as u8;
                    self.0.extend_from_slice(&[0xe0 | (character >> 12) as u8, low(6), low(0)]);
                }
            }
        }
    }

    /// Bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.sized(tag::BYTES, bytes);
    }

    /// Bytes that can be changed.
    pub fn byte_array(&mut self, bytes: &[u8]) {
        self.sized(tag::BYTE_ARRAY, bytes);
    }

    /// The beginning of a list.
    pub fn list(&mut self, items: usize) {
        self.counted(tag::LIST, items);
    }

    /// The beginning of a tuple.
    pub fn tuple(&mut self, items: usize) {
        self.counted(tag::TUPLE, items);
    }

    /// The beginning of a dict.
    pub fn dict(&mut self, pairs: usize) {
        self.counted(tag::DICT, pairs);
    }

    /// The beginning of a set.
    pub fn set(&mut self, items: usize) {
        self.counted(tag::SET, items);
    }

    /// The beginning of a frozenset.
    pub fn frozen_set(&mut self, items: usize) {
        self.counted(tag::FROZEN_SET, items);
    }

    /// A day.
    pub fn date(&mut self, date: Date) {
        self.0.push(tag::DATE);
        self.day(date);
    }

    /// A time of day; its zone follows if it has one.
    pub fn time(&mut self, time: Time) {
        self.0.push(tag::TIME);
        self.time_of_day(time);
    }

    /// A date and time; its zone follows if it has one.
    pub fn date_time(&mut self, date: Date, time: Time) {
        self.0.push(tag::DATE_TIME);
        self.day(date);
        self.time_of_day(time);
    }

    /// A duration.
    pub fn duration(&mut self, duration: Duration) {
        self.0.push(tag::DURATION);
        self.span(duration);
    }

    /// The zone UTC.
    pub fn utc(&mut self) {
        self.0.push(tag::UTC);
    }

    /// A zone so far east of UTC.
    pub fn offset(&mut self, east: Duration) {
        self.0.push(tag::OFFSET);
        self.span(east);
    }

    /// A zone so far east of UTC, with a name.
    pub fn named_offset(&mut self, east: Duration, name: &str) {
        self.0.push(tag::NAMED_OFFSET);
        self.span(east);
        self.name(name);
    }

    /// A zone of the tz database.
    pub fn zone(&mut self, key: &str) {
        self.sized(tag::ZONE, key.as_bytes());
    }

    /// A decimal number by its text.
    pub fn decimal(&mut self, text: &str) {
        self.sized(tag::DECIMAL, text.as_bytes());
    }

    /// A UUID.
    pub fn uuid(&mut self, bytes: [u8; 16]) {
        self.tagged(tag::UUID, &bytes);
    }

    /// A numpy scalar.
    pub fn numpy(&mut self, dtype: &str, bytes: &[u8]) {
        self.sized(tag::NUMPY, dtype.as_bytes());
        self.length(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// The beginning of an instance of a registered type.
    pub fn registered(&mut self, name: &str) {
        self.sized(tag::REGISTERED, name.as_bytes());
    }

    /// A pickle.
    pub fn pickle(&mut self, bytes: &[u8]) {
        self.sized(tag::PICKLE, bytes);
    }

    fn name(&mut self, name: &str) {
        self.length(name.len());
        self.0.extend_from_slice(name.as_bytes());
    }

    fn day(&mut self, date: Date) {
        self.0.extend_from_slice(&date.year.to_le_bytes());
        self.0.extend_from_slice(&[date.month, date.day]);
    }

    fn time_of_day(&mut self, time: Time) {
        let flags = u8::from(time.fold) | u8::from(time.zone) << 1;
        self.0.extend_from_slice(&[time.hour, time.minute, time.second, flags]);
        self.0.extend_from_slice(&time.microsecond.to_le_bytes());
    }

    fn span(&mut self, duration: Duration) {
        self.0.extend_from_slice(&duration.days.to_le_bytes());
        self.0.extend_from_slice(&duration.seconds.to_le_bytes());
        self.0.extend_from_slice(&duration.microseconds.to_le_bytes());
    }
}
