//! Numbers: literals, arithmetic that can overflow, and floats as texts.

use thiserror::Error;

/// A literal that is no number of the language.
#[derive(Error, Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NumberError {
    /// The digits stand for more than the greatest integer.
    #[error("invalid integer '{0}'")]
    Integer(String),
    /// The value is too great, or so small that it would lose precision.
    #[error("invalid float '{0}'")]
    Float(String),
}

/// Reads an integer literal: decimal digits, of which any number may be zeros.
///
/// # Errors
/// [`NumberError::Integer`] for what is over 2^63 - 1, or no digits.
pub fn parse_integer(digits: &[u8]) -> Result<i64, NumberError> {
    let invalid = || NumberError::Integer(String::from_utf8_lossy(digits).into_owned());
    if digits.is_empty() {
        return Err(invalid());
    }
    digits.iter().try_fold(0i64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0')).ok_or_else(invalid)?;
        number.checked_mul(10).and_then(|number| number.checked_add(digit)).ok_or_else(invalid)
    })
}

/// Reads a float literal in the grammar of the language (`1.5`, `5.`, `.5e-3`).
///
/// # Errors
/// [`NumberError::Float`] for what is too great for a double, for subnormal
/// numbers, and for other texts.
pub fn parse_float(text: &[u8]) -> Result<f64, NumberError> {
    let invalid = || NumberError::Float(String::from_utf8_lossy(text).into_owned());
    let number: f64 =
        std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(invalid)?;
    let mantissa = text.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
    let is_zero = number == 0.0 && !mantissa.iter().any(|byte| matches!(byte, b'1'..=b'9'));
    if number.is_normal() || is_zero { Ok(number) } else { Err(invalid()) }
}

/// An operation whose result is no 64-bit integer.
#[derive(Error, Debug, Clone, Copy, PartialEq, Eq)]
#[error("integer overflow in {verb} {a} {operator} {b}")]
pub struct Overflow {
    verb: &'static str,
    operator: char,
    a: i64,
    b: i64,
}

/// Adds two integers.
///
/// # Errors
/// [`Overflow`], whose text names both.
pub fn add(a: i64, b: i64) -> Result<i64, Overflow> {
    a.checked_add(b).ok_or(Overflow { verb: "adding", operator: '+', a, b })
}

/// Subtracts `b` from `a`.
///
/// # Errors
/// [`Overflow`], whose text names both.
pub fn subtract(a: i64, b: i64) -> Result<i64, Overflow> {
    a.checked_sub(b).ok_or(Overflow { verb: "subtracting", operator: '-', a, b })
}

/// Multiplies two integers.
///
/// # Errors
/// [`Overflow`], whose text names both.
pub fn multiply(a: i64, b: i64) -> Result<i64, Overflow> {
    a.checked_mul(b).ok_or(Overflow { verb: "multiplying", operator: '*', a, b })
}

/// Divides `a` by `b`, rounding towards zero. The caller has refused a `b` of 0,
/// for which there is another message; here it counts as an overflow.
///
/// # Errors
/// [`Overflow`], whose text names both.
pub fn divide(a: i64, b: i64) -> Result<i64, Overflow> {
    a.checked_div(b).ok_or(Overflow { verb: "dividing", operator: '/', a, b })
}

/// Gives a float without a fraction as an integer, if it is in the range of one.
pub fn float_to_integer(number: f64) -> Option<i64> {
    // 2^63 is a float, the greatest integer is not.
    const END: f64 = 9_223_372_036_854_775_808.0;
    (-END..END).contains(&number).then_some(number as i64)
}

/// Digits of a float in its general form.
const PRECISION: i32 = 6;

