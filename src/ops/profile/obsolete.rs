//! Which generations of a profile are to be deleted.

use super::{Generation, Generations, Number, ProfileError, Result};

/// Which generations are to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obsolete {
    /// Those with the numbers.
    Numbers(Vec<Number>),
    /// All but the current one.
    Old,
    /// All that were not current any more so many seconds ago, by the date of
    /// each: numbers do not tell when something was, where a clock was wrong.
    OlderThan(i64),
    /// All but so many up to the current one, and those after it.
    KeepNewest(u64),
}

/// Seconds of a day.
const DAY: i64 = 86_400;

impl Obsolete {
    /// Reads `old`, `30d`, `+5`, or numbers.
    ///
    /// # Errors
    /// [`ProfileError::Number`], [`ProfileError::Days`], [`ProfileError::KeepNone`].
    pub fn parse(words: &[String]) -> Result<Self> {
        if let [word] = words {
            if word == "old" {
                return Ok(Self::Old);
            }
            if word.ends_with('d') {
                return Ok(Self::OlderThan(parse_days(word)?));
            }
            if let Some(count) = word.strip_prefix('+') {
                return match count.parse() {
                    Ok(0) => Err(ProfileError::KeepNone),
                    Ok(count) => Ok(Self::KeepNewest(count)),
                    Err(_) => Err(ProfileError::Count(word.clone())),
                };
            }
        }
        let number = |word: &String| word.parse().map_err(|_| ProfileError::Number(word.clone()));
        Ok(Self::Numbers(words.iter().map(number).collect::<Result<_>>()?))
    }
}

/// Reads a number of days (`14d`), and gives it in seconds.
///
/// # Errors
/// [`ProfileError::Days`].
pub fn parse_days(text: &str) -> Result<i64> {
    let Some(days) = text.strip_suffix('d') else { return Err(ProfileError::NoDays(text.to_owned())) };
    let days = days.parse::<u32>().ok().filter(|days| *days > 0);
    days.map(|days| i64::from(days) * DAY).ok_or_else(|| ProfileError::Days(text.to_owned()))
}

/// Reads what generations are to be older than (`14d`), or how many are to stay
/// (`+5`).
///
/// # Errors
/// [`ProfileError::Days`], [`ProfileError::KeepNone`], [`ProfileError::Count`].
pub fn parse_age(text: &str) -> Result<Obsolete> {
    match text.starts_with('+') {
        true => Obsolete::parse(&[text.to_owned()]),
        false => parse_days(text).map(Obsolete::OlderThan),
    }
}

impl Generations {
    /// The numbers of those to be deleted, in the order in which it is done.
    pub fn select(&self, obsolete: &Obsolete, now: i64) -> Vec<Number> {
        let numbers = self.all.iter().map(|generation| generation.number);
        let newest_first = self.all.iter().rev();
        match obsolete {
            Obsolete::Numbers(wanted) => numbers.filter(|number| wanted.contains(number)).collect(),
            Obsolete::Old => numbers.filter(|number| Some(*number) != self.current).collect(),
            Obsolete::OlderThan(age) => {
                let limit = now.saturating_sub(*age);
                let is_old = |generation: &&Generation| generation.created < limit;
                // The last one of that time was current then.
                let last = self.all.iter().filter(is_old).max_by_key(|old| (old.created, old.number));
                let last = last.map(|last| last.number);
                let older = newest_first.filter(is_old).map(|generation| generation.number);
                older.filter(|number| Some(*number) != last && Some(*number) != self.current).collect()
            }
            Obsolete::KeepNewest(count) => {
                let up_to_current = newest_first.skip_while(|g| Some(g.number) != self.current);
                up_to_current
                    .skip(usize::try_from(*count).unwrap_or(usize::MAX))
                    .map(|generation| generation.number)
                    .collect()
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn generations(current: Number, made: &[(Number, i64)]) -> Generations {
        let all = made.iter().map(|(number, created)| Generation {
            number: *number,
            link: PathBuf::new(),
            created: *created,
        });
        Generations { all: all.collect(), current: Some(current) }
    }

    fn obsolete(generations: &Generations, words: &[&str], now: i64) -> Vec<Number> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        generations.select(&Obsolete::parse(&words).unwrap(), now)
    }

    #[test]
    fn which_generations_go() {
        let five = generations(4, &[(1, 0), (2, DAY), (4, 2 * DAY), (7, 3 * DAY), (8, 4 * DAY)]);
        assert_eq!(obsolete(&five, &["old"], 0), [1, 2, 7, 8]);
        assert_eq!(obsolete(&five, &["8", "1", "99"], 0), [1, 8]);
        assert_eq!(obsolete(&five, &["+1"], 0), [2, 1]);
        assert_eq!(obsolete(&five, &["+2"], 0), [1]);
        assert_eq!(obsolete(&five, &["+9"], 0), [0; 0]);
        // The newest that is old enough stays: it was current then.
        assert_eq!(obsolete(&five, &["1d"], 5 * DAY + 1), [7, 2, 1]);
        assert_eq!(obsolete(&five, &["1d"], 5 * DAY), [2, 1]);
        assert_eq!(obsolete(&five, &["2d"], 5 * DAY + 1), [2, 1]);
        assert_eq!(obsolete(&five, &["30d"], 5 * DAY), [0; 0]);
    }

    #[test]
    fn words() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Obsolete::parse(&words).map_err(|error| error.to_string())
        };
        assert_eq!(parse(&["30d"]), Ok(Obsolete::OlderThan(30 * DAY)));
        assert_eq!(parse(&["1", "2"]), Ok(Obsolete::Numbers(vec![1, 2])));
        assert_eq!(parse(&["foo"]), Err("invalid generation number 'foo'".to_owned()));
        for days in ["0d", "xd", "d", "-1d"] {
            assert_eq!(parse(&[days]), Err(format!("invalid number of days specifier '{days}'")));
        }
        assert!(parse(&["+0"]).is_err_and(|message| message.starts_with("Must keep")));
    }

    #[test]
    fn only_the_own_date_of_a_generation_counts() {
        const FUTURE: i64 = 1000 * DAY;
        // A clock was wrong when 3 and 4 were made, and right again for 5 and 6.
        let wrong =
            generations(6, &[(1, DAY), (2, 2 * DAY), (3, FUTURE), (4, 0), (5, 9 * DAY), (6, 10 * DAY)]);
        // 2 was current three days ago; 3 is of no time that has been.
        assert_eq!(obsolete(&wrong, &["3d"], 10 * DAY), [4, 1]);
        assert_eq!(obsolete(&wrong, &["30d"], 10 * DAY), [0; 0]);
        // Before all of them.
        assert_eq!(obsolete(&wrong, &["9000d"], DAY), [0; 0]);
        let same = generations(3, &[(1, DAY), (2, DAY), (3, DAY)]);
        assert_eq!(obsolete(&same, &["1d"], 9 * DAY), [2, 1]);
    }

    #[test]
    fn ages() {
        assert_eq!(parse_age("+3").unwrap(), Obsolete::KeepNewest(3));
        assert_eq!(parse_age("3d").unwrap(), Obsolete::OlderThan(3 * DAY));
        assert!(matches!(parse_age("3"), Err(ProfileError::NoDays(_))));
        assert!(matches!(parse_age("+0"), Err(ProfileError::KeepNone)));
    }
}
