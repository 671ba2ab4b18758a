//! The row of a running task: what of it fits the terminal.

use nival::progress::Unit;

/// Longest and shortest bar in cells; below that there is none.
const MOST_CELLS: usize = 40;
const LEAST_CELLS: usize = 10;
/// Terminals narrower than this show no bar.
const WIDTH_FOR_BAR: usize = 50;
/// A width to go by where the terminal does not say its own.
const USUAL_WIDTH: usize = 80;

/// A template of indicatif's, and the message in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The template.
    pub template: String,
    /// The task, cut if need be.
    pub message: String,
}

/// The widest that each part gets: `1023.99 MiB/1023.99 MiB`, `1023.99 MiB/s`, `1,000,000/1,000,000`, `59m`.
fn widths(total: Option<u64>, unit: Unit) -> (usize, usize) {
    let amount = match (unit, total) {
        (Unit::Bytes, Some(_)) => 23,
        (Unit::Bytes, None) => 11,
        // A comma for every three digits.
        (Unit::Items, Some(total)) => {
            let digits = total.max(1).ilog10() as usize + 1;
            2 * (digits + (digits - 1) / 3) + 1
        }
        (Unit::Items, None) => 13,
    };
    (amount, 13)
}

/// How wide the time that is left gets.
const ETA: usize = 4;

/// The row of a task on a terminal of some columns.
pub fn row(task: &str, total: Option<u64>, unit: Unit, columns: usize) -> Row {
    // The last column stays free: some terminals wrap when it is written.
    let columns = if columns == 0 { USUAL_WIDTH } else { columns }.saturating_sub(1);
    let (amount, speed) = widths(total, unit);
    let (done, speed_part) = match unit {
        Unit::Bytes => ("{bytes}", "{binary_bytes_per_sec}"),
        Unit::Items => ("{human_pos}", "{per_sec}"),
    };
    let Some(_) = total else {
        // A spinner, and as much of the rest as there is room for.
        let message = cut(task, columns.saturating_sub(amount + 3));
        let fixed = 2 + message.chars().count() + 1 + amount;
        let speed = if fixed + 1 + speed <= columns { format!(" {speed_part}") } else { String::new() };
        return Row { template: format!("{{spinner}} {{msg}} {done}{speed}"), message };
    };
    let of = match unit {
        Unit::Bytes => "{total_bytes}",
        Unit::Items => "{human_len}",
    };
    let message = cut(task, columns.saturating_sub(amount + ETA + 2));
    let mut left = columns.saturating_sub(message.chars().count() + 1 + amount + 1 + ETA);
    let mut template = "{msg} ".to_owned();
    let with_speed = unit == Unit::Bytes && left > speed;
    left -= if with_speed { speed + 1 } else { 0 };
    let cells = left.saturating_sub(3).min(MOST_CELLS);
    if columns >= WIDTH_FOR_BAR && cells >= LEAST_CELLS {
        template += &format!("[{{bar:{cells}}}] ");
    }
    template += &format!("{done}/{of}");
    if with_speed {
        template += &format!(" {speed_part}");
    }
    template += " {eta}";
    Row { template, message }
}

/// The first characters of a text.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
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

    /// The length of a row with the longest values.
    fn longest(row: &Row) -> usize {
        let mut text = row.template.replace("{msg}", &row.message);
        for (part, value) in [
            ("{spinner}", "x"),
            ("{bytes}", "1023.99 MiB"),
            ("{total_bytes}", "1023.99 MiB"),
            ("{binary_bytes_per_sec}", "1023.99 MiB/s"),
            ("{human_pos}", "1,000,000"),
            ("{human_len}", "1,000,000"),
            ("{per_sec}", "123,456.78/s"),
            ("{eta}", "59m"),
        ] {
            text = text.replace(part, value);
        }
        if let Some((before, rest)) = text.clone().split_once("{bar:") {
            let (cells, after) = rest.split_once('}').expect("a template");
            text = format!("{before}{}{after}", "=".repeat(cells.parse().expect("a number")));
        }
        text.chars().count()
    }

    #[test]
    fn rows_fit() {
        for columns in [20, 30, 40, 50, 60, 80, 100, 200] {
            for task in ["copying", "checking store hashes", "a task with quite a long name of its own"] {
                for (total, unit) in [
                    (Some(1_000_000), Unit::Bytes),
                    (Some(1_000_000), Unit::Items),
                    (None, Unit::Bytes),
                    (None, Unit::Items),
                ] {
                    let row = row(task, total, unit, columns);
                    // Amounts alone need so much.
                    if columns >= 30 {
                        assert!(longest(&row) < columns, "{columns} {row:?}");
                    }
                    assert!(columns >= WIDTH_FOR_BAR || !row.template.contains("{bar"), "{row:?}");
                }
            }
        }
        assert!(row("copying", Some(1), Unit::Bytes, 200).template.contains("{bar:40}"));
        assert!(row("checking store hashes", Some(1), Unit::Bytes, 80).template.contains("{bar:1"));
    }
}
