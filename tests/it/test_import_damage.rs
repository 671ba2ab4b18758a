//! Export streams and database texts that are cut off, changed or nonsense:
//! an error and a store in order, or success and a store in order.

use std::collections::BTreeSet;

use crate::common::{Outcome, Side, World};
use crate::data::{self, Random, UNSYNCED, hash_part};

/// A store's paths and their export stream, with no store left in the world.
fn sample() -> (World, Vec<String>, Vec<u8>) {
    let world = World::new();
    let paths = data::sample(&world);
    let stream = data::export(&world, &paths);
    data::forget(&world);
    (world, paths, stream)
}

fn import(world: &World, stream: &[u8]) -> Outcome {
    let mut args = UNSYNCED.to_vec();
    args.push("--import");
    world.run_with_input(Side::Nival, "nix-store", &args, stream)
}

/// The valid paths.
fn valid(world: &World) -> BTreeSet<String> {
    let text = world.nix_store(&["--dump-db"]).ok().text().to_owned();
    let mut lines = text.lines();
    let mut found = BTreeSet::new();
    while let Some(path) = lines.next() {
        found.insert(path.to_owned());
        let count: usize = lines.nth(3).unwrap().parse().unwrap();
        for _ in 0..count {
            lines.next().unwrap();
        }
    }
    found
}

/// Imports a damaged stream into a new store and checks what came of it; true
/// if it was taken for a good one.
#[track_caller]
fn check_damaged(world: &World, stream: &[u8], what: &str) -> bool {
    let outcome = import(world, stream);
    let well = outcome.status == 0;
    if well {
        assert_eq!(outcome.stderr, "", "{what}");
    } else {
        assert_eq!((outcome.status, outcome.stdout.len()), (1, 0), "{what}: {outcome:?}");
        assert!(outcome.stderr.starts_with("error: "), "{what}: {outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{what}: {outcome:?}");
    }
    let registered = valid(world);
    let names: BTreeSet<String> = data::names(&world.store());
    let store = world.text("store");
    let mut expected: BTreeSet<String> =
        registered.iter().map(|path| path.strip_prefix(&format!("{store}/")).unwrap().to_owned()).collect();
    expected.insert(".links".to_owned());
    assert_eq!(names, expected, "{what}");
    assert_eq!(data::names(&world.path("var/temproots")), BTreeSet::new(), "{what}");
    if well {
        assert!(outcome.lines().iter().all(|path| registered.contains(*path)), "{what}: {outcome:?}");
    }
    if !registered.is_empty() {
        data::assert_sound(world);
    }
    data::forget(world);
    well
}

#[test]
fn the_whole_stream_is_taken() {
    let (world, paths, stream) = sample();
    let outcome = import(&world, &stream);
    assert_eq!(outcome.ok().lines(), paths);
    assert_eq!(valid(&world), paths.into_iter().collect());
    data::assert_sound(&world);
    // Again: nothing changes, and all paths are told.
    let contents = || {
        let mut found = data::metadata(&world.store());
        // The store directory itself is written to, for lock files.
        found.remove("");
        found
    };
    let before = contents();
    assert_eq!(import(&world, &stream), outcome);
    assert_eq!(contents(), before);
}

#[test]
fn truncated() {
    let (world, _, stream) = sample();
    let mut random = Random(1);
    let mut ends: BTreeSet<usize> = (0..40).map(|_| random.below(stream.len())).collect();
    ends.extend([0, 1, 7, 8, 9, 16, 24, stream.len() - 1, stream.len() - 7, stream.len() - 8]);
    for end in ends {
        let taken = check_damaged(&world, &stream[..end], &format!("cut off at {end}"));
        assert!(!taken, "a stream of {} bytes was taken without its end after {end}", stream.len());
    }
}

#[test]
fn what_comes_before_the_damage_stays() {
    let (world, paths, stream) = sample();
    // The end of the last item: the stream's own end is the last word.
    let outcome = import(&world, &stream[..stream.len() - 8]);
    outcome.fails("error: unexpected end-of-file");
    assert_eq!(valid(&world), paths.iter().cloned().collect());
    data::assert_sound(&world);
}

fn flip_bits(seed: u64, count: usize) {
    let (world, _, stream) = sample();
    let mut random = Random(seed);
    for _ in 0..count {
        let (at, bit) = (random.below(stream.len()), random.below(8));
        let mut damaged = stream.clone();
        damaged[at] ^= 1 << bit;
        check_damaged(&world, &damaged, &format!("bit {bit} of byte {at}"));
    }
}

#[test]
fn flipped_bits() {
    flip_bits(2, 110);
}

#[test]
fn more_flipped_bits() {
    flip_bits(3, 110);
}

