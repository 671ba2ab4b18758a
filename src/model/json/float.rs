//! Floats as JSON writes them: digits that read as the same float, found by the
//! method that the original's library uses (Grisu2, of Florian Loitsch), which
//! gives the fewest digits in nearly all cases.

/// A number `f * 2^e`.
#[derive(Clone, Copy)]
struct Wide {
    f: u64,
    e: i32,
}

impl Wide {
    fn normalised(self) -> Wide {
        let shift = self.f.leading_zeros();
        Wide { f: self.f << shift, e: self.e - shift as i32 }
    }

    /// The product, rounded to 64 bits.
    fn times(self, other: Wide) -> Wide {
        let product = u128::from(self.f) * u128::from(other.f) + (1 << 63);
        Wide { f: (product >> 64) as u64, e: self.e + other.e + 64 }
    }
}

/// The exponent of ten of the first of [`POWERS`].
const FIRST_POWER: i32 = -300;
/// The difference between exponents of two neighbours in [`POWERS`].
const POWER_STEP: i32 = 8;

/// Powers of ten, rounded to 64 bits of which the first is set.
#[rustfmt::skip]
const POWERS: [u64; 79] = [
    0xAB70FE17C79AC6CA, 0xFF77B1FCBEBCDC4F, 0xBE5691EF416BD60C, 0x8DD01FAD907FFC3C,
    0xD3515C2831559A83, 0x9D71AC8FADA6C9B5, 0xEA9C227723EE8BCB, 0xAECC49914078536D,
    0x823C12795DB6CE57, 0xC21094364DFB5637, 0x9096EA6F3848984F, 0xD77485CB25823AC7,
    0xA086CFCD97BF97F4, 0xEF340A98172AACE5, 0xB23867FB2A35B28E, 0x84C8D4DFD2C63F3B,
    0xC5DD44271AD3CDBA, 0x936B9FCEBB25C996, 0xDBAC6C247D62A584, 0xA3AB66580D5FDAF6,
    0xF3E2F893DEC3F126, 0xB5B5ADA8AAFF80B8, 0x87625F056C7C4A8B, 0xC9BCFF6034C13053,
    0x964E858C91BA2655, 0xDFF9772470297EBD, 0xA6DFBD9FB8E5B88F, 0xF8A95FCF88747D94,
    0xB94470938FA89BCF, 0x8A08F0F8BF0F156B, 0xCDB02555653131B6, 0x993FE2C6D07B7FAC,
    0xE45C10C42A2B3B06, 0xAA242499697392D3, 0xFD87B5F28300CA0E, 0xBCE5086492111AEB,
    0x8CBCCC096F5088CC, 0xD1B71758E219652C, 0x9C40000000000000, 0xE8D4A51000000000,
    0xAD78EBC5AC620000, 0x813F3978F8940984, 0xC097CE7BC90715B3, 0x8F7E32CE7BEA5C70,
    0xD5D238A4ABE98068, 0x9F4F2726179A2245, 0xED63A231D4C4FB27, 0xB0DE65388CC8ADA8,
    0x83C7088E1AAB65DB, 0xC45D1DF942711D9A, 0x924D692CA61BE758, 0xDA01EE641A708DEA,
    0xA26DA3999AEF774A, 0xF209787BB47D6B85, 0xB454E4A179DD1877, 0x865B86925B9BC5C2,
    0xC83553C5C8965D3D, 0x952AB45CFA97A0B3, 0xDE469FBD99A05FE3, 0xA59BC234DB398C25,
    0xF6C69A72A3989F5C, 0xB7DCBF5354E9BECE, 0x88FCF317F22241E2, 0xCC20CE9BD35C78A5,
    0x98165AF37B2153DF, 0xE2A0B5DC971F303A, 0xA8D9D1535CE3B396, 0xFB9B7CD9A4A7443C,
    0xBB764C4CA7A44410, 0x8BAB8EEFB6409C1A, 0xD01FEF10A657842C, 0x9B10A4E5E9913129,
    0xE7109BFBA19C0C9D, 0xAC2820D9623BF429, 0x80444B5E7AA7CF85, 0xBF21E44003ACDD2D,
    0x8E679C2F5E44FF8F, 0xD433179D9C8CB841, 0x9E19DB92B4E31BA9,
];

