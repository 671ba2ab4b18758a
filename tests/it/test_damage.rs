//! Damage in the database: it is told of by name, nothing is lost by it, and a
//! check mends it. `tests/tools/damage` tries every kind on every cell.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::common::{Outcome, Side, World};
use crate::data;

/// Works on the database as a bad disk would.
fn alter<T>(world: &World, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> T {
    let database = Connection::open(world.path("var/db/db.sqlite")).unwrap();
    database.pragma_update(None, "foreign_keys", false).unwrap();
    work(&database).unwrap()
}

fn set(world: &World, path: &str, column: &str, value: Value) {
    let sql = format!("update ValidPaths set {column} = ? where path = ?");
    assert_eq!(alter(world, |database| database.execute(&sql, rusqlite::params![value, path])), 1);
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[track_caller]
fn names(outcome: &Outcome, what: &str) {
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("the database is damaged: "), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(what), "{}", outcome.stderr);
}

/// A check tells of the damage, and then mends it.
#[track_caller]
fn is_mended(world: &World, what: &str) {
    names(&world.nix_store(&["--verify"]), what);
    let mended = world.nix_store(&["--verify", "--repair"]);
    assert_eq!(mended.status, 0, "{}", mended.stderr);
    assert!(mended.stderr.contains("\nmended "), "{}", mended.stderr);
    data::assert_sound(world);
}

fn root(world: &World, path: &str) {
    std::fs::create_dir_all(world.path("var/gcroots")).unwrap();
    std::os::unix::fs::symlink(path, world.path("var/gcroots/kept")).unwrap();
}

fn dump(world: &World) -> String {
    world.nix_store(&["--dump-db"]).ok().text().to_owned()
}

#[test]
fn a_damaged_cell_is_named_and_mended() {
    let world = World::new();
    let paths = data::sample(&world);
    let path = paths[2].clone();
    let before = dump(&world);
    for (column, value) in [
        ("hash", text("sha256:12")),
        ("hash", Value::Blob(vec![0, 255])),
        ("narSize", text("big")),
        ("narSize", Value::Integer(-5)),
        ("registrationTime", text("today")),
        ("registrationTime", Value::Integer(-1)),
        ("deriver", text("/elsewhere/x.drv")),
        ("deriver", Value::Blob(vec![1])),
        ("ultimate", Value::Integer(7)),
        ("sigs", Value::Blob(vec![1])),
        ("ca", text("fixed:nothing")),
    ] {
        set(&world, &path, column, value.clone());
        for args in
            [&["-q", "--hash", &path][..], &["-q", "--deriver", &path], &["--dump-db"], &["--export", &path]]
        {
            names(&world.nix_store(args), &path);
        }
        names(&world.nival("nix", &["path-info", "--json", &path]), &path);
        // Others are not concerned.
        world.nix_store(&["-q", "--hash", &paths[3]]).ok();
        is_mended(&world, column);
        assert_eq!(dump(&world), before, "{column} {value:?}");
    }
}

#[test]
fn nothing_is_deleted_while_a_path_cannot_be_read() {
    let world = World::new();
    let paths = data::sample(&world);
    root(&world, &paths[5]);
    let before = dump(&world);
    let files = data::metadata(&world.store());
    let path = &paths[2];
    for damaged in [
        text(&path.replace("/store/", "/stose/")),
        text(&path[..path.len() - 12]),
        Value::Blob(path.clone().into_bytes()),
        text("x"),
    ] {
        set(&world, path, "path", damaged.clone());
        for args in [&["--gc"][..], &["--gc", "--print-dead"], &["--dump-db"], &["-qR", &paths[5]]] {
            names(&world.nix_store(args), " of ValidPaths");
        }
        // It refers to this one.
        let deleted = world.nix_store(&["--delete", &paths[0]]);
        assert_eq!(deleted.status, 1, "{deleted:?}");
        assert_eq!(data::metadata(&world.store()), files);
        is_mended(&world, "its path is ");
        assert_eq!(dump(&world), before, "{damaged:?}");
    }
    // With nothing left that it could stand for the row goes.
    set(&world, &paths[5], "path", text("/elsewhere/y"));
    std::fs::remove_file(&paths[5]).unwrap();
    is_mended(&world, "'/elsewhere/y'");
    assert_eq!(world.nix_store(&["--check-validity", &paths[5]]).status, 1);
}

#[test]
fn a_row_with_a_wrong_letter_keeps_its_contents() {
    let world = World::new();
    let paths = data::sample(&world);
    root(&world, &paths[5]);
    let before = dump(&world);
    let files = data::metadata(&world.store());
    for path in paths.iter().filter(|path| path.contains("-sample-")) {
        let wrong = path.replace("-sample-", "-sampme-");
        set(&world, path, "path", text(&wrong));
        for args in [&["--gc"][..], &["--delete", &paths[0]], &["--delete", path]] {
            let outcome = world.nix_store(args);
            assert_eq!(outcome.status, 1, "{args:?} {outcome:?}");
            // What is alive by way of other rows is refused as ever.
            let named = outcome.stderr.contains(&format!("'{path}' has no row in the database"));
            let alive = args[0] == "--delete" && outcome.stderr.contains("since it is still alive");
            assert!(named || alive, "{args:?} {outcome:?}");
            assert_eq!(data::metadata(&world.store()), files);
        }
        is_mended(&world, &wrong);
        assert_eq!(dump(&world), before);
    }
    world.nix_store(&["--gc"]).ok();
    world.nix_store(&["--check-validity", &paths[5]]).ok();
}

#[test]
fn a_reference_that_leads_nowhere_is_found_again() {
    let world = World::new();
    let paths = data::sample(&world);
    root(&world, &paths[5]);
    let before = dump(&world);
    let files = data::metadata(&world.store());
    let row = |of: &str| {
        let sql = "select id from ValidPaths where path = ?";
        alter(&world, |database| database.query_row(sql, [of], |row| row.get::<_, i64>(0)))
    };
    let (from, to) = (row(&paths[3]), row(&paths[2]));
    for (column, value) in [
        ("reference", Value::Integer(9999)),
        ("reference", text("x")),
        ("referrer", Value::Integer(9999)),
        ("referrer", Value::Integer(-1)),
        ("referrer", Value::Blob(vec![])),
    ] {
        let sql = format!("update Refs set {column} = ? where referrer = ? and reference = ?");
        let args = rusqlite::params![value, from, to];
        assert_eq!(alter(&world, |database| database.execute(&sql, args)), 1);
        if column == "reference" {
            names(&world.nix_store(&["-q", "--references", &paths[3]]), &paths[3]);
            names(&world.nix_store(&["-qR", &paths[3]]), &paths[3]);
        }
        for args in [&["--gc"][..], &["--delete", &paths[2]], &["--dump-db"]] {
            names(&world.nix_store(args), "");
            assert_eq!(data::metadata(&world.store()), files);
        }
        is_mended(&world, "there is no such row");
        assert_eq!(dump(&world), before, "{column} {value:?}");
    }
}

/// The number of a row.
fn row(world: &World, of: &str) -> i64 {
    let sql = "select id from ValidPaths where path = ?";
    alter(world, |database| database.query_row(sql, [of], |row| row.get(0)))
}

fn lose_reference(world: &World, from: &str, to: &str) {
    let args = [row(world, from), row(world, to)];
    let sql = "update Refs set reference = 9999 where referrer = ? and reference = ?";
    assert_eq!(alter(world, |database| database.execute(sql, args)), 1);
}

/// A check cannot mend it, and removes nothing.
#[track_caller]
fn is_kept(world: &World) {
    let files = data::metadata(&world.store());
    let left = world.nix_store(&["--verify", "--repair"]);
    assert_eq!(left.status, 1, "{left:?}");
    assert!(left.stderr.contains("error: cannot mend "), "{}", left.stderr);
    assert_eq!(world.nix_store(&["--gc"]).status, 1);
    assert_eq!(data::metadata(&world.store()), files);
}

#[test]
fn a_lost_reference_stays_while_its_referrer_cannot_be_examined() {
    let world = World::new();
    let paths = data::sample(&world);
    root(&world, &paths[5]);
    let before = dump(&world);
    lose_reference(&world, &paths[5], &paths[4]);
    // Neither a file nor a tree, for a moment.
    let aside = world.path("aside");
    std::fs::rename(&paths[5], &aside).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(world.path("s")).unwrap();
    std::fs::rename(world.path("s"), &paths[5]).unwrap();
    is_kept(&world);
    drop(socket);
    std::fs::remove_file(&paths[5]).unwrap();
    std::fs::rename(&aside, &paths[5]).unwrap();
    is_mended(&world, "there is no such row");
    assert_eq!(dump(&world), before);
}

#[test]
fn a_lost_reference_to_a_path_that_cannot_be_read_is_found_again() {
    let world = World::new();
    let paths = data::sample(&world);
    root(&world, &paths[5]);
    let before = dump(&world);
    lose_reference(&world, &paths[5], &paths[4]);
    set(&world, &paths[4], "path", text("/elsewhere/z"));
    is_mended(&world, "there is no such row");
    assert_eq!(dump(&world), before);
}

#[test]
fn modified_contents_are_not_taken_for_what_their_address_says() {
    let world = World::new();
    world.write("src/text", "as it was\n");
    let path = world.nix_store(&["--add", &world.text("src/text")]).line();
    root(&world, &path);
    let mode = std::fs::metadata(&path).unwrap().permissions();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "EVIL").unwrap();
    std::fs::set_permissions(&path, mode).unwrap();
    set(&world, &path, "hash", text("sha256:zz"));
    let left = world.nix_store(&["--verify", "--check-contents", "--repair"]);
    assert_eq!(left.status, 1, "{left:?}");
    assert!(left.stderr.contains("what its content address says"), "{}", left.stderr);
    // Nor does anybody else hear that it is in order.
    assert_eq!(world.nix_store(&["--verify-path", &path]).status, 1);
}

