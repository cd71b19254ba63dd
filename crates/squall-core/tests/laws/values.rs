//! Values on the wire: whatever is written is read again, and no bytes do harm.

use proptest::prelude::*;
use squall_core::codec::{Date, Duration, Fault, MAX_BYTES, MAX_DEPTH, MAX_ITEMS, Reader, Time, Token, Writer, check};

/// A value as owned data.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    None,
    Bool(bool),
    Int(i64),
    BigInt(Vec<u8>),
    Float(f64),
    Complex(f64, f64),
    Ascii(String),
    Text(String),
    Bytes(Vec<u8>),
    ByteArray(Vec<u8>),
    Date(Date),
    Time(Time, Option<Box<Value>>),
    DateTime(Date, Time, Option<Box<Value>>),
    Duration(Duration),
    Utc,
    Offset(Duration),
    NamedOffset(Duration, String),
    Zone(String),
    Decimal(String),
    Uuid([u8; 16]),
    Numpy(String, Vec<u8>),
    Pickle(Vec<u8>),
    Registered(String, Box<Value>),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Set(Vec<Value>),
    FrozenSet(Vec<Value>),
}

fn write(out: &mut Vec<u8>, value: &Value) {
    let mut writer = Writer(out);
    match value {
        Value::None => writer.none(),
        Value::Bool(value) => writer.bool(*value),
        Value::Int(value) => writer.int(*value),
        Value::BigInt(bytes) => writer.big_int(bytes),
        Value::Float(value) => writer.float(*value),
        Value::Complex(real, imaginary) => writer.complex(*real, *imaginary),
        Value::Ascii(text) => writer.ascii(text.as_bytes()),
        Value::Text(text) => writer.text(text.chars().map(u32::from)),
        Value::Bytes(bytes) => writer.bytes(bytes),
        Value::ByteArray(bytes) => writer.byte_array(bytes),
        Value::Date(date) => writer.date(*date),
        Value::Time(time, zone) => {
            writer.time(*time);
            zone.iter().for_each(|zone| write(out, zone));
        }
        Value::DateTime(date, time, zone) => {
            writer.date_time(*date, *time);
            zone.iter().for_each(|zone| write(out, zone));
        }
        Value::Duration(duration) => writer.duration(*duration),
        Value::Utc => writer.utc(),
        Value::Offset(east) => writer.offset(*east),
        Value::NamedOffset(east, name) => writer.named_offset(*east, name),
        Value::Zone(key) => writer.zone(key),
        Value::Decimal(text) => writer.decimal(text),
        Value::Uuid(bytes) => writer.uuid(*bytes),
        Value::Numpy(dtype, bytes) => writer.numpy(dtype, bytes),
        Value::Pickle(bytes) => writer.pickle(bytes),
        Value::Registered(name, value) => {
            writer.registered(name);
            write(out, value);
        }
        Value::List(items) => {
            writer.list(items.len());
            items.iter().for_each(|item| write(out, item));
        }
        Value::Tuple(items) => {
            writer.tuple(items.len());
            items.iter().for_each(|item| write(out, item));
        }
        Value::Dict(pairs) => {
            writer.dict(pairs.len());
            for (key, item) in pairs {
                write(out, key);
                write(out, item);
            }
        }
        Value::Set(items) => {
            writer.set(items.len());
            items.iter().for_each(|item| write(out, item));
        }
        Value::FrozenSet(items) => {
            writer.frozen_set(items.len());
            items.iter().for_each(|item| write(out, item));
        }
    }
}

fn read_items(reader: &mut Reader<'_>, items: usize) -> Result<Vec<Value>, Fault> {
    reader.enter()?;
    let items = (0..items).map(|_| read(reader)).collect();
    reader.leave();
    items
}

fn read_zone(reader: &mut Reader<'_>, time: Time) -> Result<Option<Box<Value>>, Fault> {
    if time.zone { Ok(read_items(reader, 1)?.pop().map(Box::new)) } else { Ok(None) }
}

