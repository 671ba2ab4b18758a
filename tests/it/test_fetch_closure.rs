//! `builtins.fetchClosure` beside the reference, from a binary cache on a real web server.

use crate::common::{Side, World};
use crate::data;
use crate::servers::Nginx;
use crate::test_eval::words;
use crate::test_fetch_git::message;

/// A world with a binary cache, and a path that is named by its contents, one that is not, and the name
/// that this would get.
struct Cache {
    world: World,
    url: String,
    by_contents: String,
    by_inputs: String,
    renamed: String,
    _server: Nginx,
}

impl Cache {
    fn new() -> Option<Self> {
        let mut world = World::with_reference()?;
        let server = Nginx::start(&world, "web")?;
        let features = "experimental-features = nix-command flakes fetch-tree fetch-closure";
        world.variables.push(("NIX_CONFIG".to_owned(), features.to_owned()));
        let paths = data::sample(&world);
        let named = |end: &str| paths.iter().find(|path| path.ends_with(end)).unwrap().clone();
        let (by_contents, by_inputs) = (named("-tree"), named("-sample-2"));
        let run = |arguments: &[&str]| {
            let outcome = world.run(Side::Reference, "nix", arguments);
            assert_eq!(outcome.status, 0, "{}", outcome.stderr);
            outcome
        };
        let to = format!("file://{}", world.text("web"));
        run(&["copy", "--no-check-sigs", "--to", &to, &by_contents, &by_inputs]);
        let made = run(&["store", "make-content-addressed", "--json", &by_inputs]);
        let made: serde_json::Value = serde_json::from_str(made.text().trim()).unwrap();
        let renamed = made["rewrites"][&by_inputs].as_str().unwrap().to_owned();
        data::forget_if_there(&world);
        let url = server.url.clone();
        Some(Self { world, url, by_contents, by_inputs, renamed, _server: server })
    }

    fn run(&self, side: Side, flags: &str, set: &str) -> crate::common::Outcome {
        let set = set
            .replace("URL", &format!("\"{}\"", self.url))
            .replace("CONTENTS", &self.by_contents)
            .replace("INPUTS", &self.by_inputs)
            .replace("RENAMED", &self.renamed);
        let mut arguments = words(&format!("eval --json {flags} --expr"));
        arguments.push(format!("builtins.fetchClosure {{ {set} }}"));
        self.world.run(side, "nix", &arguments)
    }

    /// Both do the same, and say it in the same words, as far as these are few.
    #[track_caller]
    fn same(&self, flags: &str, set: &str) {
        let [ours, theirs] = [Side::Nival, Side::Reference].map(|side| {
            data::forget_if_there(&self.world);
            self.run(side, flags, set)
        });
        let (told, wanted) = (&ours.stderr, &theirs.stderr);
        assert_eq!((ours.text(), ours.status), (theirs.text(), theirs.status), "{set}: {told} / {wanted}");
        assert_eq!(message(&ours), message(&theirs), "{set}");
    }
}

#[test]
fn paths_of_a_cache() {
    let Some(cache) = Cache::new() else { return };
    for set in [
        "fromStore = URL; fromPath = CONTENTS;",
        "fromStore = URL; fromPath = \"CONTENTS\"; inputAddressed = false;",
        "fromStore = URL; fromPath = CONTENTS; toPath = CONTENTS;",
        "fromStore = URL; fromPath = INPUTS; toPath = RENAMED;",
        "fromStore = URL; fromPath = INPUTS; toPath = \"\";",
        "fromStore = URL; fromPath = INPUTS; toPath = CONTENTS;",
        "fromStore = URL; fromPath = CONTENTS; inputAddressed = true;",
        "fromStore = URL; fromPath = INPUTS; toPath = RENAMED; inputAddressed = true;",
        "fromStore = \"file:///x\"; fromPath = CONTENTS;",
        "fromStore = URL + \"?x=y\"; fromPath = CONTENTS;",
        "fromStore = 1; fromPath = CONTENTS;",
        "fromStore = URL; fromPath = \"/nosuch\";",
        "fromStore = URL; fromPath = \"CONTENTS/x\";",
        "fromStore = URL; fromPath = 1;",
        "fromStore = URL; fromPath = CONTENTS; inputAddressed = 1;",
        "fromStore = URL; fromPath = CONTENTS; nosuch = 1;",
        "fromStore = URL;",
        "fromPath = CONTENTS;",
    ] {
        cache.same("--impure", set);
    }
    cache.same("", "fromStore = URL; fromPath = \"CONTENTS\";");
}

/// A path that is not named by its contents needs a signature, and has to be said to be one.
#[test]
fn paths_that_need_a_signature() {
    let Some(cache) = Cache::new() else { return };
    let sets =
        ["fromStore = URL; fromPath = INPUTS;", "fromStore = URL; fromPath = INPUTS; inputAddressed = true;"];
    for set in sets {
        let outcome = cache.run(Side::Nival, "--impure", set);
        assert!(outcome.status == 1 && message(&outcome).contains("signature"), "{}", outcome.stderr);
    }
    let flags = "--impure --option require-sigs false";
    let outcome = cache.run(Side::Nival, flags, sets[0]);
    assert!(message(&outcome).contains("is input-addressed, but 'inputAddressed' is set to 'false'"));
    let outcome = cache.run(Side::Nival, flags, sets[1]);
    assert_eq!((outcome.status, outcome.text().trim()), (0, format!("\"{}\"", cache.by_inputs).as_str()));
    // What is there needs no cache.
    let outcome = cache.run(Side::Nival, flags, &sets[1].replace("URL", "\"http://127.0.0.1:1\""));
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}