#[test]
fn a_row_stays_while_something_could_be_its_contents() {
    let world = World::new();
    let paths = data::sample(&world);
    let path = paths.iter().rfind(|path| path.contains("-sample-")).unwrap();
    root(&world, path);
    let before = dump(&world);
    let contents = std::fs::read(path).unwrap();
    let mode = std::fs::metadata(path).unwrap().permissions();
    set(&world, path, "path", text(&path[..path.len() - 12]));
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, "modified").unwrap();
    is_kept(&world);
    std::fs::write(path, contents).unwrap();
    std::fs::set_permissions(path, mode).unwrap();
    is_mended(&world, "its path is ");
    assert_eq!(dump(&world), before);
}

#[test]
fn outputs_of_derivations_come_from_their_files() {
    let Some(world) = World::with_reference() else { return };
    let nix = r#"derivation { name = "a"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo > $out" ]; }"#;
    let out = world.run(Side::Reference, "nix-build", &["--no-out-link", "-E", nix]).line();
    let drv = world.nix_store(&["-qd", &out]).line();
    root(&world, &out);
    for change in [
        "update DerivationOutputs set path = '/elsewhere/x'",
        "update DerivationOutputs set path = x'01'",
        "update DerivationOutputs set drv = 77",
        "update DerivationOutputs set id = x'ff'",
    ] {
        alter(&world, |database| database.execute(change, []));
        let kept = world.nix_store(&["--gc", "--option", "keep-outputs", "true"]);
        if !change.contains(" id ") {
            names(&kept, "DerivationOutputs");
        }
        is_mended(&world, "DerivationOutputs");
        assert_eq!(world.nix_store(&["-q", "--outputs", &drv]).line(), out);
    }
    // What can be read, but is not what the file says.
    alter(&world, |database| database.execute("delete from DerivationOutputs", []));
    let checked = world.nix_store(&["--verify", "--check-contents"]);
    names(&checked, &format!("the outputs of '{drv}' are not those of its file (output 'out')"));
    world.nix_store(&["--verify", "--check-contents", "--repair"]).ok();
    assert_eq!(world.nix_store(&["-q", "--outputs", &drv]).line(), out);
}

