//! Every question of `nix-store --query`, and what else only reads the store:
//! the same answer as the reference's, byte for byte.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use crate::common::Side;
use crate::data::{self, Data, hash_part};

/// Asks both sides and gathers where they differ.
struct Comparison {
    data: Arc<Data>,
    differences: Vec<String>,
}

impl Comparison {
    fn new() -> Option<Self> {
        Some(Self { data: data::shared()?, differences: Vec::new() })
    }

    fn ask(&mut self, args: &[&str]) {
        let run = |side| self.data.world.run(side, "nix-store", args);
        let (theirs, ours) = (run(Side::Reference), run(Side::Nival));
        let same = if theirs.status == 0 {
            (ours.status, &ours.stdout) == (0, &theirs.stdout)
        } else {
            ours.status == theirs.status && message(&ours.stderr) == message(&theirs.stderr)
        };
        if !same {
            let theirs = format!("{} {}{}", theirs.status, theirs.stderr, text(&theirs.stdout));
            let ours = format!("{} {}{}", ours.status, ours.stderr, text(&ours.stdout));
            self.differences.push(format!("nix-store {args:?}\nreference: {theirs}\nnival: {ours}"));
        }
    }

    /// Asks every question about every choice of paths.
    fn ask_all(&mut self, questions: &[&[&str]], choices: &[Vec<String>]) {
        for question in questions {
            for choice in choices {
                let mut args = vec!["--query"];
                args.extend(*question);
                args.extend(choice.iter().map(String::as_str));
                self.ask(&args);
            }
        }
    }

