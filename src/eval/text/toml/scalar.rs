//! Numbers, dates and times of TOML.

use super::Item;

/// What is wrong with a decimal integer that has no room.
pub(super) const TOO_LARGE: &str = "toml::parse_dec_integer: too large integer: current max digits = 2^63";

/// The value of a bare word.
pub(super) fn parse(word: &str) -> Result<Item, &'static str> {
    match word {
        "true" => return Ok(Item::Boolean(true)),
        "false" => return Ok(Item::Boolean(false)),
        _ => {}
    }
    let bytes = word.as_bytes();
    if bytes.get(4) == Some(&b'-') && bytes[..4].iter().all(u8::is_ascii_digit) || bytes.get(2) == Some(&b':')
    {
        return time(word).map(Item::Time).ok_or("invalid date or time");
    }
    let radix = match word.get(..2) {
        Some("0x") => Some(16),
        Some("0o") => Some(8),
        Some("0b") => Some(2),
        _ => None,
    };
    if let Some(radix) = radix {
        let digits = grouped(&word[2..], |byte| char::from(byte).is_digit(radix)).ok_or("invalid integer")?;
        return i64::from_str_radix(&digits, radix)
            .map(Item::Integer)
            .map_err(|_| "an integer must be below 2^63");
    }
    number(word)
}

/// Digits without the underscores between them.
fn grouped(digits: &str, is_digit: impl Fn(u8) -> bool) -> Option<String> {
    let groups = digits.split('_');
    let valid = groups.clone().all(|group| !group.is_empty() && group.bytes().all(&is_digit));
    valid.then(|| groups.collect())
}

fn decimal(digits: &str) -> Option<String> {
    grouped(digits, |byte| byte.is_ascii_digit())
}

fn number(word: &str) -> Result<Item, &'static str> {
    let (sign, rest) = match word.as_bytes().first() {
        Some(b'-') => ("-", &word[1..]),
        Some(b'+') => ("", &word[1..]),
        _ => ("", word),
    };
    let signed = |number: f64| if sign == "-" { -number } else { number };
    match rest {
        "inf" => return Ok(Item::Float(signed(f64::INFINITY))),
        "nan" => return Ok(Item::Float(f64::NAN.copysign(signed(1.0)))),
        _ => {}
    }
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let whole = decimal(whole).ok_or("bad format: unknown value appeared")?;
    if whole.len() > 1 && whole.starts_with('0') {
        return Err("a number with a leading zero");
    }
    let mut text = format!("{sign}{whole}");
    if let Some(fraction) = fraction {
        text = format!("{text}.{}", decimal(fraction).ok_or("bad float: invalid format")?);
    }
    if let Some(exponent) = exponent {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let minus = if exponent.starts_with('-') { "-" } else { "" };
        text = format!("{text}e{minus}{}", decimal(unsigned).ok_or("bad float: invalid format")?);
    }
    if fraction.is_none() && exponent.is_none() {
        return text.parse().map(Item::Integer).map_err(|_| TOO_LARGE);
    }
    let number: f64 = text.parse().map_err(|_| "bad float: invalid format")?;
    if number.is_finite() { Ok(Item::Float(number)) } else { Err("a float is out of range") }
}

/// The text of a date, a time or both as the original writes it.
fn time(word: &str) -> Option<String> {
    if word.as_bytes().get(2) == Some(&b':') {
        let (time, rest) = time_of_day(word)?;
        return rest.is_empty().then_some(time);
    }
    let date = word.get(..10)?;
    let [year, month, day] = numbers(date, b"0000-00-00")?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    let Some(rest) = word.get(10..).filter(|rest| !rest.is_empty()) else { return Some(date.to_owned()) };
    let (time, offset) = time_of_day(rest.strip_prefix(['T', 't', ' '])?)?;
    let offset = match offset {
        "" => String::new(),
        "Z" | "z" => "Z".to_owned(),
        offset => {
            let sign = offset.get(..1).filter(|sign| matches!(*sign, "+" | "-"))?;
            let [hours, minutes] = numbers(offset.get(1..)?, b"00:00")?;
            let minutes = (hours <= 24 && minutes <= 60).then_some(hours * 60 + minutes)?;
            match minutes {
                0 => "Z".to_owned(),
                _ => format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60),
            }
        }
    };
    Some(format!("{date}T{time}{offset}"))
}

/// The numbers in a text of the given form, in which `0` stands for a digit.
fn numbers<const N: usize>(text: &str, form: &[u8]) -> Option<[u32; N]> {
    let fits = |(byte, form): (u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == *form };
    if text.len() != form.len() || !text.bytes().zip(form).all(fits) {
        return None;
    }
    let parts: Vec<u32> = text.split(['-', ':']).map_while(|part| part.parse().ok()).collect();
    parts.try_into().ok()
}

/// A time, and what follows it. Its fraction has three, six or nine digits.
fn time_of_day(word: &str) -> Option<(String, &str)> {
    let time = word.get(..8)?;
    let [hour, minute, second] = numbers(time, b"00:00:00")?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = &word[8..];
    let Some(fraction) = rest.strip_prefix('.') else { return Some((time.to_owned(), rest)) };
    let end = fraction.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(fraction.len());
    let (digits, rest) = fraction.split_at(end);
    if digits.is_empty() {
        return None;
    }
    let nine = format!("{digits:0<9}");
    let mut shown = &nine[..9];
    while let Some(shorter) = shown.strip_suffix("000") {
        shown = shorter;
    }
    let point = if shown.is_empty() { "" } else { "." };
    Some((format!("{time}{point}{shown}"), rest))
}