#[test]
fn sizes_and_hashes_that_nobody_recorded_are_filled_in() {
    let Some(world) = World::with_reference() else { return };
    let paths = data::sample(&world);
    let before = dump(&world);
    let mut told = Vec::new();
    for side in [Side::Reference, Side::Nival] {
        set(&world, &paths[0], "narSize", Value::Integer(0));
        set(&world, &paths[1], "hash", text(&format!("sha256:{:064}", 0)));
        let checked = world.run(side, "nix-store", &["--verify", "--check-contents"]);
        assert_eq!(checked.status, 0, "{checked:?}");
        assert_eq!(dump(&world), before);
        let mut lines: Vec<String> = checked.stderr.lines().map(str::to_owned).collect();
        lines.retain(|line| line.starts_with("updating") || line.starts_with("fixing"));
        lines.sort_unstable();
        assert_eq!(lines.len(), 2);
        told.push(lines);
    }
    assert_eq!(told[0], told[1]);
    // A size that is wrong, and a hash with one wrong digit.
    set(&world, &paths[0], "narSize", Value::Integer(5));
    alter(&world, |database| {
        database.execute(
            "update ValidPaths set hash = substr(hash, 1, 70) || case substr(hash, 71) when '0' then '1' else '0' end \
             where path = ?",
            [&paths[1]],
        )
    });
    let checked = world.nix_store(&["--verify", "--check-contents"]);
    names(&checked, &paths[1]);
    assert!(
        checked.stderr.contains(&format!("path '{}' was registered with size 5", paths[0])),
        "{checked:?}"
    );
    world.nix_store(&["--verify", "--check-contents", "--repair"]).ok();
    assert_eq!(dump(&world), before);
}

