//! Versions: opaque to nodes, strictly growing and of one width, so that text order is age (cloud.md 2.6).
//! Pure.

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const TAIL: usize = 6;
const TAIL_SPACE: u64 = 36 * 36 * 36 * 36 * 36 * 36;

/// The version after `last`: ten digits of seconds and six of base 36, greater than `last` even when the
/// clock stands still or goes back.
pub fn next(last: &str, now_seconds: i64, random: u32) -> String {
    let now = u64::try_from(now_seconds).unwrap_or(0).min(9_999_999_999);
    let (seconds, tail) = parse(last).unwrap_or((0, 0));
    if now > seconds {
        // The upper half stays free for what follows within the same second.
        return format(now, u64::from(random) % (TAIL_SPACE / 2));
    }
    let tail = tail + 1 + u64::from(random % 4096);
    if tail < TAIL_SPACE { format(seconds, tail) } else { format(seconds + 1, tail % TAIL_SPACE) }
}

fn parse(version: &str) -> Option<(u64, u64)> {
    let (seconds, tail) = version.split_at_checked(10)?;
    if tail.len() != TAIL {
        return None;
    }
    Some((seconds.parse().ok()?, u64::from_str_radix(tail, 36).ok()?))
}

fn format(seconds: u64, mut tail: u64) -> String {
    let mut text = [b'0'; TAIL];
    for place in text.iter_mut().rev() {
        *place = DIGITS[usize::try_from(tail % 36).unwrap_or(0)];
        tail /= 36;
    }
    format!("{seconds:010}{}", String::from_utf8_lossy(&text))
}

#[cfg(test)]
mod tests {
    use super::next;

    #[test]
    fn versions_grow_while_the_clock_stands_still_or_goes_back() {
        let mut last = String::new();
        for step in 0_u32..5000 {
            let now = if step % 7 == 0 { 10 } else { 1_795_387_461 };
            let version = next(&last, now, step.wrapping_mul(2_654_435_761));
            assert!(version > last, "{version} after {last}");
            assert_eq!(version.len(), 16);
            last = version;
        }
    }

    #[test]
    fn a_full_second_borrows_the_next_one() {
        assert!(next("1795387461zzzzzz", 1_795_387_461, 0).as_str() > "1795387461zzzzzz");
        assert!(next("1795387461zzzzzz", 1_795_387_461, 0).starts_with("1795387462"));
    }
}
