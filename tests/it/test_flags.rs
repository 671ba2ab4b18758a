//! Flags are data: what is documented is accepted, what is accepted is documented, and the
//! reference has the same.

use std::collections::BTreeMap;

use crate::common::{Outcome, Side, World, outcome, skip_missing};

/// The flags of a help: their spellings and the placeholders of their values.
fn documented(help: &Outcome) -> Vec<(Vec<String>, Vec<String>)> {
    let lines = help.ok().lines().into_iter().filter(|line| line.starts_with("  -"));
    let flags = lines.map(|line| {
        // The sentence begins behind two blanks, or on the next line.
        let shown = line.trim_start().split("  ").next().unwrap();
        let (names, values): (Vec<&str>, Vec<&str>) =
            shown.split(' ').partition(|word| word.starts_with('-'));
        let names = names.iter().map(|name| name.trim_end_matches(',').to_owned()).collect();
        (names, values.iter().map(|value| (*value).to_owned()).collect())
    });
    flags.collect()
}

/// The names below a title of a help.
fn listed(help: &Outcome, title: &str) -> Vec<String> {
    let lines = help.ok().lines();
    let below = lines.into_iter().skip_while(|line| *line != title).skip(1);
    let entries = below.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    entries.map(|line| line.trim_start().split("  ").next().unwrap().to_owned()).collect()
}

/// A value that suits a placeholder.
fn value(placeholder: &str) -> String {
    match placeholder {
        "PATH" | "FILE" | "PROFILE" => "etc/nix.conf",
        "30d|+5" | "DAYS" => "30d",
        "GENERATION" | "N" | "BYTES" | "N|auto" => "1",
        "STORE" => "file:///nowhere",
        "NAME" => "substituters",
        other => other.split('|').next().unwrap(),
    }
    .to_owned()
}

/// The words of all operations and subcommands that have a help, below those of a program.
fn places(world: &World) -> Vec<Vec<String>> {
    let mut places = Vec::new();
    for program in ["nix-store", "nix-env", "nix-channel"] {
        for names in listed(&world.nival(program, &["--help"]), "Operations:") {
            let name = names.rsplit(", ").next().unwrap().to_owned();
            places.push(vec![program.to_owned(), name]);
        }
    }
    for program in ["nix-hash", "nix-prefetch-url", "nix-copy-closure", "nix-collect-garbage", "nix-daemon"] {
        places.push(vec![program.to_owned()]);
    }
    for name in listed(&world.nival("nix", &["--help"]), "Subcommands:") {
        places.push(["nix"].into_iter().chain(name.split(' ')).map(str::to_owned).collect());
    }
    assert!(places.len() > 80, "{places:?}");
    places
}

fn help(world: &World, place: &[String]) -> Outcome {
    world.nival(&place[0], &[&place[1..], &["--help".to_owned()]].concat())
}

#[test]
fn every_documented_flag_is_accepted() {
    let world = World::new();
    let places = places(&world);
    std::thread::scope(|scope| {
        for part in places.chunks(12) {
            let world = &world;
            scope.spawn(move || part.iter().for_each(|place| flags_are_accepted(world, place)));
        }
    });
}

fn flags_are_accepted(world: &World, place: &[String]) {
    for (names, placeholders) in documented(&help(world, place)) {
        for name in &names {
            // They end the run.
            if ["--help", "--version"].contains(&name.as_str()) {
                continue;
            }
            let mut words = place[1..].to_vec();
            words.push(name.clone());
            words.extend(placeholders.iter().map(|placeholder| value(placeholder)));
            // A daemon would stay, a collection and the like would work.
            words.push("--no-such-flag".to_owned());
            let outcome = world.nival(&place[0], &words);
            let told = outcome.stderr.lines().any(|line| {
                ["unknown flag", "unrecognised flag", "unsupported argument", "bad sub-operation"]
                    .iter()
                    .any(|begin| line.contains(begin))
            });
            let other = !outcome.stderr.contains("--no-such-flag") && told;
            assert!(
                outcome.status == 1
                    && !other
                    && !outcome.stderr.contains("in the tables")
                    && !outcome.stderr.contains(&format!("flag '{name}' requires"))
                    && !outcome.stderr.contains(&format!("'{name}' requires an argument")),
                "{place:?} {words:?}: {outcome:?}"
            );
        }
    }
}