#[test]
fn each_path_that_is_checked_is_told_on_request() {
    let Some(world) = World::with_reference() else { return };
    data::sample(&world);
    let told = |side| {
        let checked = world.run(side, "nix-store", &["--verify", "--check-contents", "-v"]);
        let mut lines: Vec<String> = checked.ok().stderr.lines().map(str::to_owned).collect();
        lines.retain(|line| line.starts_with("checking contents of "));
        lines.sort_unstable();
        lines
    };
    assert_eq!(told(Side::Nival), told(Side::Reference));
    assert_eq!(told(Side::Nival).len(), 6);
}

#[test]
fn a_lost_database_is_named_with_what_helps() {
    let world = World::new();
    let paths = data::sample(&world);
    let file = world.path("var/db/db.sqlite");
    let shown = file.display();
    let remove = |suffix: &str| {
        let _ = std::fs::remove_file(world.path(format!("var/db/db.sqlite{suffix}")));
    };
    for suffix in ["", "-wal", "-shm"] {
        remove(suffix);
    }
    let gone = world.nix_store(&["-q", "--hash", &paths[0]]);
    gone.fails(&format!("error: the database '{shown}' is gone"));
    assert!(gone.stderr.contains("'nix-store --rebuild-db'"), "{}", gone.stderr);
    std::fs::write(&file, "").unwrap();
    world.nix_store(&["--gc"]).fails(&format!("error: the database '{shown}' is empty"));
    std::fs::write(&file, vec![7; 100_000]).unwrap();
    let garbage = world.nix_store(&["--gc"]);
    garbage.fails(&format!("error: the database '{shown}' cannot be used: file is not a database"));
    assert!(garbage.stderr.contains("once it has been moved away"), "{}", garbage.stderr);
    assert!(paths.iter().all(|path| Path::new(path).exists()));
    for suffix in ["", "-wal", "-shm"] {
        remove(suffix);
    }
    world.nix_store(&["--rebuild-db"]).ok();
    world.nix_store(&["-q", "--hash", &paths[0]]).ok();
    // Older ones than Nix 2 has are not for Nix 2.
    std::fs::write(world.path("var/db/schema"), "5").unwrap();
    let old = world.nix_store(&["--verify"]);
    assert!(old.stderr.contains("schema version 5") && old.stderr.contains("Nix 1.11"), "{}", old.stderr);
}

