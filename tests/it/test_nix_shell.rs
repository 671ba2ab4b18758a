//! `nix-shell` beside the reference: which derivation is meant, what is built, the environment, what the
//! shell does when it begins, and scripts.

use std::os::unix::fs::PermissionsExt as _;

use crate::common::{Outcome, Side, World, outcome};
use crate::data;

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// What stands for Nixpkgs.
const PACKAGES: &str = r##"args: rec {
  pkgs = { inherit runCommand; };
  d = name: script: more: derivation ({ inherit name; system = "x86_64-linux"; builder = "/bin/bash"; PATH = "/usr/bin:/bin"; args = [ "-c" (script + "\n:") ]; } // more);
  runCommand = name: attrs: text: d name text ({ buildCommand = text; stdenv = std; } // attrs);
  std = d "stdenv" ''
    mkdir $out
    echo 'echo "setup [$name] [$buildInputs] [''${PATH-none}]"; export PATH=/stdenv; runHook() { echo "hook $1"; eval "''${!1-}"; }; for i in $buildInputs; do PATH=$i/bin:$PATH; done' > $out/setup
  '' { };
  hello = d "hello" "mkdir -p $out/bin; printf '#! /bin/sh\\necho Hello\\n' > $out/bin/hello; chmod 755 $out/bin/hello" { };
  say = d "say" "mkdir -p $out/bin; printf '#! /bin/bash\\necho \"$0: $#\"; for a; do echo \"<$a>\"; done\\n' > $out/bin/say; chmod 755 $out/bin/say; cp $out/bin/say $out/bin/ruby" { };
  bad = d "bad" "exit 3" { };
  bashInteractive = d "bash-interactive" "mkdir -p $out/bin; cp /bin/bash $out/bin/bash" { };
}
"##;

/// Each attribute is a derivation that cannot be built itself.
const SHELL: &str = r##"{ inNixShell ? false, x ? "default", ... }@args:
let
  packages = import ./packages.nix { };
  d = name: more: derivation ({ inherit name; system = "x86_64-linux"; builder = "/nonexistent"; } // more);
in {
  plain = d "plain" { a = "x"; lines = "one\ntwo"; quote = "it's \"$x\""; outputs = [ "out" "dev" ]; inherit x; inside = inNixShell; };
  own = d "own" { TMPDIR = "/own"; HOME = "/own"; IN_NIX_SHELL = "own"; TZ = "own"; NIX_BUILD_TOP = "/own"; SHELL = "own"; NIX_STORE = "own"; };
  path = d "path" { PATH = "/own/bin"; };
  as-file = d "as-file" { passAsFile = [ "b" "a" "nothing" ]; a = "text of a"; b = "text\nof b"; };
  structured = d "structured" { __structuredAttrs = true; a = "x"; list = [ 1 "two" ]; set = { a = 1; }; yes = true; outputs = [ "out" "dev" ]; text = "it's"; };
  hook = d "hook" { stdenv = packages.std; buildInputs = [ packages.hello ]; shellHook = "echo my hook"; };
  no-hook = d "no-hook" { shellHook = "echo my hook"; };
  bad = d "bad-input" { x = packages.bad; };
  both = d "both" { x = packages.bad; y = packages.hello; };
  two = [ (d "one" { }) (d "two" { }) ];
  number = 1;
}
"##;

fn world() -> Option<World> {
    let mut world = World::with_reference()?;
    world.write("src/packages.nix", PACKAGES);
    world.write("src/shell.nix", SHELL);
    let variables = [
        ("NIX_PATH", format!("nixpkgs={}", world.text("src/packages.nix"))),
        ("NIX_BUILD_SHELL", "/bin/bash".to_owned()),
        ("FOO", "from outside".to_owned()),
        ("LANG", "C".to_owned()),
        ("USER", "somebody".to_owned()),
        ("http_proxy", "http://127.0.0.1:1".to_owned()),
    ];
    world.variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
    Some(world)
}

/// The directory of a shell has another name each time.
fn told(text: &str, world: &World, side: Side) -> String {
    let programs = world.programs(side);
    let text = text.replace(&format!("{}/", programs.display()), "");
    let mut told = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("nix-shell-") {
        told.push_str(before);
        let end =
            after.find(|other: char| !other.is_ascii_alphanumeric() && other != '-').unwrap_or(after.len());
        told.push_str(if after.starts_with(|first: char| first.is_ascii_digit()) {
            "DIR"
        } else {
            "nix-shell-"
        });
        rest = if after.starts_with(|first: char| first.is_ascii_digit()) { &after[end..] } else { after };
    }
    told += rest;
    // The file that the shell reads first is longer, and needs no programs; and for each build that was given
    // up the reference tells an empty line.
    let lines = told.split_inclusive('\n');
    let lines = lines.filter(|line| *line != "\n" && !line.ends_with("rm: command not found\n"));
    lines
        .map(|line| match line.split_once("/rc: line ") {
            Some((before, after)) => {
                let rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
                format!("{before}/rc: line N{rest}")
            }
            None => line.to_owned(),
        })
        .collect()
}

fn run_in(world: &World, side: Side, dir: &str, words: &[&str]) -> Outcome {
    let mut command = world.command(side, "nix-shell");
    let outcome = outcome(command.args(words).current_dir(world.path(dir)).output().unwrap());
    Outcome {
        stdout: told(outcome.text(), world, side).into_bytes(),
        stderr: told(&outcome.stderr, world, side),
        ..outcome
    }
}

/// Runs a command on both sides with an empty store; all that comes of it is the same.
#[track_caller]
fn same_in(world: &World, dir: &str, words: &[&str]) -> Outcome {
    let [ours, theirs] = SIDES.map(|side| {
        data::forget_if_there(world);
        (run_in(world, side, dir, words), data::names(&world.store()))
    });
    let shown = |outcome: &Outcome| (outcome.status, outcome.text().to_owned(), outcome.stderr.clone());
    assert_eq!(shown(&ours.0), shown(&theirs.0), "{words:?}");
    let paths = |names: std::collections::BTreeSet<String>| -> Vec<String> {
        names.into_iter().filter(|name| !name.starts_with('.') && !name.ends_with(".lock")).collect()
    };
    assert_eq!(paths(ours.1), paths(theirs.1), "{words:?}");
    ours.0
}

#[track_caller]
fn same(world: &World, words: &[&str]) -> Outcome {
    same_in(world, "src", words)
}

const ENVIRONMENT: &str = "/usr/bin/env | /usr/bin/sort | /bin/grep -v '^_='";

#[test]
fn environments() {
    let Some(world) = world() else { return };
    for name in ["plain", "own", "hook", "no-hook"] {
        same(&world, &["-A", name, "--run", ENVIRONMENT]).ok();
        same(&world, &["-A", name, "--pure", "--run", ENVIRONMENT]).ok();
    }
    same(&world, &["-A", "plain", "--pure", "--keep", "FOO", "--keep", "LANG", "--run", ENVIRONMENT]).ok();
    same(&world, &["-A", "plain", "--pure", "--impure", "--run", "echo $IN_NIX_SHELL"]).ok();
    same(&world, &["-A", "as-file", "--run", "/bin/cat $aPath $bPath; echo $a $b $aPath $bPath"]).ok();
    let declared =
        "/bin/cat $NIX_ATTRS_SH_FILE $NIX_ATTRS_JSON_FILE; declare -p a list set yes outputs; echo $dev";
    same(&world, &["-A", "structured", "--run", declared]).ok();
    // Where nothing sets it, an empty element would stand for the current directory.
    let path = run_in(&world, Side::Nival, "src", &["-A", "plain", "--pure", "--run", "echo $PATH"]);
    assert_eq!(path.ok().line(), "/bin");
    let path = run_in(&world, Side::Nival, "src", &["-A", "path", "--run", "echo $PATH"]);
    assert_eq!(path.ok().line(), "/bin:/own/bin");
}

#[test]
fn what_the_shell_is_like() {
    let Some(world) = world() else { return };
    for command in [
        "shopt nullglob execfail; set +o | /bin/grep errexit; umask; echo $SHELL $BASH; ulimit -n",
        "trap; echo ${exitHooks[@]} ${failureHooks[@]} $dontAddDisableDepTrack",
        "exit 7",
        "kill -9 $$",
        "false",
        "nonexistent 2>/dev/null",
        "echo $TZ",
    ] {
        same(&world, &["-A", "plain", "--run", command]);
        same(&world, &["-A", "plain", "--command", command]);
    }
    same(&world, &["-A", "hook", "--run", "hello; echo $PATH"]).ok();
    same(&world, &["-A", "hook", "--pure", "--run", "hello; echo $PATH"]).ok();
    same(&world, &["-A", "plain", "--run", "echo 1", "--command", "echo 2"]).ok();
    same(&world, &["-A", "plain"]).ok();
    let left = |side| {
        let dir =
            run_in(&world, side, "src", &["-A", "plain", "--run", "ls -d $TMPDIR >/dev/null && echo there"]);
        dir.ok().line()
    };
    assert_eq!(SIDES.map(left), ["there", "there"]);
    let dirs = data::names(std::path::Path::new("/tmp"));
    let ours = format!("nix-shell-{}-", std::process::id());
    assert!(!dirs.iter().any(|name| name.starts_with(&ours)), "{dirs:?}");
}

#[test]
fn which_derivation() {
    let Some(world) = world() else { return };
    let run = ["--run", "echo $name $x $inside"];
    for words in [
        &["-A", "plain"][..],
        &["shell.nix", "-A", "plain"],
        &["-A", "plain", "--argstr", "x", "given"],
        &["-A", "plain", "--arg", "inNixShell", "false"],
        &["-A", "two"],
        &["-A", "two.0"],
        &["-A", "number"],
        &["-A", "nothing"],
        &["-A", "plain", "-A", "own"],
        &["shell.nix", "shell.nix", "-A", "plain"],
        &[],
        &["-E", "(import ./shell.nix { }).plain"],
        &["-E", "x: x"],
        &["-E"],
        &["nonexistent.nix"],
        &[".", "-A", "plain"],
        &["-p", "hello", "-E", "1"],
        &["-i", "bash"],
        &["--nonsense"],
        &["<nixpkgs>"],
        &["-A", "plain", "-o", "link", "--no-out-link"],
    ] {
        same(&world, &[words, &run].concat());
    }
    same_in(&world, "etc", &run);
    std::fs::rename(world.path("src/shell.nix"), world.path("src/default.nix")).unwrap();
    same(&world, &[&["-A", "plain"], &run[..]].concat()).ok();
}

#[test]
fn what_is_built() {
    let Some(world) = world() else { return };
    let run = ["--run", "echo $name"];
    same(&world, &[&["-A", "bad"], &run[..]].concat());
    same(&world, &[&["-A", "both", "-k", "-j1"], &run[..]].concat());
    same(&world, &[&["-A", "hook", "--dry-run"], &run[..]].concat()).ok();
    same(&world, &[&["-A", "bad", "--exclude", "bad"], &run[..]].concat()).ok();
    same(&world, &[&["-A", "both", "--exclude", "-bad.drv$"], &run[..]].concat()).ok();
    same(&world, &[&["-A", "hook", "--exclude", "stdenv"], &run[..]].concat()).ok();
}

#[test]
fn packages() {
    let Some(world) = world() else { return };
    let run = ["--run", "hello; echo $PATH"];
    for words in [
        &["-p", "hello"][..],
        &["-p", "hello", "--pure"],
        &["-p", "hello", "say"],
        &["-p", "hello", "-p", "say"],
        &["-p", "[ hello say ]", "if true then hello else bad"],
        &["-p"],
        &["-p", "bad"],
        &["-p", "nothing"],
        &["-p", "hello", "--argstr", "x", "1"],
    ] {
        same(&world, &[words, &run].concat());
    }
    let command = ["-p", "hello", "--run", "echo $name"];
    let path = world.variables.iter().position(|(name, _)| name == "NIX_PATH").unwrap();
    let mut without = world;
    without.variables[path].1 = String::new();
    same(&without, &command);
}

/// The shell is one of the packages, unless there is none.
#[test]
fn shells() {
    let Some(mut world) = world() else { return };
    let shell = world.variables.iter().position(|(name, _)| name == "NIX_BUILD_SHELL").unwrap();
    world.variables.remove(shell);
    same(&world, &["-p", "hello", "--run", "hello; echo $BASH"]).ok();
    same(&world, &["-A", "plain", "--pure", "--run", "echo ${PATH%:}"]);
    let path = world.variables.iter().position(|(name, _)| name == "NIX_PATH").unwrap();
    world.variables.remove(path);
    same(&world, &["-A", "plain", "--run", "echo $name"]).ok();
    world.variables.push(("NIX_BUILD_SHELL".to_owned(), "/nonexistent".to_owned()));
    let missing = run_in(&world, Side::Nival, "src", &["-A", "plain", "--run", "true"]);
    missing.fails("error: executing shell '/nonexistent': No such file or directory");
}

#[test]
fn scripts() {
    let Some(world) = world() else { return };
    let scripts = [
        "#! nix-shell -i say -p say\n",
        "#! nix-shell -i \"say -x 'y z'\" -p say\n",
        "# comment\n\n#!nix-shell -i say\n#! nix-shell -p say hello\necho\n#!   nix-shell --pure\n",
        "#! nix-shell -i ruby -p say\n",
        "#! nix-shell -i bash -p hello\nhello; echo \"$0\" \"$#\" \"$@\"; exit 9\n",
        "#! nix-shell -i bash -A plain\necho $name\n",
        "#! nix-shell shell.nix -A plain -i bash\necho $name; pwd | sed 's#.*/##'\n",
        "#! nix-shell -p h\\ello -i bash\nhello\n",
        "#! nix-shell -p '[' -i bash\n",
        "#! nix-shell -p hello --run 'echo run'\n",
        "#! nix-shell -p hello\n",
        "#! nix-shell --pure --keep FOO -p hello -i bash\necho \"[$FOO] [$LANG]\"\n",
        "#! nix-shell --nonsense\n",
        "  #! nix-shell -p hello\necho\n",
    ];
    for (number, lines) in scripts.into_iter().enumerate() {
        let script = world.write("src/a script", format!("#! /usr/bin/env nix-shell\n{lines}"));
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        for dir in ["src", "etc"] {
            let name = "../src/a script".to_owned();
            let outcome = same_in(&world, dir, &[&name, "it's", "", "--pure", "-v"]);
            assert!(number != 4 || outcome.status == 9, "{outcome:?}");
        }
    }
    world.write("src/plain", "nix-shell\n#! nix-shell -p hello -i bash\n");
    same(&world, &["plain"]);
}
