//! What a value is made of, as it lies in the bytes.

/// A day of the calendar: the year in 2 bytes, month and day in one each. Whether the day exists is for who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// 1 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

/// A time of day: a byte each for hour, minute, second and flags (1: fold, 2: zone), microseconds in 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999,999.
    pub microsecond: u32,
    /// The second of two equal times when a clock is set back.
    pub fold: bool,
    /// The value of its zone follows.
    pub zone: bool,
}

/// A duration as Python keeps it: 4 bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration {
    /// Negative for every negative duration.
    pub days: i32,
    /// 0 to 86,399.
    pub seconds: u32,
    /// 0 to 999,999.
    pub microseconds: u32,
}

/// A value without items, or the beginning of one with items: these follow as values of their own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// No value.
    None,
    /// True or false.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A larger one, two's complement, little-endian.
    BigInt(&'a [u8]),
    /// A float.
    Float(f64),
    /// Real and imaginary part.
    Complex(f64, f64),
    /// Text; the bytes are known to be ASCII.
    Ascii(&'a [u8]),
    /// Text.
    Utf8(&'a str),
    /// Text with lone surrogates, as UTF-8 would write them. Not looked into.
    Surrogates(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Bytes that can be changed.
    ByteArray(&'a [u8]),
    /// So many items follow.
    List(usize),
    /// So many items follow.
    Tuple(usize),
    /// So many pairs of key and value follow.
    Dict(usize),
    /// So many items follow.
    Set(usize),
    /// So many items follow.
    FrozenSet(usize),
    /// A day.
    Date(Date),
    /// A time of day.
    Time(Time),
    /// Both.
    DateTime(Date, Time),
    /// A duration.
    Duration(Duration),
    /// The zone UTC.
    Utc,
    /// The zone so far east of UTC.
    Offset(Duration),
    /// The same with a name.
    NamedOffset(Duration, &'a str),
    /// A zone of the tz database, by its key.
    Zone(&'a str),
    /// A decimal number's text.
    Decimal(&'a str),
    /// A UUID's bytes, the most significant first.
    Uuid([u8; 16]),
    /// A numpy scalar.
    Numpy {
        /// Its dtype as numpy writes it.
        dtype: &'a str,
        /// Its bytes; of text and byte strings what they say.
        bytes: &'a [u8],
    },
    /// An instance of the type registered by this name; the value that stands for it follows.
    Registered(&'a str),
    /// A pickle.
    Pickle(&'a [u8]),
}
