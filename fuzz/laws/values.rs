//! What holds of any bytes as values; the fuzzer's target and the replay of its corpus share it.

use squall_core::codec::{Reader, Token, Writer, check};

/// Any bytes are values or a fault: no panic, and no count that the bytes could not hold. What was read is read again when
/// it is written.
pub fn check_values(bytes: &[u8]) {
    if let Ok(values) = check(bytes) {
        assert!(values <= bytes.len());
        let tokens = tokens_of(bytes);
        let mut again = Vec::new();
        tokens.iter().for_each(|token| write(&mut Writer(&mut again), *token));
        assert!(again.len() <= bytes.len(), "there is no shorter way to write it");
        let read = tokens_of(&again);
        assert_eq!(format!("{read:?}"), format!("{tokens:?}")); // as text, since there are numbers that equal nothing
    }
}

/// The tokens of values that were found sound; the quick way and the whole one find the same.
fn tokens_of(bytes: &[u8]) -> Vec<Token<'_>> {
    let mut whole = Reader::new(bytes).expect("it was read");
    let mut quick = Reader::new(bytes).expect("it was read");
    let mut tokens = Vec::new();
    while !whole.is_at_end() {
        let token = whole.token().expect("it was read");
        match quick.common() {
            Some(common) => assert_eq!(format!("{common:?}"), format!("{token:?}")),
            None => drop(quick.token().expect("it was read")),
        }
        tokens.push(token);
    }
    assert!(quick.is_at_end());
    tokens
}

fn write(writer: &mut Writer<'_>, token: Token<'_>) {
    match token {
        Token::None => writer.none(),
        Token::Bool(value) => writer.bool(value),
        Token::Int(value) => writer.int(value),
        Token::BigInt(bytes) => writer.big_int(bytes),
        Token::Float(value) => writer.float(value),
        Token::Complex(real, imaginary) => writer.complex(real, imaginary),
        Token::Ascii(text) => writer.ascii(text),
        Token::Utf8(text) => writer.text(text.chars().map(u32::from)),
        Token::Surrogates(bytes) => surrogates(writer, bytes),
        Token::Bytes(bytes) => writer.bytes(bytes),
        Token::ByteArray(bytes) => writer.byte_array(bytes),
        Token::List(items) => writer.list(items),
        Token::Tuple(items) => writer.tuple(items),
        Token::Dict(pairs) => writer.dict(pairs),
        Token::Set(items) => writer.set(items),
        Token::FrozenSet(items) => writer.frozen_set(items),
        Token::Date(date) => writer.date(date),
        Token::Time(time) => writer.time(time),
        Token::DateTime(date, time) => writer.date_time(date, time),
        Token::Duration(duration) => writer.duration(duration),
        Token::Utc => writer.utc(),
        Token::Offset(east) => writer.offset(east),
        Token::NamedOffset(east, name) => writer.named_offset(east, name),
        Token::Zone(key) => writer.zone(key),
        Token::Decimal(text) => writer.decimal(text),
        Token::Uuid(bytes) => writer.uuid(bytes),
        Token::Numpy { dtype, bytes } => writer.numpy(dtype, bytes),
        Token::Registered(name) => writer.registered(name),
        Token::Pickle(bytes) => writer.pickle(bytes),
    }
}

/// Only Python looks into it, so it is written as it came: tag, length, bytes.
fn surrogates(writer: &mut Writer<'_>, bytes: &[u8]) {
    let begin = writer.0.len();
    writer.bytes(bytes);
    writer.0[begin] = 0x8c;
}