fn read(reader: &mut Reader<'_>) -> Result<Value, Fault> {
    Ok(match reader.token()? {
        Token::None => Value::None,
        Token::Bool(value) => Value::Bool(value),
        Token::Int(value) => Value::Int(value),
        Token::BigInt(bytes) => Value::BigInt(bytes.to_vec()),
        Token::Float(value) => Value::Float(value),
        Token::Complex(real, imaginary) => Value::Complex(real, imaginary),
        Token::Ascii(text) => Value::Ascii(String::from_utf8(text.to_vec()).expect("ASCII")),
        Token::Utf8(text) => Value::Text(text.to_owned()),
        Token::Surrogates(bytes) => Value::Bytes(bytes.to_vec()),
        Token::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
        Token::ByteArray(bytes) => Value::ByteArray(bytes.to_vec()),
        Token::List(items) => Value::List(read_items(reader, items)?),
        Token::Tuple(items) => Value::Tuple(read_items(reader, items)?),
        Token::Dict(pairs) => {
            let mut items = read_items(reader, 2 * pairs)?.into_iter();
            Value::Dict(std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect())
        }
        Token::Set(items) => Value::Set(read_items(reader, items)?),
        Token::FrozenSet(items) => Value::FrozenSet(read_items(reader, items)?),
        Token::Date(date) => Value::Date(date),
        Token::Time(time) => Value::Time(time, read_zone(reader, time)?),
        Token::DateTime(date, time) => Value::DateTime(date, time, read_zone(reader, time)?),
        Token::Duration(duration) => Value::Duration(duration),
        Token::Utc => Value::Utc,
        Token::Offset(east) => Value::Offset(east),
        Token::NamedOffset(east, name) => Value::NamedOffset(east, name.to_owned()),
        Token::Zone(key) => Value::Zone(key.to_owned()),
        Token::Decimal(text) => Value::Decimal(text.to_owned()),
        Token::Uuid(bytes) => Value::Uuid(bytes),
        Token::Numpy { dtype, bytes } => Value::Numpy(dtype.to_owned(), bytes.to_vec()),
        Token::Registered(name) => {
            let name = name.to_owned();
            Value::Registered(name, Box::new(read_items(reader, 1)?.pop().expect("one")))
        }
        Token::Pickle(bytes) => Value::Pickle(bytes.to_vec()),
    })
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..100)
}

fn date() -> impl Strategy<Value = Date> {
    (1_u16..=9999, 1_u8..=12, 1_u8..=31).prop_map(|(year, month, day)| Date { year, month, day })
}

fn time() -> impl Strategy<Value = Time> {
    (0_u8..24, 0_u8..60, 0_u8..60, 0_u32..1_000_000, any::<bool>()).prop_map(
        |(hour, minute, second, microsecond, fold)| Time { hour, minute, second, microsecond, fold, zone: false },
    )
}

fn duration() -> impl Strategy<Value = Duration> {
    (-999_999_999_i32..=999_999_999, 0_u32..86_400, 0_u32..1_000_000)
        .prop_map(|(days, seconds, microseconds)| Duration { days, seconds, microseconds })
}

fn leaf() -> impl Strategy<Value = Value> {
    let float = || any::<f64>();
    prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-40_000_i64..40_000).prop_map(Value::Int),
        bytes().prop_map(Value::BigInt),
        float().prop_map(Value::Float),
        (float(), float()).prop_map(|(real, imaginary)| Value::Complex(real, imaginary)),
        "[ -~]{0,90}".prop_map(Value::Ascii),
        "\\PC{0,40}".prop_map(Value::Text),
        bytes().prop_map(Value::Bytes),
        bytes().prop_map(Value::ByteArray),
        date().prop_map(Value::Date),
        time().prop_map(|time| Value::Time(time, None)),
        (date(), time()).prop_map(|(date, time)| {
            Value::DateTime(date, Time { zone: true, ..time }, Some(Box::new(Value::Utc)))
        }),
        duration().prop_map(Value::Duration),
        duration().prop_map(Value::Offset),
        (duration(), "\\PC{0,9}").prop_map(|(east, name)| Value::NamedOffset(east, name)),
        "[A-Za-z/]{1,20}".prop_map(Value::Zone),
        "[0-9.E+-]{1,20}".prop_map(Value::Decimal),
        any::<[u8; 16]>().prop_map(Value::Uuid),
        ("[<>][fiu][1248]", bytes()).prop_map(|(dtype, bytes)| Value::Numpy(dtype, bytes)),
        bytes().prop_map(Value::Pickle),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(6, 60, 6, |inner| {
        let items = || proptest::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            items().prop_map(Value::List),
            items().prop_map(Value::Tuple),
            items().prop_map(Value::Set),
            items().prop_map(Value::FrozenSet),
            proptest::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Value::Dict),
            ("[a-z.]{1,20}", inner.clone()).prop_map(|(name, value)| Value::Registered(name, Box::new(value))),
        ]
    })
}

