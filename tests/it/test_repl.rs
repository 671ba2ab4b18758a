//! `nix repl`: a conversation through a pipe beside the reference, and one on a terminal.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::common::{Side, World, skip_missing};

/// A text without the sequences that set colours.
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest)));
    plain
}

/// What both say when they are asked the same through a pipe: answers and errors.
fn as_the_reference(args: &[&str], lines: &[&str]) {
    let Some(world) = World::with_reference() else { return };
    world.write("f.nix", "{ a = 1; s = \"${toString ./f.nix}\"; }\n");
    world.write("g.nix", "{ x ? 3 }: { b = x; }\n");
    let input = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let [ours, theirs] = [Side::Nival, Side::Reference].map(|side| {
        let outcome = world.run_with_input(side, "nix", &[&["repl"], args].concat(), input.as_bytes());
        // Each says at the beginning who it is.
        let errors = plain(&outcome.stderr);
        let greetings = ["Nix ", "Nival,", "Type :?"];
        let errors = errors.lines().filter(|line| !greetings.iter().any(|start| line.starts_with(start)));
        let errors: Vec<String> = errors.filter(|line| !line.is_empty()).map(str::to_owned).collect();
        (outcome.status, plain(outcome.text()), errors)
    });
    assert_eq!(ours.1, theirs.1, "{lines:#?}");
    assert_eq!(ours, theirs, "{lines:#?}");
}

#[test]
fn values_are_printed_as_the_reference_prints_them() {
    as_the_reference(
        &[],
        &[
            "1+1",
            "\"a\\nb\"",
            "[ 1 2 3 ]",
            "[ 1 { a = 1; } ]",
            "[ ]",
            "{ }",
            "map",
            "map (x: x)",
            "x: x",
            "null",
            "1.5",
            // What is longer than a row, the reference scrolls.
            "{ a = { b = 1; }; l = [ 1 [ 2 ] ]; f = x: x; n = null; }",
            ":p { a = 1; b = { c = 2; d = { e = 1; }; }; f = x: x; }",
            ":p { l = [ 1 [ 2 [ 3 ] ] ]; s = \"a\\nb\"; }",
            ":p \"a\\nb\"",
            ":p [ [ [ 3 ] ] ]",
            ":p [ (x: x) ]",
            ":p let x = { a = x; }; in x",
            "derivation { name = \"x\"; system = \"s\"; builder = \"b\"; }",
            ":t 1",
            ":t map",
            ":t \"a\"",
            "# nothing",
            "3 # a number",
        ],
    );
}

#[test]
fn variables_and_files_as_in_the_reference() {
    as_the_reference(
        &[],
        &[
            "x = 5",
            "x",
            "y = x + 1",
            "y",
            "x = 7",
            "x",
            "y",
            ":a { q = 1; w = 2; }",
            "q + w",
            ":l f.nix",
            "a",
            ":l g.nix",
            "b",
            ":r",
            "a",
            "z = 1; u = 2",
            "u",
            ":ll",
            // A file that is loaded again is read once by :r.
            ":l f.nix",
            ":r",
            ":q",
            "never",
        ],
    );
    as_the_reference(&["--file", "f.nix"], &["a", "s == toString ./f.nix"]);
    as_the_reference(&["--expr", "{ k = 4; }"], &["k", ":r", "k"]);
    as_the_reference(&["--expr", "{ x = { a = 1; }; y = { b = 2; }; }", "x", "y"], &["a + b", ":r", "b"]);
    // The lines are words, and then there is nothing more to read.
    as_the_reference(&["--expr", "{ x = { a = 1; }; y = { b = 2; }; }", "--stdin"], &["x y"]);
    as_the_reference(&["--expr", "{ }", "--stdin"], &[""]);
    as_the_reference(&["--expr", "{ x = { }; }", "x", "z"], &["1"]);
}

#[test]
fn errors_end_nothing() {
    as_the_reference(
        &[],
        &[
            "throw \"gone\"",
            "1",
            "nobody",
            ":a 1",
            ":l nosuch.nix",
            ":r",
            ":ll",
            ":l",
            "1 ++ 2",
            "let x = 1; in",
            "x",
            "2",
            "assert false; 1",
            ":te",
            ":te false",
            "3",
        ],
    );
}

