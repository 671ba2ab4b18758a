//! The row that shows a running task: what of it fits the terminal.
//!
//! ```text
//! copying 3/6 [=======>        ] 13/47 MiB 10 MiB/s 3s big40     80 columns
//! copying 3/6 13/47 MiB 3s                                       40 columns
//! deleting 1,204/20,000 [==>       ] 310 MiB freed 4s
//! ```

use std::time::Duration;

use nival::progress::Unit;

/// Longest and shortest bar in cells; below that there is none.
const MOST_CELLS: usize = 40;
const LEAST_CELLS: usize = 10;
/// Terminals narrower than this show no bar.
const WIDTH_FOR_BAR: usize = 50;
/// The columns that the name of what is under way gets at most.
const MOST_LABEL: usize = 24;
/// Shorter names say nothing.
const LEAST_LABEL: usize = 6;
/// A width to go by where the terminal does not say its own.
const USUAL_WIDTH: usize = 80;

/// How far a task is.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'t> {
    /// What is done, in a word or two.
    pub task: &'t str,
    /// What `done` and `total` count.
    pub unit: Unit,
    /// How much is done.
    pub done: u64,
    /// How much there is to do, where that is known.
    pub total: Option<u64>,
    /// How many of the things that the task is about are done, and how many there are.
    pub count: Option<(u64, u64)>,
    /// Bytes that came free.
    pub freed: Option<u64>,
    /// So much is done in a second, where that can be said.
    pub rate: Option<f64>,
    /// What is under way.
    pub label: &'t str,
    /// Counts the rows, for a sign that something goes on.
    pub turn: usize,
}

/// The row of a task on a terminal of some columns. It never fills the last column: some terminals
/// go on to the next line then.
pub fn row(shown: &Shown<'_>, columns: usize) -> String {
    let columns = if columns == 0 { USUAL_WIDTH } else { columns }.saturating_sub(1);
    let label = printable(shown.label);
    let mut head = shown.task.to_owned();
    if shown.total.is_none() {
        let sign = ["-", "\\", "|", "/"][shown.turn % 4];
        head = format!("{sign} {head}");
    }
    if let Some(count) = count(shown) {
        head.push_str(&format!(" {count}"));
    }
    // What matters most comes first; each of them only if there is room.
    let mut left = columns.saturating_sub(width(&head));
    let mut take = |part: Option<String>| {
        let part = part.filter(|part| width(part) < left)?;
        left -= width(&part) + 1;
        Some(part)
    };
    let amount = take(amount(shown));
    let time = take(time_left(shown));
    let speed = take(if columns >= WIDTH_FOR_BAR { speed(shown) } else { None });
    let has_bar = columns >= WIDTH_FOR_BAR && shown.total.is_some_and(|total| total > 0);
    let for_bar = if has_bar { LEAST_CELLS + 3 } else { 0 };
    let for_label = left.saturating_sub(for_bar + 1).min(MOST_LABEL);
    let label = if for_label >= LEAST_LABEL { cut(&label, for_label) } else { String::new() };
    if !label.is_empty() {
        left -= width(&label) + 1;
    }
    let cells = left.saturating_sub(3).min(MOST_CELLS);
    let bar = if has_bar && cells >= LEAST_CELLS { Some(bar(shown, cells)) } else { None };
    let mut text = cut(&head, columns);
    for part in [bar, amount, speed, time, Some(label)].into_iter().flatten().filter(|part| !part.is_empty())
    {
        text.push(' ');
        text.push_str(&part);
    }
    text
}

/// Things done and things in all.
fn count(shown: &Shown<'_>) -> Option<String> {
    let (done, total) = match (shown.unit, shown.total) {
        (Unit::Items, Some(total)) => (shown.done, total),
        (Unit::Items, None) => return Some(grouped(shown.done)),
        (Unit::Bytes, _) => shown.count?,
    };
    Some(format!("{}/{}", grouped(done.min(total)), grouped(total)))
}

/// Bytes done and bytes in all, or bytes that came free.
fn amount(shown: &Shown<'_>) -> Option<String> {
    if let Some(freed) = shown.freed {
        return Some(format!("{} freed", bytes(freed as f64)));
    }
    match (shown.unit, shown.total) {
        (Unit::Items, _) => None,
        (Unit::Bytes, None) => Some(bytes(shown.done as f64)),
        (Unit::Bytes, Some(total)) => {
            let (size, unit) = unit_of(total as f64);
            let (done, all) = (shown.done.min(total) as f64 / size, total as f64 / size);
            Some(match all < 10.0 && unit != "B" {
                true => format!("{done:.1}/{all:.1} {unit}"),
                false => format!("{done:.0}/{all:.0} {unit}"),
            })
        }
    }
}

fn speed(shown: &Shown<'_>) -> Option<String> {
    let rate = shown.rate?;
    match shown.unit {
        Unit::Bytes => Some(format!("{}/s", bytes(rate))),
        Unit::Items => None,
    }
}