#[test]
fn the_reference_has_the_same_flags() {
    let Some(world) = World::with_reference() else { return };
    let dump = world.run(Side::Reference, "nix", &["__dump-cli"]);
    let dump: serde_json::Value = serde_json::from_str(dump.ok().text()).unwrap();
    let names = |flags: &serde_json::Value| -> BTreeMap<String, usize> {
        let values = |flag: &serde_json::Value| flag["labels"].as_array().map_or(0, Vec::len);
        let flags = flags.as_object().unwrap().iter();
        let mut all = BTreeMap::new();
        for (name, flag) in flags {
            all.insert(format!("--{name}"), values(flag));
            if let Some(short) = flag["shortName"].as_str().filter(|short| !short.starts_with('\0')) {
                all.insert(format!("-{short}"), values(flag));
            }
        }
        all
    };
    let of_all = documented(&world.nival("nix", &["--help"]));
    let of_all: Vec<String> = of_all.into_iter().flat_map(|(names, _)| names).collect();
    for place in places(&world).iter().filter(|place| place[0] == "nix") {
        let mut node = &dump["args"];
        place[1..].iter().for_each(|word| node = &node["commands"][word]);
        // One of ours is an alias or an old name there, and shown nowhere.
        let Some(flags) = node["flags"].as_object() else { continue };
        let reference = names(&serde_json::Value::Object(flags.clone()));
        let ours: BTreeMap<String, usize> = documented(&help(&world, place))
            .into_iter()
            .flat_map(|(names, values)| names.into_iter().map(move |name| (name, values.len())))
            .collect();
        let name = place[1..].join(" ");
        for (flag, values) in &reference {
            assert_eq!(ours.get(flag), Some(values), "{name} {flag}");
        }
        for flag in ours.keys() {
            // An old name, which the reference does not show.
            let old = (&*name, &**flag) == ("store prefetch-file", "--hash-algo");
            assert!(reference.contains_key(flag) || of_all.contains(flag) || old, "{name} {flag}");
        }
    }
}

/// The first line of an error is that of the reference.
#[test]
fn words_are_read_as_the_reference_reads_them() {
    let Some(world) = World::with_reference() else { return };
    for line in [
        "nix-hash --type",
        "nix-hash -a/b",
        "nix-hash -4",
        "nix-hash -",
        "nix-hash --type md5 --version",
        "nix-prefetch-url -A",
        "nix-prefetch-url --arg a",
        "nix-prefetch-url --impure",
        "nix-copy-closure --option a",
        "nix-copy-closure -K",
        "nix-collect-garbage -k --bogus",
        "nix-collect-garbage --delete-older-than",
        "nix-daemon -4",
        "nix-channel --add",
        "nix-channel --add a b c",
        "nix-channel --add x --list",
        "nix-channel --list --remove",
        "nix-channel --bogus",
        "nix-channel x",
        "nix-env -p",
        "nix-env -q -I",
        "nix-env -q --include x",
        "nix-env -qA",
        "nix-env -A x -q",
        "nix-env -q x -A y",
        "nix-env -u -r",
        "nix-env -q --eval-store",
        "nix-env -q --version",
        "nix-env -q -q",
        "nix-env -q -f /nonexistent",
        "nix-env -f /nonexistent -qa",
        "nix-env -f /nonexistent -u",
        "nix-env -q -i",
        "nix-env --dry-run",
        "nix-store --max-freed",
        "nix-store --max-freed zz",
        "nix-store --gc --bogus",
        "nix-store --optimise --bogus",
        "nix-store --version -q",
        "nix-store --version --bogus",
        "nix-store --bogus --version",
        "nix-store -q -R/x",
        "nix-store -q -R4",
        "nix-store -q -R-x",
        "nix-store -q -vé",
        "nix-store -q -",
        "nix-store -q -4",
        "nix-store -q -- --hash",
        "nix-store -qR --tree",
        "nix-store --delete --max-freed 3",
        "nix-store -q --option",
        "nix-store -q -jx",
        "nix --bogus store gc",
        "nix store gc -I x",
        "nix store gc --max",
        "nix log --stdin",
        "nix copy -r",
        "nix copy --to",
        "nix path-info --file a --expr b",
        "nix path-info --no-registries --update-input x --recreate-lock-file --all",
        "nix daemon --daemon",
        "nix derivation show --json",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let of = |side| {
            let outcome = world.run(side, words[0], &words[1..]);
            let programs = format!("{}/", world.programs(side).display());
            let told = outcome.stderr.replace(&programs, "").lines().next().unwrap_or_default().to_owned();
            (outcome.status, told, outcome.text().replace("Nival, like Nix", "Nix"))
        };
        assert_eq!(of(Side::Nival), of(Side::Reference), "{line}");
    }
}