/// The general form of a float, six digits (`%g`), in which values are printed.
pub fn general(number: f64) -> String {
    if let Some(name) = without_digits(number) {
        return name.to_owned();
    }
    let scientific = format!("{:.*e}", PRECISION as usize - 1, number);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..PRECISION).contains(&exponent) {
        let decimals = usize::try_from(PRECISION - 1 - exponent).unwrap_or(0);
        return trimmed(&format!("{number:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.unsigned_abs())
}

/// The form of a float with six decimals (`%f`), which `toString` gives.
pub fn fixed(number: f64) -> String {
    without_digits(number).map_or_else(|| format!("{number:.6}"), str::to_owned)
}

fn without_digits(number: f64) -> Option<&'static str> {
    match (number.is_nan(), number.is_infinite(), number.is_sign_negative()) {
        (true, _, false) => Some("nan"),
        (true, _, true) => Some("-nan"),
        (_, true, false) => Some("inf"),
        (_, true, true) => Some("-inf"),
        _ => None,
    }
}

/// A number without the zeros that end its fraction.
fn trimmed(number: &str) -> &str {
    match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        assert_eq!(parse_integer(b"007"), Ok(7));
        assert_eq!(parse_integer(b"00000000000000000000000001"), Ok(1));
        assert_eq!(parse_integer(b"9223372036854775807"), Ok(i64::MAX));
        let error = parse_integer(b"0009223372036854775808").map_err(|error| error.to_string());
        assert_eq!(error, Err("invalid integer '0009223372036854775808'".to_owned()));
        assert!(parse_integer(b"").is_err());
        assert!(parse_integer(b"1a").is_err());
    }

    #[test]
    fn floats() {
        for (text, printed) in [
            ("5.", "5"),
            (".5", "0.5"),
            ("1.e308", "1e+308"),
            ("1.5E5", "150000"),
            ("0.0e-999", "0"),
            ("2.2250738585072013e-308", "2.22507e-308"),
            ("1.7976931348623158e308", "1.79769e+308"),
        ] {
            assert_eq!(parse_float(text.as_bytes()).map(general).as_deref(), Ok(printed), "{text}");
        }
        for text in
            ["1.0e400", "5.0e-324", "2.225073858507201e-308", "1.7976931348623159e308", "1.0e-400", "inf"]
        {
            let error = parse_float(text.as_bytes()).map_err(|error| error.to_string());
            assert_eq!(error, Err(format!("invalid float '{text}'")));
        }
    }

    #[test]
    fn overflows() {
        let text = |result: Result<i64, Overflow>| result.map_err(|error| error.to_string());
        assert_eq!(text(add(1, 2)), Ok(3));
        assert_eq!(text(divide(-7, 2)), Ok(-3));
        for (result, message) in [
            (add(i64::MAX, 1), "integer overflow in adding 9223372036854775807 + 1"),
            (subtract(i64::MIN, 1), "integer overflow in subtracting -9223372036854775808 - 1"),
            (multiply(i64::MAX, -2), "integer overflow in multiplying 9223372036854775807 * -2"),
            (divide(i64::MIN, -1), "integer overflow in dividing -9223372036854775808 / -1"),
        ] {
            assert_eq!(text(result), Err(message.to_owned()));
        }
    }

    #[test]
    fn ranges() {
        assert_eq!(float_to_integer(-9_223_372_036_854_775_808.0), Some(i64::MIN));
        assert_eq!(float_to_integer(9_223_372_036_854_775_808.0), None);
        assert_eq!(float_to_integer(9_223_372_036_854_774_784.0), Some(9_223_372_036_854_774_784));
        assert_eq!(float_to_integer(f64::NAN), None);
        assert_eq!(float_to_integer(f64::NEG_INFINITY), None);
    }

    #[test]
    fn printed() {
        // value, %g, %f
        for (number, general_form, fixed_form) in [
            (0.0, "0", "0.000000"),
            (-0.0, "-0", "-0.000000"),
            (1.5, "1.5", "1.500000"),
            (100000.0, "100000", "100000.000000"),
            (1e6, "1e+06", "1000000.000000"),
            (123456.5, "123456", "123456.500000"),
            (123457.5, "123458", "123457.500000"),
            (1234565.0, "1.23456e+06", "1234565.000000"),
            (999999.5, "1e+06", "999999.500000"),
            (999999.4, "999999", "999999.400000"),
            (0.0001, "0.0001", "0.000100"),
            (0.00001, "1e-05", "0.000010"),
            (0.000123456789, "0.000123457", "0.000123"),
            (1.0 / 3.0, "0.333333", "0.333333"),
            (1e20, "1e+20", "100000000000000000000.000000"),
            (-1.5e300, "-1.5e+300", &format!("{:.6}", -1.5e300)),
            (1e-10, "1e-10", "0.000000"),
            (f64::INFINITY, "inf", "inf"),
            (f64::NEG_INFINITY, "-inf", "-inf"),
            (f64::NAN.copysign(-1.0), "-nan", "-nan"),
        ] {
            assert_eq!(general(number), general_form);
            assert_eq!(fixed(number), fixed_form);
        }
    }
}
