//! Hashes of Python literals, read from text: just enough of the grammar for `golden_keys.txt`.

use squall_core::key;

const MODULUS: u128 = (1 << 61) - 1;

/// The hash of the value that `literal` writes, which must be all of the text.
pub fn hash(literal: &str) -> Result<u64, String> {
    let mut reader = Reader { rest: literal };
    let hash = reader.value()?;
    reader.skip_spaces();
    if reader.rest.is_empty() { Ok(hash) } else { Err(format!("{:?} is left over", reader.rest)) }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, prefix: &str) -> bool {
        self.skip_spaces();
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next_char(&mut self) -> Result<char, String> {
        let mut chars = self.rest.chars();
        let next = chars.next().ok_or("the text ends inside a literal")?;
        self.rest = chars.as_str();
        Ok(next)
    }

    fn value(&mut self) -> Result<u64, String> {
        let words = [
            ("None", key::NONE),
            ("True", key::int(1)),
            ("False", key::int(0)),
            ("float('nan')", key::NAN),
            ("float('inf')", key::float(f64::INFINITY)),
            ("float('-inf')", key::float(f64::NEG_INFINITY)),
        ];
        if let Some((_, hash)) = words.iter().find(|(word, _)| self.take(word)) {
            return Ok(*hash);
        }
        if self.take("b'") {
            return Ok(key::bytes(&self.quoted(false)?));
        }
        if self.take("'") {
            return Ok(key::text(&self.quoted(true)?));
        }
        if self.take("(") {
            return self.sequence(")");
        }
        if self.take("[") {
            return self.sequence("]");
        }
        if self.take("frozenset(") {
            let hash = self.value()?;
            return if self.take(")") { Ok(hash) } else { Err("frozenset( is not closed".into()) };
        }
        if self.take("{") { self.set_or_dict() } else { self.number() }
    }

    fn sequence(&mut self, end: &str) -> Result<u64, String> {
        let mut mixer = key::Sequence::new(key::TAG_SEQUENCE);
        while !self.take(end) {
            mixer.push(self.value()?);
            self.take(",");
        }
        Ok(mixer.finish())
    }

    fn set_or_dict(&mut self) -> Result<u64, String> {
        let (mut hashes, mut dict) = (Vec::new(), true);
        while !self.take("}") {
            let first = self.value()?;
            dict = self.take(":");
            if dict {
                let mut item = key::Sequence::new(key::TAG_SEQUENCE);
                item.push(first);
                item.push(self.value()?);
                hashes.push(item.finish());
            } else {
                hashes.push(first);
            }
            self.take(",");
        }
        Ok(key::unordered(if dict { key::TAG_DICT } else { key::TAG_SET }, hashes.into_iter()))
    }

    fn quoted(&mut self, text: bool) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        loop {
            let code = match self.next_char()? {
                '\'' => return Ok(bytes),
                '\\' => match self.next_char()? {
                    'n' => 10,
                    'x' => self.hexadecimal(2)?,
                    'u' => self.hexadecimal(4)?,
                    'U' => self.hexadecimal(8)?,
                    other => other as u32,
                },
                other => other as u32,
            };
            if text { encode(code, &mut bytes) } else { bytes.push(code as u8) }
        }
    }

    fn hexadecimal(&mut self, digits: usize) -> Result<u32, String> {
        let (code, rest) = self.rest.split_at(digits);
        self.rest = rest;
        u32::from_str_radix(code, 16).map_err(|error| error.to_string())
    }

    fn number(&mut self) -> Result<u64, String> {
        self.skip_spaces();
        let length = self.rest.find([',', ')', ']', '}', ':', ' ']).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(length);
        self.rest = rest;
        let digits = number.strip_prefix('-').unwrap_or(number);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return number.parse().map(key::float).map_err(|error| format!("{number:?}: {error}"));
        }
        let residue = digits.bytes().fold(0, |sum: u128, digit| (sum * 10 + (digit - b'0') as u128) % MODULUS) as i64;
        Ok(key::number(if number.starts_with('-') { -residue } else { residue }))
    }
}

/// UTF-8 as Python's `surrogatepass` writes it, so lone surrogates have three bytes like their neighbours.
fn encode(code: u32, out: &mut Vec<u8>) {
    match char::from_u32(code) {
        Some(character) => out.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        None => out.extend([0xe0 | (code >> 12) as u8, 0x80 | (code >> 6 & 0x3f) as u8, 0x80 | (code & 0x3f) as u8]),
    }
}
