//! Reading values.

use super::{Date, Duration, MAX_BYTES, MAX_DEPTH, MAX_ITEMS, MAX_SHORT, Time, Token, tag};
use std::fmt;

/// Why bytes are no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They end before what they announce.
    Short,
    /// A tag that means nothing.
    Tag(u8),
    /// A number, text or time out of its form.
    Malformed,
    /// Longer than [`MAX_BYTES`].
    TooLong(usize),
    /// More than [`MAX_ITEMS`] values inside of others.
    TooMany,
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Short => write!(f, "the values end before what they announce"),
            Fault::Tag(tag) => write!(f, "the tag {tag:#04x} means nothing"),
            Fault::Malformed => write!(f, "a number, text or time is out of its form"),
            Fault::TooLong(bytes) => write!(f, "the values take {bytes} bytes, over the limit of {MAX_BYTES}"),
            Fault::TooMany => write!(f, "the values hold more than {MAX_ITEMS} others"),
            Fault::TooDeep => write!(f, "values lie in each other deeper than {MAX_DEPTH} levels"),
        }
    }
}

impl std::error::Error for Fault {}

/// Reads the values of one row, token by token.
pub struct Reader<'a> {
    bytes: &'a [u8],
    items_left: usize,
    depth_left: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, which hold whole values.
    #[inline(always)]
    pub fn new(bytes: &'a [u8]) -> Result<Reader<'a>, Fault> {
        if bytes.len() > MAX_BYTES {
            return Err(Fault::TooLong(bytes.len()));
        }
        Ok(Reader { bytes, items_left: MAX_ITEMS, depth_left: MAX_DEPTH })
    }

    /// Whether everything was read.
    #[inline(always)]
    pub fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Goes one level down, into the items that the last token announced.
    pub fn enter(&mut self) -> Result<(), Fault> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or(Fault::TooDeep)?;
        Ok(())
    }

    /// Comes back up.
    pub fn leave(&mut self) {
        self.depth_left += 1;
    }

    /// The next token if it is one of those that nearly all are; else nothing is read, and [`Reader::token`] tells more.
    ///
    /// Apart, since a result that another function may write to lies in memory, and this one should not.
    #[inline(always)]
    pub fn common(&mut self) -> Option<Token<'a>> {
        let (&tag, rest) = self.bytes.split_first()?;
        let (token, rest) = match tag {
            0..tag::SHORT_ASCII => (Token::Int(i64::from(tag)), rest),
            tag::SHORT_ASCII..tag::OTHERS => {
                let (text, rest) = rest.split_at_checked(usize::from(tag) & MAX_SHORT)?;
                if !text.is_ascii() {
                    return None;
                }
                (Token::Ascii(text), rest)
            }
            tag::INT8 => rest.split_first_chunk().map(|(n, rest)| (Token::Int(i8::from_le_bytes(*n).into()), rest))?,
            tag::INT16 => {
                rest.split_first_chunk().map(|(n, rest)| (Token::Int(i16::from_le_bytes(*n).into()), rest))?
            }
            tag::INT32 => {
                rest.split_first_chunk().map(|(n, rest)| (Token::Int(i32::from_le_bytes(*n).into()), rest))?
            }
            tag::FLOAT => rest.split_first_chunk().map(|(n, rest)| (Token::Float(f64::from_le_bytes(*n)), rest))?,
            _ => return None,
        };
        self.bytes = rest;
        Some(token)
    }

    /// The next token.
    pub fn token(&mut self) -> Result<Token<'a>, Fault> {
        let [tag] = self.array()?;
        match tag {
            0..tag::SHORT_ASCII => Ok(Token::Int(i64::from(tag))),
            tag::SHORT_ASCII..tag::OTHERS => Ok(Token::Ascii(self.ascii(usize::from(tag) & MAX_SHORT)?)),
            _ => self.other(tag),
        }
    }

    #[inline(always)]
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.bytes.split_at_checked(bytes).ok_or(Fault::Short)?;
        self.bytes = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(Fault::Short)?;
        self.bytes = rest;
        Ok(*taken)
    }

    #[inline(always)]
    fn ascii(&mut self, bytes: usize) -> Result<&'a [u8], Fault> {
        let text = self.take(bytes)?;
        if text.is_ascii() { Ok(text) } else { Err(Fault::Malformed) }
    }

    fn length(&mut self) -> Result<usize, Fault> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            number |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Fault::Malformed)
    }

    fn sized(&mut self) -> Result<&'a [u8], Fault> {
        let bytes = self.length()?;
        self.take(bytes)
    }

    fn utf8(&mut self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.sized()?).map_err(|_| Fault::Malformed)
    }

    /// A number of items; each takes at least `least_bytes`.
    fn count(&mut self, least_bytes: usize) -> Result<usize, Fault> {
        let count = self.length()?;
        if count > self.bytes.len() / least_bytes {
            return Err(Fault::Short);
        }
        self.items_left = self.items_left.checked_sub(count * least_bytes).ok_or(Fault::TooMany)?;
        Ok(count)
    }

    fn other(&mut self, tag: u8) -> Result<Token<'a>, Fault> {
        Ok(match tag {
            tag::INT8 => Token::Int(i8::from_le_bytes(self.array()?).into()),
            tag::INT16 => Token::Int(i16::from_le_bytes(self.array()?).into()),
            tag::INT32 => Token::Int(i32::from_le_bytes(self.array()?).into()),
            tag::INT64 => Token::Int(i64::from_le_bytes(self.array()?)),
            tag::FLOAT => Token::Float(self.float()?),
            tag::NONE => Token::None,
            tag::FALSE => Token::Bool(false),
            tag::TRUE => Token::Bool(true),
            tag::ASCII => {
                let bytes = self.length()?;
                Token::Ascii(self.ascii(bytes)?)
            }
            tag::UTF8 => Token::Utf8(self.utf8()?),
            tag::BYTES => Token::Bytes(self.sized()?),
            tag::LIST => Token::List(self.count(1)?),
            tag::TUPLE => Token::Tuple(self.count(1)?),
            tag::DICT => Token::Dict(self.count(2)?),
            tag::SET => Token::Set(self.count(1)?),
            tag::FROZEN_SET => Token::FrozenSet(self.count(1)?),
            tag::BIG_INT => Token::BigInt(self.sized()?),
            tag::COMPLEX => Token::Complex(self.float()?, self.float()?),
            tag::SURROGATES => Token::Surrogates(self.sized()?),
            tag::BYTE_ARRAY => Token::ByteArray(self.sized()?),
            tag::DATE => Token::Date(self.day()?),
            tag::TIME => Token::Time(self.time_of_day()?),
            tag::DATE_TIME => Token::DateTime(self.day()?, self.time_of_day()?),
            tag::DURATION => Token::Duration(self.span()?),
            tag::UTC => Token::Utc,
            tag::OFFSET => Token::Offset(self.span()?),
            tag::NAMED_OFFSET => Token::NamedOffset(self.span()?, self.utf8()?),
            tag::ZONE => Token::Zone(self.utf8()?),
            tag::DECIMAL => Token::Decimal(self.utf8()?),
            tag::UUID => Token::Uuid(self.array()?),
            tag::NUMPY => Token::Numpy { dtype: self.utf8()?, bytes: self.sized()? },
            tag::REGISTERED => Token::Registered(self.utf8()?),
            tag::PICKLE => Token::Pickle(self.sized()?),
            _ => return Err(Fault::Tag(tag)),
        })
    }

    fn float(&mut self) -> Result<f64, Fault> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    fn day(&mut self) -> Result<Date, Fault> {
        let year = u16::from_le_bytes(self.array()?);
        let [month, day] = self.array()?;
        let is_day = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        if is_day { Ok(Date { year, month, day }) } else { Err(Fault::Malformed) }
    }

    fn time_of_day(&mut self) -> Result<Time, Fault> {
        let [hour, minute, second, flags] = self.array()?;
        let microsecond = u32::from_le_bytes(self.array()?);
        if hour > 23 || minute > 59 || second > 59 || flags > 3 || microsecond > 999_999 {
            return Err(Fault::Malformed);
        }
        Ok(Time { hour, minute, second, microsecond, fold: flags & 1 != 0, zone: flags & 2 != 0 })
    }

    fn span(&mut self) -> Result<Duration, Fault> {
        let days = i32::from_le_bytes(self.array()?);
        let (seconds, microseconds) = (u32::from_le_bytes(self.array()?), u32::from_le_bytes(self.array()?));
        let is_span = days.unsigned_abs() <= 999_999_999 && seconds < 86_400 && microseconds < 1_000_000;
        if is_span { Ok(Duration { days, seconds, microseconds }) } else { Err(Fault::Malformed) }
    }
}

/// How many values `bytes` hold, every one read to its end.
pub fn check(bytes: &[u8]) -> Result<usize, Fault> {
    let mut reader = Reader::new(bytes)?;
    let mut values = 0;
    while !reader.is_at_end() {
        skip(&mut reader)?;
        values += 1;
    }
    Ok(values)
}

fn skip(reader: &mut Reader<'_>) -> Result<(), Fault> {
    let items = match reader.token()? {
        Token::List(items) | Token::Tuple(items) | Token::Set(items) | Token::FrozenSet(items) => items,
        Token::Dict(pairs) => 2 * pairs,
        Token::Time(time) | Token::DateTime(_, time) if time.zone => 1,
        Token::Registered(_) => 1,
        _ => return Ok(()),
    };
    reader.enter()?;
    (0..items).try_for_each(|_| skip(reader))?;
    reader.leave();
    Ok(())
}
