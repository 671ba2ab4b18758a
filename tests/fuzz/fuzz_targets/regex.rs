//! Regular expressions: a pattern, a newline and a text. What is found lies in the
//! text and in order, and a whole match agrees with the anchored pattern.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nival::eval::text::regex::Regex;

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (pattern, text) = (&data[..end], &data[end + 1..]);
    let Ok(regex) = Regex::new(pattern) else { return };

    let mut end = 0;
    for found in regex.matches(text, &|| true) {
        let Ok(found) = found else { return };
        assert!(end <= found.range.start && found.range.start <= found.range.end);
        assert!(found.range.end <= text.len());
        assert_eq!(found.groups.len(), regex.groups());
        end = found.range.end;
    }

    let Ok(whole) = regex.match_whole(text, &|| true) else { return };
    let anchored = [b"^(", pattern, b")$"].concat();
    // The longer pattern may be too large.
    let Ok(anchored) = Regex::new(&anchored) else { return };
    let Ok(again) = anchored.match_whole(text, &|| true) else { return };
    assert_eq!(again.map(|groups| groups[1..].to_vec()), whole);
});