fn time_left(shown: &Shown<'_>) -> Option<String> {
    let left = shown.total?.checked_sub(shown.done)? as f64;
    let rate = shown.rate.filter(|rate| *rate > 0.0)?;
    let seconds = Duration::try_from_secs_f64(left / rate).ok()?.as_secs();
    Some(match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d", seconds / 86_400),
    })
}

fn bar(shown: &Shown<'_>, cells: usize) -> String {
    let total = shown.total.unwrap_or(0).max(1) as f64;
    let full = ((shown.done as f64 / total).min(1.0) * cells as f64) as usize;
    let head = if full < cells { ">" } else { "" };
    format!("[{}{head}{}]", "=".repeat(full), " ".repeat((cells - full).saturating_sub(1)))
}

/// The largest unit of which there is at least one, and how many bytes it is.
fn unit_of(bytes: f64) -> (f64, &'static str) {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = 1.0;
    for unit in UNITS {
        // Rounding must not make 1024 of one.
        if bytes / size < 1023.5 || unit == "EiB" {
            return (size, unit);
        }
        size *= 1024.0;
    }
    (size, "EiB")
}

fn bytes(bytes: f64) -> String {
    let (size, unit) = unit_of(bytes);
    let count = bytes / size;
    if count < 10.0 && unit != "B" { format!("{count:.1} {unit}") } else { format!("{count:.0} {unit}") }
}

/// A number with a comma before every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A name in letters that take one column each.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// The first characters of a text.
fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    if most > 0 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const COPY: Shown<'static> = Shown {
        task: "copying",
        unit: Unit::Bytes,
        done: 13 << 20,
        total: Some(47 << 20),
        count: Some((3, 6)),
        freed: None,
        rate: Some(10.0 * 1024.0 * 1024.0),
        label: "big40",
        turn: 0,
    };

    #[test]
    fn rows_fit_and_say_what_matters() {
        assert_eq!(
            row(&COPY, 80),
            "copying 3/6 [==========>                          ] 13/47 MiB 10 MiB/s 3s big40"
        );
        assert_eq!(row(&COPY, 40), "copying 3/6 13/47 MiB 3s big40");
        assert_eq!(row(&COPY, 30), "copying 3/6 13/47 MiB 3s");
        assert_eq!(row(&COPY, 22), "copying 3/6 13/47 MiB");
        assert_eq!(row(&COPY, 16), "copying 3/6 3s");
        assert_eq!(row(&COPY, 8), "copyin…");
        let gc = Shown {
            task: "deleting",
            unit: Unit::Items,
            done: 1_204,
            total: Some(20_000),
            count: None,
            freed: Some(310 << 20),
            rate: Some(5_000.0),
            label: "",
            ..COPY
        };
        assert_eq!(row(&gc, 40), "deleting 1,204/20,000 310 MiB freed 3s");
        assert!(row(&gc, 80).starts_with("deleting 1,204/20,000 [==>   "), "{}", row(&gc, 80));
        let adding = Shown { task: "adding", total: None, count: None, ..COPY };
        assert_eq!(row(&adding, 80), "- adding 13 MiB 10 MiB/s big40");
    }

    #[test]
    fn no_row_is_too_long() {
        let long = "a-package-with-quite-a-long-name-of-its-own-1.2.3";
        for columns in 1..200 {
            for task in ["copying", "checking store hashes", "a task with quite a long name of its own"] {
                for (total, unit) in [(None, Unit::Bytes), (None, Unit::Items)]
                    .into_iter()
                    .chain([0, 5, 1 << 20, u64::MAX].map(|total| (Some(total), Unit::Bytes)))
                    .chain([0, 5, 1 << 20, u64::MAX].map(|total| (Some(total), Unit::Items)))
                {
                    for done in [0, 1, 1_234_567, u64::MAX] {
                        let shown = Shown {
                            task,
                            unit,
                            total,
                            done,
                            count: Some((done, u64::MAX)),
                            freed: (unit == Unit::Items).then_some(done),
                            rate: Some(0.001),
                            label: long,
                            ..COPY
                        };
                        let text = row(&shown, columns);
                        assert!(width(&text) < columns.max(2), "{columns} {shown:?} {text}");
                    }
                }
            }
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(bytes(1023.0), "1023 B");
        assert_eq!(bytes(1024.0 * 1023.9), "1.0 MiB");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(printable("é\u{1b}[2J x"), "??[2J?x");
        let times = [(59, "59s"), (61, "1m01s"), (3_700, "1h01m"), (200_000, "2d")];
        for (seconds, text) in times {
            let shown = Shown { done: 0, total: Some(seconds), rate: Some(1.0), ..COPY };
            assert_eq!(time_left(&shown).as_deref(), Some(text));
        }
    }
}
