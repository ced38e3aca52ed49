//! Kubernetes' quantities: `500m`, `128Mi`, `1e3`, `336037951n`.

/// An amount of something, exact to a billionth and never negative.
///
/// ```
/// use baetyl_core_lib::spec::Quantity;
///
/// assert_eq!(Quantity::parse("128Mi").map(|q| q.to_units()), Some(134_217_728));
/// assert_eq!(Quantity::parse("336037951n").map(|q| q.to_millis()), Some(337));
/// assert_eq!(Quantity::parse("much"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity {
    nanos: u128,
}

const NANOS: u128 = 1_000_000_000;

impl Quantity {
    /// Reads a quantity. `None` when it is not one, is negative, or is beyond all measure.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('+').unwrap_or(text);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let (times, divided_by) = scale(suffix)?;
        // Digits after the twelfth are below a billionth for every suffix that divides or does not multiply
        // by more than 1000; nobody writes them.
        let fraction = fraction.get(..fraction.len().min(12))?;
        let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
        let divided_by = divided_by.checked_mul(10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
        let nanos = digits.checked_mul(times)?.checked_mul(NANOS)?.div_ceil(divided_by);
        Some(Self { nanos })
    }

    /// In whole units (bytes, cores), rounded up.
    pub const fn to_units(self) -> u64 {
        saturate(self.nanos.div_ceil(NANOS))
    }

    /// In thousandths, rounded up.
    pub const fn to_millis(self) -> u64 {
        saturate(self.nanos.div_ceil(NANOS / 1000))
    }
}

const fn saturate(value: u128) -> u64 {
    if value > u64::MAX as u128 { u64::MAX } else { value as u64 }
}

/// What a suffix multiplies by and divides by.
fn scale(suffix: &str) -> Option<(u128, u128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, NANOS),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (NANOS, 1),
        "T" => (1000 * NANOS, 1),
        "P" => (1_000_000 * NANOS, 1),
        "E" => (NANOS * NANOS, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10u128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        #[track_caller]
        fn check(text: &str, units_and_millis: Option<(u64, u64)>) {
            let read = Quantity::parse(text).map(|quantity| (quantity.to_units(), quantity.to_millis()));
            assert_eq!(read, units_and_millis, "{text}");
        }
        check("0", Some((0, 0)));
        check("2", Some((2, 2000)));
        check("0.5", Some((1, 500)));
        check(".5", Some((1, 500)));
        check("2.", Some((2, 2000)));
        check("500m", Some((1, 500)));
        check("1325478n", Some((1, 2)));
        check("336037951n", Some((1, 337)));
        check("1u", Some((1, 1)));
        check("1206552Ki", Some((1_235_509_248, 1_235_509_248_000)));
        check("1.5Gi", Some((1_610_612_736, 1_610_612_736_000)));
        check("1e3", Some((1000, 1_000_000)));
        check("5E-1", Some((1, 500)));
        check("1E", Some((1_000_000_000_000_000_000, u64::MAX)));
        for text in ["", ".", "-1", "1.2.3", "1 Gi", "Gi", "1gi", "1e", "1e99", "1Zi", "٣"] {
            check(text, None);
        }
        check(&"9".repeat(60), None);
    }
}