#[test]
fn flipped_bits_of_words() {
    // Where the format's own words are, flips are noticed.
    let (world, _, stream) = sample();
    for at in (0..88).step_by(5) {
        let mut damaged = stream.clone();
        damaged[at] ^= 0x10;
        assert!(!check_damaged(&world, &damaged, &format!("byte {at}")), "byte {at}");
    }
}

#[test]
fn garbage() {
    let (world, _, stream) = sample();
    let mut random = Random(4);
    let noise: Vec<u8> = (0..5000).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    let mut huge = stream[..16].to_vec();
    huge[8..16].copy_from_slice(&(u64::MAX - 7).to_le_bytes());
    let swapped = [&stream[..200], &stream[208..]].concat();
    let doubled = [&stream[..stream.len() / 2], &stream[..]].concat();
    let cases: [(&str, &[u8]); 8] = [
        ("nothing", b""),
        ("noise", &noise),
        ("zeroes in the middle of a word", &[0; 7]),
        ("another number", &[2, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("text", b"nix-archive-1 and so on, for more than a few words"),
        ("a huge length", &huge),
        ("a missing word", &swapped),
        ("two streams in one", &doubled),
    ];
    for (what, stream) in cases {
        assert!(!check_damaged(&world, stream, what), "{what}");
    }
    // An empty stream is a good one.
    assert!(check_damaged(&world, &[0; 8], "an empty stream"));
    // What follows the end is somebody else's.
    assert!(check_damaged(&world, &[&stream[..], &noise[..]].concat(), "noise behind the end"));
}

#[test]
fn a_missing_reference() {
    let world = World::new();
    let paths = data::sample(&world);
    let (kept, left_out): (Vec<String>, Vec<String>) =
        paths.into_iter().partition(|path| path.contains("-sample-"));
    let stream = data::export(&world, &kept);
    data::forget(&world);
    let outcome = import(&world, &stream);
    let message = |path: &String| format!("error: path '{path}' is not valid\n");
    assert!(left_out.iter().map(message).any(|message| message == outcome.stderr), "{outcome:?}");
    assert_eq!(outcome.status, 1);
    assert_eq!(valid(&world), BTreeSet::new());
    assert_eq!(data::leftovers(&world), BTreeSet::new());
}

/// Texts for `--load-db` that are not taken, with the beginning of the message.
fn bad_entries(world: &World, valid: &str) -> Vec<(String, String)> {
    let store = world.text("store");
    let path = format!("{store}/{}-new", hash_part(50));
    let other = format!("{store}/{}-other", hash_part(51));
    // What is registered with its hash has to be there; as it is, nothing of it changes.
    for path in [&path, &other] {
        std::fs::write(path, "12345").unwrap();
        let file = std::fs::File::open(path).unwrap();
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1)).unwrap();
    }
    let hash = "0".repeat(64);
    let begun = format!("{path}\n{hash}\n5\n");
    let good = format!("{begun}\n0\n");
    let case = |text: String, message: &str| (text, message.to_owned());
    vec![
        case("\n".into(), "hash '' has wrong length for hash algorithm 'sha256'"),
        case("x\n".into(), "hash '' has wrong length for hash algorithm 'sha256'"),
        case(format!("{path}\n"), "hash '' has wrong length"),
        case(format!("{path}\nabc\n5\n\n0\n"), "hash 'abc' has wrong length"),
        case(format!("{path}\n{}\n5\n\n0\n", "z".repeat(64)), "invalid base16 hash"),
        case(format!("{path}\n{hash}\n"), ""),
        case(format!("{path}\n{hash}\n-5\n\n0\n"), "number expected"),
        case(format!("{path}\n{hash}\nfive\n\n0\n"), "number expected"),
        case(format!("{path}\n{hash}\n99999999999999999999\n\n0\n"), "number expected"),
        case(begun.clone(), ""),
        case(format!("{begun}\n"), ""),
        case(format!("{begun}\nx\n"), "number expected"),
        case(format!("{begun}\n99999999999999999999\n"), "number expected"),
        case(format!("{begun}\n4294967295\n{valid}\n"), ""),
        case(format!("{begun}\n1\n"), ""),
        case(format!("{begun}\n0"), "missing input"),
        case(format!("{begun}\n1\n{other}\n"), &format!("path '{other}' is not valid")),
        case(format!("{begun}foo\n0\n"), ""),
        case(format!("{begun}\n1\nfoo\n"), ""),
        case(format!("/nowhere\n{hash}\n5\n\n0\n"), "path \"/nowhere\" is not in the Nix store"),
        case(format!("{store}/foo\n{hash}\n5\n\n0\n"), "'foo' is too short to be a valid store path"),
        case(format!("{path}/sub\n{hash}\n5\n\n0\n"), ""),
        // It is not there: as a derivation to be read, or as a file to be registered.
        case(format!("{path}.drv\n{hash}\n5\n\n0\n"), ""),
        // A good entry before a bad one is not registered either.
        case(format!("{good}{other}\n{hash}\nx\n"), "number expected"),
        case(format!("{good}{other}\n{hash}\n5\n\n1\n{store}/{}-no\n", hash_part(52)), "path '"),
        case(format!("{good}{}", "x".repeat(100_000)), ""),
        case("x".repeat(100_000) + "\n", ""),
        case("\u{1}\u{2}é\n".repeat(50), ""),
    ]
}