    #[track_caller]
    fn check(self) {
        let count = self.differences.len();
        assert!(count == 0, "{count} differences\n\n{}", self.differences.join("\n\n"));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(2000).collect()
}

/// The first line of a failure; how it quotes paths of files is left open.
fn message(stderr: &str) -> String {
    let line = stderr.lines().find(|line| line.starts_with("error:")).unwrap_or(stderr);
    line.replace('"', "'").replace("'//", "'/")
}

fn owned(choice: &[&str]) -> Vec<String> {
    choice.iter().map(|path| (*path).to_owned()).collect()
}

/// Valid paths in every shape an argument can have.
fn valid_choices(data: &Data) -> Vec<Vec<String>> {
    let Data { plain, linked, top, top_drv, multi_drv, .. } = data;
    let shown = data.world.text("store");
    let base = top.rsplit('/').next().unwrap();
    vec![
        vec![],
        owned(&[top]),
        owned(&[top_drv, top]),
        owned(&[top, &linked[119], top]),
        owned(&[multi_drv]),
        owned(&[&linked[63], &plain[5], &linked[64], &linked[0]]),
        owned(&[&format!("{}/sub/empty", plain[7]), &format!("{}/", linked[80])]),
        owned(&[&format!("{shown}//{base}"), &format!("{shown}/../store/./{base}/")]),
    ]
}

/// What is no path, or none that is known.
fn invalid_choices(data: &Data) -> Vec<Vec<String>> {
    let shown = data.world.text("store");
    let unknown = format!("{shown}/{}-unknown", hash_part(1000));
    vec![
        owned(&[&unknown]),
        owned(&[&data.linked[5], &unknown]),
        owned(&[&format!("{unknown}.drv")]),
        owned(&["/nowhere"]),
        owned(&["foo"]),
        owned(&[&shown]),
        owned(&[&format!("{shown}/.links")]),
        owned(&[&format!("{shown}/{}-e", "e".repeat(32))]),
        owned(&[&format!("{shown}/{}-", "a".repeat(32))]),
        owned(&[&format!("{shown}/{}-a@b", "a".repeat(32))]),
    ]
}

#[test]
fn questions_about_each_path() {
    let Some(mut comparison) = Comparison::new() else { return };
    let choices = valid_choices(&comparison.data);
    let questions: [&[&str]; 7] = [
        &[],
        &["--outputs"],
        &["--deriver"],
        &["--valid-derivers"],
        &["--hash"],
        &["--size"],
        &["--resolve"],
    ];
    comparison.ask_all(&questions, &choices);
    comparison.check();
}

#[test]
fn questions_about_references() {
    let Some(mut comparison) = Comparison::new() else { return };
    let choices = valid_choices(&comparison.data);
    comparison.ask_all(&[&["--references"], &["--referrers"], &["--referrers-closure"]], &choices);
    comparison.ask_all(&[&["--requisites"], &["--include-outputs", "-R"]], &choices);
    comparison.check();
}

#[test]
fn drawings() {
    let Some(mut comparison) = Comparison::new() else { return };
    let choices = valid_choices(&comparison.data);
    comparison.ask_all(&[&["--tree"], &["--graph"], &["--graphml"]], &choices);
    comparison.check();
}

#[test]
fn all_paths_at_once() {
    let Some(mut comparison) = Comparison::new() else { return };
    let data = &comparison.data;
    let all = [data.plain.clone(), data.linked.clone(), owned(&[&data.big, &data.top, &data.unbuilt_drv])];
    let all = [all.concat()];
    let questions: [&[&str]; 9] = [
        &["--hash"],
        &["--size"],
        &["--references"],
        &["--referrers"],
        &["--referrers-closure"],
        &["-R"],
        &["--tree"],
        &["--graph"],
        &["--graphml"],
    ];
    comparison.ask_all(&questions, &all);
    comparison.check();
}

#[test]
fn outputs_in_place_of_derivations() {
    let Some(mut comparison) = Comparison::new() else { return };
    let data = &comparison.data;
    let choices = [
        owned(&[&data.top_drv]),
        owned(&[&data.multi_drv, &data.top]),
        owned(&[&data.unbuilt_drv]),
        owned(&[&data.linked[51], &data.multi_drv, &data.linked[51]]),
    ];
    for question in [
        "--outputs",
        "--requisites",
        "--references",
        "--referrers",
        "--deriver",
        "--valid-derivers",
        "--hash",
        "--size",
        "--tree",
        "--graph",
        "--graphml",
    ] {
        comparison.ask_all(&[&["-u", question]], &choices);
    }
    comparison.ask_all(&[&["-u", "--include-outputs", "-R"]], &choices);
    comparison.ask_all(&[&["--include-outputs", "--tree"], &["-u", "--referrers-closure"]], &choices[..2]);
    comparison.check();
}

#[test]
fn resolving_leaves_derivations_alone() {
    let Some(mut comparison) = Comparison::new() else { return };
    let choices = [owned(&[&comparison.data.top_drv, &comparison.data.top])];
    comparison.ask_all(&[&["--resolve"], &["--use-output", "--resolve"]], &choices);
    comparison.check();
}

#[test]
fn bindings() {
    let Some(mut comparison) = Comparison::new() else { return };
    let data = &comparison.data;
    let choices = [
        owned(&[&data.top_drv]),
        owned(&[&data.top, &data.multi_drv, &data.top]),
        owned(&[&data.unbuilt_drv]),
        owned(&[&data.plain[5]]),
        vec![],
    ];
    for name in ["name", "quoted", "outputs", "out", "nope", ""] {
        comparison.ask_all(&[&["--binding", name], &["-b", name]], &choices);
    }
    comparison.ask(&["-q", "--binding"]);
    comparison.check();
}

#[test]
fn arguments_that_are_symlinks() {
    let Some(mut comparison) = Comparison::new() else { return };
    let data = &comparison.data;
    let links = data.world.path("home").join(format!("links-{}", std::process::id()));
    std::fs::create_dir_all(&links).unwrap();
    let shown = |name: &str| links.join(name).to_str().unwrap().to_owned();
    let base = data.top.rsplit('/').next().unwrap().to_owned();
    for (name, target) in [
        ("one", data.top.as_str()),
        ("two", "one"),
        ("below", format!("{}/sub", data.plain[7]).as_str()),
        ("store", data.world.text("store").as_str()),
        ("nowhere", "/nowhere"),
        ("circle", "circle"),
    ] {
        symlink(target, links.join(name)).unwrap();
    }
    let relative = format!("home/{}/two", links.file_name().unwrap().to_str().unwrap());
    let choices: Vec<Vec<String>> =
        ["one", "two", "below", "store", "nowhere", "one/sub"].map(|name| vec![shown(name)]).into();
    comparison.ask_all(&[&["--hash"], &["-R"], &["--tree"]], &choices);
    let others = [vec![relative], vec![shown(&format!("store/{base}"))]];
    comparison.ask_all(&[&["--hash"], &["--outputs"]], &others);
    let circle = comparison.data.world.nix_store(&["-q", "--hash", &shown("circle")]);
    assert_eq!((circle.status, circle.stdout.len()), (1, 0), "{circle:?}");
    comparison.check();
}

#[test]
fn arguments_that_are_not_valid() {
    let Some(mut comparison) = Comparison::new() else { return };
    let choices = invalid_choices(&comparison.data);
    let questions: [&[&str]; 10] = [
        &["--outputs"],
        &["-R"],
        &["--references"],
        &["--referrers"],
        &["--deriver"],
        &["--hash"],
        &["--size"],
        &["--tree"],
        &["--graph"],
        &["--binding", "name"],
    ];
    comparison.ask_all(&questions, &choices);
    comparison.check();
}

#[test]
fn an_unknown_path_has_its_place_among_the_referrers() {
    let Some(mut comparison) = Comparison::new() else { return };
    let data = &comparison.data;
    let store = data.world.text("store");
    let mut choice = owned(&[&data.linked[110], &data.plain[5], &data.plain[4]]);
    choice.extend(["a", "m", "z", "b"].map(|digit| format!("{store}/{}-x", digit.repeat(32))));
    let unbuilt = owned(&[&data.unbuilt_drv, &data.top]);
    comparison.ask_all(&[&["--referrers-closure"]], &[choice]);
    comparison.ask_all(&[&["-u", "--referrers-closure"]], &[unbuilt]);
    comparison.check();
}

#[test]
fn flags_that_make_no_sense() {
    let Some(mut comparison) = Comparison::new() else { return };
    let top = comparison.data.top.clone();
    let choices: [&[&str]; 10] = [
        &["-q", "--bogus", &top],
        &["-q", "--hash", "--size", &top],
        &["-q", "-R", "-R", &top],
        &["-q", "--dump", &top],
        &["--hash", "-q", &top],
        &[&top, "--size", "-q"],
        &["-qRu", &top],
        &["-q", "--", &top],
        &["--hash", &top],
        &[],
    ];
    for args in choices {
        comparison.ask(args);
    }
    comparison.check();
}

#[test]
fn roots_of_every_kind() {
    let Some(data) = data::shared() else { return };
    let Data { linked, top, top_drv, multi_drv, big, plain, .. } = &*data;
    let choices: [&[&String]; 8] = [
        &[top],
        &[&linked[60], &linked[119], &linked[30]],
        &[&linked[10], &linked[11]],
        &[&linked[0], &linked[1], &linked[40], &plain[0]],
        &[top, top],
        &[top_drv],
        &[multi_drv],
        &[big],
    ];
    for paths in choices {
        let mut args = vec!["-q", "--roots"];
        args.extend(paths.iter().map(|path| path.as_str()));
        // The reference gives them in the order of a hash table; what running
        // processes use changes from moment to moment.
        let [theirs, ours] = [Side::Reference, Side::Nival].map(|side| {
            let outcome = data.world.run(side, "nix-store", &args);
            let lines = outcome.ok().lines().into_iter().filter(|line| !line.starts_with("/proc/"));
            let mut lines: Vec<String> = lines.map(str::to_owned).collect();
            lines.sort();
            lines
        });
        assert_eq!(ours, theirs, "{args:?}");
    }
    let top_roots = data.world.nix_store(&["-q", "--roots", top]);
    assert!(top_roots.ok().text().contains("{temp:999999999} -> "), "{top_roots:?}");
    assert!(top_roots.text().contains("/deep/er/top -> "), "{top_roots:?}");
}

#[test]
fn the_database_as_text() {
    let Some(mut comparison) = Comparison::new() else { return };
    let data = Arc::clone(&comparison.data);
    let Data { linked, top, top_drv, multi_drv, plain, .. } = &*data;
    let unknown = format!("{}/{}-unknown", data.world.text("store"), hash_part(1000));
    comparison.ask(&["--dump-db"]);
    comparison.ask(&["--dump-db", top, top_drv, &linked[64], multi_drv, top]);
    comparison.ask(&["--dump-db", &format!("{}/sub", plain[7])]);
    comparison.ask(&["--dump-db", &unknown]);
    comparison.check();
    assert!(data.world.nix_store(&["--dump-db"]).ok().lines().len() > 250 * 5);
}

#[test]
fn validity() {
    let Some(mut comparison) = Comparison::new() else { return };
    let data = Arc::clone(&comparison.data);
    let (top, plain) = (&data.top, &data.plain[0]);
    let unknown = format!("{}/{}-unknown", data.world.text("store"), hash_part(1000));
    comparison.ask(&["--check-validity"]);
    comparison.ask(&["--check-validity", top, plain]);
    comparison.ask(&["--check-validity", top, &unknown, plain]);
    comparison.ask(&["--check-validity", "--print-invalid", top, &unknown, plain, &unknown]);
    comparison.ask(&["--check-validity", "--print-invalid", top]);
    comparison.ask(&["--verify-path", top, plain]);
    comparison.ask(&["--verify-path", &unknown]);
    comparison.check();
}

#[test]
fn logs_and_environments_of_derivations() {
    let Some(mut comparison) = Comparison::new() else { return };
    let data = Arc::clone(&comparison.data);
    let Data { top, top_drv, multi_drv, unbuilt_drv, plain, .. } = &*data;
    let choices: [&[&str]; 7] =
        [&[top], &[top_drv], &[multi_drv, top], &[unbuilt_drv], &[&plain[2]], &[], &[top, unbuilt_drv]];
    for choice in choices {
        for operation in ["--read-log", "-l", "--print-env"] {
            // What is no derivation has no environment; how that is said is left open.
            let derivation = choice.first().is_none_or(|path| path.ends_with(".drv"));
            if operation != "--print-env" || derivation {
                let mut args = vec![operation];
                args.extend(choice);
                comparison.ask(&args);
            }
        }
    }
    comparison.check();
    assert_eq!(data.world.nix_store(&["-l", top]).line(), "building all-0.1pre");
    assert_eq!(data.world.nix_store(&["--print-env", top]).status, 1);
}

#[test]
fn archives_and_exports() {
    let Some(mut comparison) = Comparison::new() else { return };
    let data = Arc::clone(&comparison.data);
    let Data { top, top_drv, linked, plain, big, .. } = &*data;
    for path in plain[..10].iter().chain([top, big]) {
        comparison.ask(&["--dump", path]);
    }
    comparison.ask(&["--export", top]);
    comparison.ask(&["--export", &linked[64], top_drv, &linked[63], &plain[5], &plain[6]]);
    comparison.ask(&["--export"]);
    comparison.check();
}