#[test]
fn a_content_address_of_any_kind_is_found_again() {
    let world = World::new();
    world.write("src/text", "some text\n");
    world.write("src/tree/file", "another text\n");
    let (file, tree) = (world.text("src/text"), world.text("src/tree"));
    let flags = ["--option", "experimental-features", "nix-command git-hashing"];
    let mut paths = Vec::new();
    for algorithm in ["md5", "sha1", "sha512"] {
        paths.push(world.nix_store(&["--add-fixed", algorithm, &file]).line());
        paths.push(world.nix_store(&["--add-fixed", "--recursive", algorithm, &tree]).line());
    }
    for algorithm in ["sha1", "sha256"] {
        let args = ["store", "add", "--mode", "git", "--hash-algo", algorithm, &tree];
        paths.push(world.nival("nix", &[&flags[..], &args].concat()).line());
    }
    let addresses = || -> Vec<Option<String>> {
        let sql = "select ca from ValidPaths where path = ?";
        let of = |path| alter(&world, |database| database.query_row(sql, [path], |row| row.get(0)));
        paths.iter().map(of).collect()
    };
    let before = addresses();
    assert!(before.iter().all(Option::is_some), "{before:?}");
    alter(&world, |database| database.execute("update ValidPaths set ca = 'fixed:zz'", []));
    is_mended(&world, "its ca is the text 'fixed:zz'");
    assert_eq!(addresses(), before);
}

/// Registers a path whose contents are some text.
fn register(world: &World, part: u64, contents: &str, references: &[&str]) -> String {
    let path = format!("{}/{}-registered", world.text("store"), data::hash_part(part));
    std::fs::write(&path, contents).unwrap();
    let references: String = references.iter().map(|path| format!("\n{path}")).collect();
    let text = format!("{path}\n\n{}{references}\n", references.lines().skip(1).count());
    world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes()).ok();
    path
}

#[test]
fn a_lost_reference_that_no_contents_name_is_given_up() {
    let world = World::new();
    let paths = data::sample(&world);
    let path = register(&world, 40, "nothing in here", &[&paths[0]]);
    lose_reference(&world, &path, &paths[0]);
    is_mended(&world, "there is no such row");
    assert_eq!(world.nix_store(&["-q", "--references", &path]).text(), "");
    // Modified contents say nothing of what was in them.
    let path = register(&world, 41, "nothing in here", &[&paths[0]]);
    lose_reference(&world, &path, &paths[0]);
    let mode = std::fs::metadata(&path).unwrap().permissions();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "modified").unwrap();
    std::fs::set_permissions(&path, mode).unwrap();
    is_kept(&world);
}

/// Of one reference an end is known, of another nothing: both are found in contents.
#[test]
fn lost_references_of_which_more_and_less_is_known_are_found() {
    let world = World::new();
    let paths = data::sample(&world);
    let one = register(&world, 42, &paths[0], &[&paths[0]]);
    let other = register(&world, 43, &paths[1], &[&paths[1]]);
    let ends =
        [(&one, &paths[0]), (&other, &paths[1])].map(|(from, to)| [row(&world, from), row(&world, to)]);
    alter(&world, |database| {
        database.execute("update Refs set referrer = 9900 where referrer = ? and reference = ?", ends[0])?;
        let sql = "update Refs set referrer = 9901, reference = 9902 where referrer = ? and reference = ?";
        database.execute(sql, ends[1])
    });
    is_mended(&world, "there is no such row");
    assert_eq!(world.nix_store(&["-q", "--references", &one]).line(), paths[0]);
    assert_eq!(world.nix_store(&["-q", "--references", &other]).line(), paths[1]);
}

/// A hash that cannot be read is not that of contents which have another size.
#[test]
fn contents_of_another_size_are_not_taken_for_the_registered_ones() {
    let world = World::new();
    data::sample(&world);
    let path = register(&world, 44, "as it was registered", &[]);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "other").unwrap();
    set(&world, &path, "narSize", Value::Integer(1000));
    set(&world, &path, "hash", text("sha256:unreadable"));
    let left = world.nix_store(&["--verify", "--repair"]);
    assert_eq!(left.status, 1, "{left:?}");
    assert!(left.stderr.contains("its contents do not have the registered size"), "{}", left.stderr);
}

