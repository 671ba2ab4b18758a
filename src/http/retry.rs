//! When a request is tried again, and when not.

use std::time::Duration;

use super::message::Response;
use crate::sys::interrupt;

/// The first pause between two tries.
const PAUSE: Duration = Duration::from_millis(250);
/// The longest that a server may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Whether an answer means that we are not let in.
pub fn is_refusal(status: u16) -> bool {
    matches!(status, 401 | 403 | 407)
}

/// Whether another try may get another answer.
pub fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 429) || (status >= 500 && !matches!(status, 501 | 505 | 511))
}

/// The pause before a try, the first of which has the number 1.
pub fn pause(attempt: u64, wanted: Option<Duration>) -> Duration {
    let doubled = PAUSE.saturating_mul(1 << (attempt - 1).min(8));
    let mut random = [0; 1];
    // Without randomness everybody waits equally long.
    let _ = getrandom::fill(&mut random);
    let own = doubled + doubled.mul_f64(f64::from(random[0]) / 510.0);
    wanted.map_or(own, |wanted| wanted.max(own)).min(MAX_PAUSE)
}

/// The seconds in `Retry-After`.
pub fn retry_after(response: &Response) -> Option<Duration> {
    Some(Duration::from_secs(response.header("retry-after")?.trim().parse().ok()?))
}

/// Waits, unless a signal comes.
///
/// # Errors
/// The signal.
pub fn sleep(mut time: Duration) -> Result<(), interrupt::Interrupted> {
    const STEP: Duration = Duration::from_millis(100);
    while !time.is_zero() {
        interrupt::check()?;
        let step = time.min(STEP);
        std::thread::sleep(step);
        time -= step;
    }
    interrupt::check()
}

/// Bytes of an answer that come before the one from which on a file was asked
/// for.
///
/// # Errors
/// A word about an answer that begins behind it.
pub fn early(response: &Response, asked: u64) -> Result<u64, String> {
    let begun = match response.header("content-range") {
        Some(range) => {
            let first = range.trim().strip_prefix("bytes").map(|rest| rest.trim_start());
            let first = first.and_then(|rest| rest.split_once('-')?.0.trim().parse::<u64>().ok());
            first.ok_or_else(|| format!("its Content-Range is '{range}'"))?
        }
        // A server without ranges begins at the beginning.
        None if response.status == 206 => asked,
        None => 0,
    };
    let other = || format!("bytes from {asked} on were asked for, and those from {begun} on came");
    asked.checked_sub(begun).ok_or_else(other)
}