/// A power of ten that brings a number with the binary exponent `e` into the
/// range of [`Decimal::generate`], and its decimal exponent.
fn power_for(e: i32) -> (Wide, i32) {
    // 78913 / 2^18 is the logarithm of 2 to the base 10.
    let above = -60 - e - 1;
    let k = (above * 78913) / (1 << 18) + i32::from(above > 0);
    let index = (-FIRST_POWER + k + (POWER_STEP - 1)) / POWER_STEP;
    let exponent = FIRST_POWER + index * POWER_STEP;
    // The binary exponent of a power: 1741647 / 2^19 is the logarithm of 10 to the base 2.
    let e = ((i64::from(exponent) * 1_741_647) >> 19) as i32 - 63;
    (Wide { f: POWERS[index as usize], e }, exponent)
}

/// The decimal digits of a positive float and the exponent of ten of the last one.
fn digits_of(number: f64) -> (Vec<u8>, i32) {
    let bits = number.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let exponent = (bits >> 52) as i32;
    let value = match exponent {
        0 => Wide { f: fraction, e: 1 - 1075 },
        _ => Wide { f: fraction | 1 << 52, e: exponent - 1075 },
    };
    // Halfway to the floats above and below.
    let above = Wide { f: 2 * value.f + 1, e: value.e - 1 }.normalised();
    let below = match fraction == 0 && exponent > 1 {
        true => Wide { f: 4 * value.f - 1, e: value.e - 2 },
        false => Wide { f: 2 * value.f - 1, e: value.e - 1 },
    };
    let below = Wide { f: below.f << (below.e - above.e), e: above.e };

    let (power, exponent) = power_for(above.e);
    let value = value.normalised().times(power);
    let above = above.times(power);
    let below = below.times(power);
    let mut decimal = Decimal { digits: Vec::with_capacity(17), exponent: -exponent };
    decimal.generate(below.f + 1, value.f, Wide { f: above.f - 1, e: above.e });
    (decimal.digits, decimal.exponent)
}

struct Decimal {
    digits: Vec<u8>,
    exponent: i32,
}

impl Decimal {
    fn generate(&mut self, below: u64, value: u64, above: Wide) {
        let mut delta = above.f - below;
        let mut distance = above.f - value;
        let shift = -above.e;
        let one = 1u64 << shift;
        let mut whole = above.f >> shift;
        let mut rest = above.f & (one - 1);
        let mut places = whole.checked_ilog10().unwrap_or(0) + 1;
        let mut power = 10u64.pow(places - 1);
        while places > 0 {
            self.push(whole / power);
            whole %= power;
            places -= 1;
            let left = (whole << shift) + rest;
            if left <= delta {
                self.exponent += places as i32;
                self.round(distance, delta, left, power << shift);
                return;
            }
            power /= 10;
        }
        loop {
            rest *= 10;
            self.push(rest >> shift);
            rest &= one - 1;
            self.exponent -= 1;
            delta *= 10;
            distance *= 10;
            if rest <= delta {
                break;
            }
        }
        self.round(distance, delta, rest, one);
    }

    fn push(&mut self, digit: u64) {
        self.digits.push(b'0' + digit as u8);
    }

    /// Lowers the last digit while that comes nearer to the value.
    fn round(&mut self, distance: u64, delta: u64, mut rest: u64, unit: u64) {
        let Some(last) = self.digits.last_mut() else { return };
        while rest < distance
            && delta - rest >= unit
            && (rest + unit < distance || distance - rest > rest + unit - distance)
        {
            *last -= 1;
            rest += unit;
        }
    }
}

/// The places before the point from which on there is an exponent.
const MOST_PLACES: i32 = 15;

/// Appends a float, `null` for what is no number.
pub fn push_float(out: &mut Vec<u8>, number: f64) {
    if !number.is_finite() {
        out.extend_from_slice(b"null");
        return;
    }
    if number.is_sign_negative() {
        out.push(b'-');
    }
    if number == 0.0 {
        out.extend_from_slice(b"0.0");
        return;
    }
    let (digits, exponent) = digits_of(number.abs());
    let length = digits.len() as i32;
    // The place of the point, counted from the first digit.
    let point = length + exponent;
    if (length..=MOST_PLACES).contains(&point) {
        out.extend_from_slice(&digits);
        out.extend(std::iter::repeat_n(b'0', exponent as usize));
        out.extend_from_slice(b".0");
    } else if (1..=MOST_PLACES).contains(&point) {
        let (whole, fraction) = digits.split_at(point as usize);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
    } else if (-3..=0).contains(&point) {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', point.unsigned_abs() as usize));
        out.extend_from_slice(&digits);
    } else {
        out.push(digits[0]);
        if length > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let sign = if point < 1 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", (point - 1).unsigned_abs()).as_bytes());
    }
}