/// Nothing waits for a pipe in the place of the room for a full disk, or of the
/// number of the schema.
#[test]
fn a_pipe_in_the_place_of_a_file_holds_nobody_up() {
    let world = World::new();
    let reserved = world.path("var/db/reserved");
    world.nix_store(&["--init"]).ok();
    std::fs::remove_file(&reserved).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&reserved).status().unwrap();
    assert!(made.success());
    world.nix_store(&["--optimise"]).ok();
    let schema = world.path("var/db/schema");
    std::fs::remove_file(&schema).unwrap();
    std::fs::rename(&reserved, &schema).unwrap();
    let refused = world.nix_store(&["--gc"]);
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("db/schema"), "{}", refused.stderr);
}

/// Outputs are read from derivations; where that cannot be done, a damaged row stays.
#[test]
fn outputs_stay_while_their_derivation_cannot_be_read() {
    let Some(world) = World::with_reference() else { return };
    let nix = r#"derivation { name = "a"; system = "x86_64-linux"; builder = "/bin/sh"; }"#;
    let drv = world.run(Side::Reference, "nix-instantiate", &["-E", nix]).line();
    let bad = Value::Blob(vec![0xff]);
    alter(&world, |database| database.execute("update DerivationOutputs set path = ?", [bad]));
    let text = std::fs::read(&drv).unwrap();
    std::fs::remove_file(&drv).unwrap();
    std::fs::write(&drv, "no derivation").unwrap();
    let count = || {
        alter(&world, |database| {
            database.query_row("select count(*) from DerivationOutputs", [], |row| row.get::<_, i64>(0))
        })
    };
    let left = world.nix_store(&["--verify", "--repair"]);
    assert!(
        left.stderr.contains("the derivation that may have the output cannot be read"),
        "{}",
        left.stderr
    );
    assert_eq!((left.status, count()), (1, 1));
    std::fs::write(&drv, text).unwrap();
    world.nix_store(&["--verify", "--repair"]).ok();
    assert_eq!(count(), 1);
    world.nix_store(&["-q", "--outputs", &drv]).ok();
}

#[test]
fn a_lost_reference_to_what_has_no_row_stays() {
    let world = World::new();
    let paths = data::sample(&world);
    root(&world, &paths[5]);
    alter(&world, |database| database.execute("delete from ValidPaths where path = ?", [&paths[4]]));
    is_kept(&world);
    let left = world.nix_store(&["--verify", "--repair"]);
    assert!(left.stderr.contains("something that is there and has no row"), "{}", left.stderr);
}

#[test]
fn what_is_what_its_name_says_is_not_taken_for_the_contents_of_another_row() {
    let world = World::new();
    let paths = data::sample(&world);
    let path = register(&world, 40, "some text", &[]);
    world.write("src/interrupted", "left by somebody who was interrupted");
    let left = world.nix_store(&["--add", &world.text("src/interrupted")]).line();
    alter(&world, |database| database.execute("delete from ValidPaths where path = ?", [&left]));
    std::fs::remove_file(&path).unwrap();
    set(&world, &path, "path", text("/elsewhere/z"));
    root(&world, &paths[5]);
    let mended = world.nix_store(&["--verify", "--repair"]);
    assert_eq!(mended.status, 0, "{}", mended.stderr);
    world.nix_store(&["--gc"]).ok();
    assert!(!Path::new(&left).exists());
    world.nix_store(&["--check-validity", &paths[5]]).ok();
}

#[test]
fn what_was_gone_does_not_come_back_with_contents_that_are_refused() {
    let Some(world) = World::with_reference() else { return };
    let nix = r#"derivation { name = "a"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo > $out" ]; }"#;
    let drv = world.run(Side::Reference, "nix-instantiate", &["-E", nix]).line();
    let mut stream = data::export(&world, std::slice::from_ref(&drv));
    let at = stream.windows(4).position(|bytes| bytes == b"echo").unwrap();
    stream[at] = b'E';
    std::fs::remove_file(&drv).unwrap();
    let import = |stream: &[u8]| world.run_with_input(Side::Nival, "nix-store", &["--import"], stream);
    assert_eq!(import(&stream).status, 1);
    assert!(!Path::new(&drv).exists());
    stream[at] = b'e';
    import(&stream).ok();
    data::assert_sound(&world);
}
