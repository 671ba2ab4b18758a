//! The row of the running task on a terminal: it fits, says what matters, and is gone at the end.

use crate::common::{Side, World, skip_missing};
use crate::data;
use crate::servers::Faulty;

/// What a program prints on a terminal of some columns, and whether it went well.
fn on_terminal(world: &World, columns: usize, term: &str, line: &str) -> Option<String> {
    let command = world.command(Side::Nival, "nix");
    let environment: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    let line = format!("stty cols {columns}; exec {}/{line}", world.text("bin"));
    let mut script = std::process::Command::new("script");
    script.env_clear().envs(environment).env("TERM", term).env("SHELL", "/bin/sh");
    script.args(["-qec", &line, "/dev/null"]).current_dir(world.path(".")).stdin(std::process::Stdio::null());
    let Ok(output) = script.output() else {
        skip_missing("script is not installed");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    Some(text)
}

/// The rows that were drawn.
fn rows(text: &str) -> Vec<&str> {
    let pieces = text.split("\r\u{1b}[K").skip(1);
    // What is printed after a row was taken away ends a line.
    pieces.filter(|piece| !piece.is_empty() && !piece.contains('\n')).collect()
}

/// What stays on the terminal.
fn left(text: &str) -> String {
    let mut lines: Vec<String> = vec![String::new()];
    for piece in text.replace("\r\u{1b}[K", "\u{1}").replace('\r', "").chars() {
        match piece {
            '\u{1}' => lines.last_mut().unwrap().clear(),
            '\n' => lines.push(String::new()),
            c => lines.last_mut().unwrap().push(c),
        }
    }
    lines.join("\n")
}

/// A cache with six packages of 60 KiB that do not compress.
fn cache(world: &World) -> (String, Vec<String>) {
    let mut paths = Vec::new();
    for number in 0..6 {
        let noise: Vec<u8> = (0..60 * 1024u32)
            .map(|at| (at.wrapping_mul(2_654_435_761).rotate_left(number + 7) >> 13) as u8)
            .collect();
        let file = world.write(format!("src/package-{number}"), noise);
        paths.push(world.nix_store(&["--add", file.to_str().unwrap()]).line());
    }
    let to = format!("file://{}?compression=none", world.text("www"));
    world
        .nival(
            "nix",
            &[&["copy", "--to", &to][..], &paths.iter().map(String::as_str).collect::<Vec<_>>()].concat(),
        )
        .ok();
    (world.text("www"), paths)
}

#[test]
fn a_copy_has_one_row_that_fits() {
    let world = World::new();
    let (dir, paths) = cache(&world);
    let peer = Faulty::start(std::path::Path::new(&dir));
    for columns in [40, 80] {
        let copy = format!(
            "nix copy --no-check-sigs --option download-speed 256 --from {} --to {} {}",
            peer.url,
            world.text(format!("to-{columns}")),
            paths.join(" ")
        );
        let Some(text) = on_terminal(&world, columns, "xterm", &copy) else { return };
        let rows = rows(&text);
        assert!(!rows.is_empty(), "{text}");
        for row in &rows {
            assert!(row.chars().count() < columns && row.starts_with("copying"), "{columns}: {row}");
            assert_eq!(row.contains('['), columns >= 50, "{columns}: {row}");
        }
        assert!(rows.iter().any(|row| row.contains("/6 ") && row.contains("/361 KiB")), "{rows:?}");
        assert!(columns < 80 || rows.iter().any(|row| row.contains(" package-")), "{rows:?}");
        let left = left(&text);
        assert!(left.contains("copied 6 paths") && !left.contains("copying"), "{left}");
    }
    // All lines for who wants them, and without escape sequences where there are none.
    for (term, flag) in [("xterm", "-v"), ("dumb", "")] {
        let copy = format!(
            "nix copy {flag} --no-check-sigs --from {} --to {} {}",
            peer.url,
            world.text(format!("to-{term}")),
            paths.join(" ")
        );
        let Some(text) = on_terminal(&world, 80, term, &copy) else { return };
        assert_eq!(left(&text).matches("copying path '").count(), 6, "{text}");
        assert!(term == "xterm" || !text.contains('\u{1b}'), "{text:?}");
    }
}

#[test]
fn collections_and_checks_have_a_row() {
    let world = World::new();
    let count = 12_000;
    let paths: Vec<String> =
        (0..count).map(|number| format!("{}-p{number}", data::hash_part(number))).collect();
    let paths: Vec<String> = paths.iter().map(|base| format!("{}/{base}", world.text("store"))).collect();
    world.nix_store(&["--init"]).ok();
    let text = data::plant(&world, &paths, |_| Vec::new());
    world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes()).ok();
    let big = world.path("src/big");
    data::big_file(&big, 800);
    world.nix_store(&["--add", big.to_str().unwrap()]).line();
    let Some(text) = on_terminal(&world, 80, "xterm", "nix-store --verify --check-contents") else { return };
    assert!(
        rows(&text).iter().any(|row| row.starts_with("checking ") && row.contains("/12,001 [")),
        "{text}"
    );
    assert!(rows(&text).iter().all(|row| row.chars().count() < 80), "{text}");
    let verify = "nix store verify --no-trust --all";
    let Some(text) = on_terminal(&world, 80, "xterm", verify) else { return };
    assert!(!rows(&text).is_empty(), "{text}");
    assert!(rows(&text).iter().all(|row| row.starts_with("verifying ")), "{text}");
    assert!(!left(&text).contains("checking '"), "{text}");
    let Some(text) = on_terminal(&world, 60, "xterm", "nix-store --gc") else { return };
    assert!(rows(&text).iter().any(|row| row.starts_with("deleting ") && row.contains("/12,001")), "{text}");
    assert!(rows(&text).iter().any(|row| row.ends_with(" freed") || row.contains(" freed ")), "{text}");
    assert!(rows(&text).iter().all(|row| row.chars().count() < 60), "{text}");
    let stays = left(&text);
    assert!(stays.contains("12001 store paths deleted") && !stays.contains("deleting '"), "{stays}");
}