#[test]
fn an_unknown_flag_comes_with_the_nearest_one() {
    let world = World::new();
    for (line, near) in [
        ("nix-store -q --refernces", "--references"),
        ("nix-store --gc --print-dea", "--print-dead"),
        ("nix-store --versio", "--version"),
        ("nix-env -q --available-", "--available"),
        ("nix-env --instal", "--install"),
        ("nix copy --trusted-public-key x", "--trusted-public-keys"),
        ("nix copy --no-recursiv x", "--no-recursive"),
        ("nix path-info --closure-siz", "--closure-size"),
        ("nix-hash --truncat", "--truncate"),
        ("nix-collect-garbage --delete-olde-than 3d", "--delete-older-than"),
        ("nix store gc --trusted-public-key x", "--trusted-public-keys"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let outcome = world.nival(words[0], &words[1..]);
        assert_eq!(outcome.status, 1, "{line}");
        assert!(outcome.stderr.contains(&format!("Did you mean '{near}'?")), "{line}: {outcome:?}");
    }
}

/// Every place has its page; `man` reads a sample of them without a complaint, and they have all flags.
#[test]
fn man_pages_can_be_read() {
    let world = World::new();
    world.nival("nival", &["man", "man"]).ok();
    let names = |section: &str| -> Vec<String> {
        let entries = std::fs::read_dir(world.path("man").join(section)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let pages = names("man1");
    assert_eq!(names("man5"), ["nix.conf.5"]);
    for place in places(&world) {
        let operation = place.get(1).is_some_and(|word| word.starts_with('-'));
        let words: Vec<&str> = place.iter().map(|word| word.trim_start_matches('-')).collect();
        let name = match place[0] == "nix" && !operation && place.len() > 1 {
            true => format!("nix3-{}.1", words[1..].join("-")),
            false => format!("{}.1", words.join("-")),
        };
        // Operations are shown by their longest names, which may be second ones.
        let name = name.replace("optimize", "optimise").replace("realize", "realise");
        assert!(pages.contains(&name), "{name}");
    }
    if std::process::Command::new("man").arg("--version").output().is_err() {
        return skip_missing("man is not installed");
    }
    let read = |files: &[String]| {
        let mut command = std::process::Command::new("man");
        command.args(["--warnings", "-P", "cat", "-l"]).args(files).current_dir(world.path("man"));
        command.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "100").env_remove("MANPAGER");
        outcome(command.output().unwrap())
    };
    let sample = ["nix", "nix-env", "nix-hash", "nix-store", "nix3-copy", "nix3-store", "nival"];
    let sample = read(&sample.map(|name| format!("man1/{name}.1")));
    assert_eq!((sample.status, &*sample.stderr), (0, ""));
    let settings = read(&["man5/nix.conf.5".to_owned()]);
    assert_eq!((settings.status, &*settings.stderr), (0, ""));
    assert!(settings.text().contains("substituters") && settings.text().contains("keep-outputs"));
    let page = read(&["man1/nix-store-gc.1".to_owned()]);
    for (names, _) in documented(&world.nival("nix-store", &["--gc", "--help"])) {
        assert!(names.iter().all(|name| page.text().contains(name)), "{names:?}");
    }
}

/// `install-links` also installs what shells and `man` read.
#[test]
fn links_come_with_man_pages_and_completions() {
    let world = World::new();
    let bin = world.text("prefix/bin");
    world.nival("nival", &["install-links", &bin]).ok();
    for file in [
        "man/man1/nix-store-gc.1",
        "man/man5/nix.conf.5",
        "bash-completion/completions/nix-store",
        "zsh/site-functions/_nival",
        "fish/vendor_completions.d/nix.fish",
    ] {
        assert!(world.path("prefix/share").join(file).is_file(), "{file}");
    }
    world.nival("nival", &["install-links", "--only-links", "other/bin"]).ok();
    assert!(world.path("other/bin/nix-shell").is_symlink() && !world.path("other/share").exists());
}