/// Feeds a text to an operation and checks that it fails and changes nothing.
#[track_caller]
fn assert_refused(world: &World, operation: &[&str], text: &[u8], message: &str) {
    let state = || {
        let files = data::metadata(&world.store());
        (files, world.nix_store(&["--dump-db"]).ok().stdout.clone())
    };
    let before = state();
    let outcome = world.run_with_input(Side::Nival, "nix-store", operation, text);
    let shown = String::from_utf8_lossy(&text[..text.len().min(300)]);
    assert_eq!((outcome.status, outcome.stdout.len()), (1, 0), "{shown}: {outcome:?}");
    assert!(outcome.stderr.starts_with(&format!("error: {message}")), "{shown}: {outcome:?}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{shown}: {outcome:?}");
    assert!(before == state(), "{shown}: something changed");
}

#[test]
fn bad_texts_for_load_db() {
    let world = World::new();
    let valid = data::sample(&world).remove(0);
    for (text, message) in bad_entries(&world, &valid) {
        assert_refused(&world, &["--load-db"], text.as_bytes(), &message);
        assert_refused(&world, &["--register-validity", "--hash-given"], text.as_bytes(), &message);
    }
    assert_refused(&world, &["--load-db"], b"\xff\xfe\n\xff\n", "");
    for (number, name) in [(50, "new"), (51, "other")] {
        std::fs::remove_file(world.store().join(format!("{}-{name}", hash_part(number)))).unwrap();
    }
    data::assert_sound(&world);
}

#[test]
fn bad_texts_for_register_validity() {
    let world = World::new();
    let valid = data::sample(&world).remove(0);
    let store = world.text("store");
    let absent = format!("{store}/{}-absent", hash_part(60));
    let unknown = format!("{store}/{}-unknown", hash_part(61));
    let not_there = format!("getting status of \"{absent}\": No such file or directory");
    for (text, message) in [
        ("\n".to_owned(), ""),
        ("x\n".to_owned(), ""),
        (format!("{absent}\n"), ""),
        (format!("{absent}\n\n"), ""),
        (format!("{absent}\n\nx\n"), "number expected"),
        (format!("{absent}\n\n-1\n"), "number expected"),
        (format!("{absent}\n\n1\n"), ""),
        (format!("{absent}\n\n0\n"), not_there.as_str()),
        (format!("{absent}\n\n1\n{unknown}\n"), not_there.as_str()),
        (format!("{absent}\nbad\n0\n"), ""),
        (format!("{absent}/sub\n\n0\n"), ""),
        ("/nowhere\n\n0\n".to_owned(), "path \"/nowhere\" is not in the Nix store"),
        (format!("{store}/foo\n\n0\n"), "'foo' is too short to be a valid store path"),
        (format!("{valid}\n\n0\n{absent}\n\n0\n"), not_there.as_str()),
    ] {
        assert_refused(&world, &["--register-validity"], text.as_bytes(), message);
    }
    data::assert_sound(&world);
}

#[test]
fn an_unknown_reference_registers_nothing() {
    let world = World::new();
    data::sample(&world);
    let store = world.text("store");
    let planted = [0, 1].map(|i| format!("{store}/{}-planted", hash_part(70 + i)));
    let unknown = format!("{store}/{}-unknown", hash_part(72));
    let text = data::plant(&world, &planted, |_| vec![unknown.clone()]);
    let args = ["--register-validity"];
    let outcome = world.run_with_input(Side::Nival, "nix-store", &args, text.as_bytes());
    outcome.fails(&format!("error: path '{unknown}' is not valid"));
    assert_eq!(data::leftovers(&world).len(), 2);
    let args = ["--check-validity", "--print-invalid", &planted[0], &planted[1]];
    assert_eq!(world.nix_store(&args).ok().lines(), planted);
}

#[test]
fn an_entry_that_is_twice_in_a_text_is_checked_twice() {
    let world = World::new();
    data::sample(&world);
    let store = world.text("store");
    let path = format!("{store}/{}-twice", hash_part(80));
    let unknown = format!("{store}/{}-unknown", hash_part(81));
    let entry = format!("{path}\n{}\n5\n\n", "0".repeat(64));
    let text = format!("{entry}0\n{entry}1\n{unknown}\n");
    let message = format!("path '{unknown}' is not valid");
    assert_refused(&world, &["--load-db"], text.as_bytes(), &message);
}