fn written(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| write(&mut out, value));
    out
}

fn read_all(bytes: &[u8]) -> Result<Vec<Value>, Fault> {
    let mut reader = Reader::new(bytes)?;
    let mut values = Vec::new();
    while !reader.is_at_end() {
        values.push(read(&mut reader)?);
    }
    Ok(values)
}

/// What is read of text that was written by its characters.
fn as_read(value: &Value) -> String {
    format!("{value:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_value_is_read_as_it_was_written(values in proptest::collection::vec(value(), 0..5)) {
        let bytes = written(&values);
        prop_assert_eq!(check(&bytes), Ok(values.len()));
        // By their texts, since NaN is not equal to itself.
        let read: Vec<String> = read_all(&bytes).expect("good values").iter().map(as_read).collect();
        prop_assert_eq!(read, values.iter().map(as_read).collect::<Vec<_>>());
    }

    #[test]
    fn a_cut_leaves_fewer_values_or_a_fault(values in proptest::collection::vec(value(), 1..4)) {
        let bytes = written(&values);
        for length in 0..bytes.len() {
            match check(&bytes[..length]) {
                Ok(left) => prop_assert!(left < values.len()),
                Err(fault) => prop_assert_eq!(fault, Fault::Short),
            }
        }
    }

    #[test]
    fn a_changed_byte_gives_values_or_a_fault(values in proptest::collection::vec(value(), 1..4), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = written(&values);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let made = read_all(&bytes);
        prop_assert_eq!(made.as_ref().map(Vec::len).map_err(|fault| *fault), check(&bytes));
    }

    #[test]
    fn random_bytes_are_values_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        match check(&bytes) {
            Ok(values) => prop_assert!(values <= bytes.len()),
            Err(fault) => prop_assert!(!fault.to_string().is_empty()),
        }
    }
}

#[test]
fn text_by_its_characters_is_utf8_and_says_where_surrogates_stand_alone() {
    let text = |characters: &[u32]| {
        let mut out = Vec::new();
        Writer(&mut out).text(characters.iter().copied());
        out
    };
    assert_eq!(text(&[0xe4]), [0x8b, 2, 0xc3, 0xa4]);
    assert_eq!(text(&[0x1f600]), [0x8b, 4, 0xf0, 0x9f, 0x98, 0x80]);
    assert_eq!(text(&[0x61, 0xd800]), [0x8c, 4, 0x61, 0xed, 0xa0, 0x80]);
    assert_eq!(text(&[0xdfff]), [0x8c, 3, 0xed, 0xbf, 0xbf]);
}

#[test]
fn counts_and_levels_have_limits() {
    let mut most = Vec::new();
    Writer(&mut most).list(MAX_ITEMS);
    most.resize(most.len() + MAX_ITEMS, 0);
    assert_eq!(check(&most), Ok(1));
    most.extend([0x90, 1, 0]);
    assert_eq!(check(&most), Err(Fault::TooMany));
    let long: Vec<u8> = std::iter::repeat_n(0, MAX_BYTES + 1).collect();
    assert_eq!(check(&long), Err(Fault::TooLong(MAX_BYTES + 1)));
    let nested = |levels: usize| [[0x90, 1].repeat(levels), vec![0]].concat();
    assert_eq!(check(&nested(MAX_DEPTH)), Ok(1));
    assert_eq!(check(&nested(MAX_DEPTH + 1)), Err(Fault::TooDeep));
}

#[test]
fn a_count_is_believed_only_as_far_as_bytes_follow() {
    for tag in [0x90_u8, 0x91, 0x92, 0x93, 0x94] {
        assert_eq!(check(&[tag, 3, 0, 0]), Err(Fault::Short));
        assert_eq!(check(&[tag, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]), Err(Fault::Short));
        assert_eq!(check(&[tag, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(Fault::Malformed));
    }
    assert_eq!(check(&[0x92, 2, 0, 0, 0]), Err(Fault::Short), "a pair takes two bytes");
}
