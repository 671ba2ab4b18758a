//! Points in time, and their forms for people.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970; 1 where the clock is older than that.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(1, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// `YYYY-MM-DD HH:MM:SS` in the zone of the user (TZ, /etc/localtime), of
/// seconds since 1970.
pub fn local_time(seconds: i64) -> String {
    let mut parts = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; localtime_r fills the
    // structure, or gives null and leaves it zeroed, which is a valid `tm`.
    #[allow(unsafe_code)]
    let parts = unsafe {
        libc::localtime_r(&seconds, parts.as_mut_ptr());
        parts.assume_init()
    };
    print(&parts)
}

/// Seconds since 1970 of a year, month (1 to 12) and day, and of an hour, minute and second, in the
/// zone of the user; none if the system knows no such time.
pub fn of_local(date: [u16; 3], time: [u8; 3]) -> Option<i64> {
    // SAFETY: zeroed memory is a valid `tm`.
    #[allow(unsafe_code)]
    let mut parts = unsafe { std::mem::MaybeUninit::<libc::tm>::zeroed().assume_init() };
    (parts.tm_year, parts.tm_mon) = (i32::from(date[0]) - 1900, i32::from(date[1]) - 1);
    parts.tm_mday = i32::from(date[2]);
    [parts.tm_hour, parts.tm_min, parts.tm_sec] = time.map(i32::from);
    parts.tm_isdst = -1;
    // SAFETY: the pointer is valid for the call.
    #[allow(unsafe_code)]
    let seconds = unsafe { libc::mktime(&mut parts) };
    (seconds != -1).then_some(seconds)
}

/// `YYYY-MM-DDTHH:MM:SSZ`, of seconds since 1970.
pub fn utc_time(seconds: i64) -> String {
    let mut parts = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: as above, with gmtime_r.
    #[allow(unsafe_code)]
    let parts = unsafe {
        libc::gmtime_r(&seconds, parts.as_mut_ptr());
        parts.assume_init()
    };
    format!("{}Z", print(&parts).replace(' ', "T"))
}

fn print(parts: &libc::tm) -> String {
    let mut text = String::new();
    let (year, month) = (i64::from(parts.tm_year) + 1900, parts.tm_mon + 1);
    let _ = write!(text, "{year:04}-{month:02}-{:02}", parts.tm_mday);
    let _ = write!(text, " {:02}:{:02}:{:02}", parts.tm_hour, parts.tm_min, parts.tm_sec);
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn times() {
        assert_eq!(super::utc_time(0), "1970-01-01T00:00:00Z");
        assert_eq!(super::utc_time(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(super::local_time(951_827_696).len(), 19);
        let local = super::of_local([2000, 2, 29], [12, 34, 56]).unwrap_or_default();
        assert_eq!(super::local_time(local), "2000-02-29 12:34:56");
    }
}