#[test]
fn a_file_gets_no_colours_but_those_of_texts() {
    let world = World::new();
    let input = "text = builtins.fromJSON ''\"\\u001b[31mred\"''\n{ inherit text; number = 1; }\n:p text\n";
    let outcome = world.run_with_input(Side::Nival, "nix", &["repl"], input.as_bytes());
    let text = outcome.ok().text();
    assert!(text.contains("{\n  number = 1;\n  text = \"\u{1b}[31mred\";\n}\n"), "{text:?}");
    assert!(text.contains("\n\u{1b}[31mred\n"), "{text:?}");
    assert_eq!(text.matches('\u{1b}').count(), 2, "{text:?}");
}

/// A program on a terminal, to which somebody types.
struct Conversation {
    child: Child,
    said: Receiver<Vec<u8>>,
    heard: String,
}

impl Conversation {
    /// Begins `nix repl`; `None` where there is no `script` that makes a terminal.
    fn new(world: &World) -> Option<Self> {
        let program = world.programs(Side::Nival).join("nix");
        let nix = world.command(Side::Nival, "nix");
        let environment =
            nix.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        // A shell that waits would give the status of a program that was interrupted.
        let line = format!("exec '{}' --extra-experimental-features nix-command repl", program.display());
        let mut script = Command::new("script");
        script.env_clear().envs(environment).env("TERM", "xterm").env("SHELL", "/bin/sh");
        script.args(["-qec", &line, "/dev/null"]).current_dir(world.path("."));
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut child) = script.spawn() else {
            skip_missing("script is not installed");
            return None;
        };
        let mut stdout = child.stdout.take()?;
        let (sender, said) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let mut conversation = Self { child, said, heard: String::new() };
        conversation.hear("nix-repl> ");
        Some(conversation)
    }

    fn type_in(&mut self, keys: &str) {
        self.heard.clear();
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Types a line in, and waits for what it says and that it asks for the next:
    /// keys are lost between the two.
    fn ask(&mut self, line: &str, answer: &str) {
        self.type_in(&format!("{line}\r"));
        self.hear(if answer.is_empty() { "\n" } else { answer });
        self.hear("nix-repl> ");
    }

    /// Waits until the terminal shows a text, after what was waited for before.
    fn hear(&mut self, text: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        let at = loop {
            if let Some(at) = self.heard.find(text) {
                break at;
            }
            let left = end.saturating_duration_since(Instant::now());
            let said = self.said.recv_timeout(left);
            let said = said.unwrap_or_else(|_| panic!("no '{text}' in {:?}", self.heard));
            self.heard.push_str(&String::from_utf8_lossy(&said));
        };
        self.heard.drain(..at + text.len());
    }

    /// Waits for the end.
    fn end(mut self) -> bool {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(Instant::now() < end, "it does not end; it said {:?}", self.heard);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

#[test]
fn lines_are_edited_completed_and_remembered() {
    let world = World::new();
    let Some(mut talk) = Conversation::new(&world) else { return };
    talk.ask("40 + 3\u{7f}2", "42");
    talk.ask("longName = { first = 17; }", "");
    // Tab completes a variable and an attribute.
    talk.ask("longN\t.fir\t", "17");
    // An expression that is not complete goes on in the next line.
    talk.type_in("1000 +\r");
    talk.hear("        > ");
    talk.ask("1", "1001");
    talk.type_in(":q\r");
    assert!(talk.end());
    // The next conversation remembers: so many lines up is the sum.
    let Some(mut talk) = Conversation::new(&world) else { return };
    talk.ask("\u{1b}[A\u{1b}[A\u{1b}[A\u{1b}[A\u{1b}[A", "42");
    talk.type_in("\u{4}");
    assert!(talk.end());
}

#[test]
fn an_interrupt_ends_one_evaluation_only() {
    let world = World::new();
    let Some(mut talk) = Conversation::new(&world) else { return };
    talk.ask("n = 5", "");
    talk.ask("f = let g = x: if x == 0 then n else g (x - 1); in g", "");
    talk.ask("sum = builtins.foldl' (a: b: a + f 900) 0 (builtins.genList (x: x) 1000000)", "");
    talk.ask("slow = builtins.trace ''under${\" \"}way'' sum", "");
    talk.type_in("slow\r");
    talk.hear("trace: under way");
    talk.type_in("\u{3}");
    talk.hear("interrupted");
    talk.hear("nix-repl> ");
    // A program that does not heed a signal is ended a moment after it; this one heeded it.
    std::thread::sleep(Duration::from_secs(1));
    talk.ask("f 3 + 37", "42");
    talk.type_in(":q\r");
    assert!(talk.end());
}
