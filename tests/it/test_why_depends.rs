//! `nix why-depends` beside the reference.

use crate::common::{Side, World};

const PACKAGES: &str = r#"
let
  make = name: command: deps: derivation {
    inherit name deps;
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" command ];
  };
  text = "echo $deps > $out";
in rec {
  a = make "a" text "";
  b = make "b" text "${a}";
  c = make "c" text "${b} ${a}";
  link = make "link" "/bin/ln -s $deps/x $out" "${a}";
  tree = make "tree" ''
    /bin/mkdir -p $out/bin $out/lib
    echo $deps > $out/bin/x
    echo $deps $deps some more > $out/lib/y
    /bin/ln -s $out/lib/y $out/l
    for i in $deps; do /bin/ln -s $i $out/lnk; break; done
  '' "${a} ${b}";
  top = make "top" text "${c} ${tree} ${b} ${link}";
  other = make "other" text "";
}
"#;

#[test]
fn chains_of_references() {
    let Some(world) = World::with_reference() else { return };
    let file = world.write("src/packages.nix", PACKAGES);
    let built = |name: &str| {
        let words = ["--no-out-link", file.to_str().unwrap(), "-A", name];
        world.run(Side::Reference, "nix-build", &words).line()
    };
    let [a, b, tree, link, top, other] = ["a", "b", "tree", "link", "top", "other"].map(built);
    let drv = world.run(Side::Reference, "nix-store", &["-qd", &top]).line();
    let (out, other_drv) = (format!("{drv}^out"), format!("{drv}^*"));
    let gone = format!("{}/00000000000000000000000000000000-x", world.text("store"));
    for flags in [&[][..], &["-a"], &["--precise"], &["--precise", "--all"], &["--derivation"]] {
        for pair in [
            [&top, &a],
            [&top, &b],
            [&top, &tree],
            [&top, &top],
            [&top, &other],
            [&tree, &a],
            [&tree, &tree],
            [&link, &a],
            [&a, &top],
            [&out, &a],
            [&other_drv, &link],
        ] {
            let words: Vec<&str> =
                ["why-depends"].iter().chain(flags).copied().chain(pair.map(|p| p.as_str())).collect();
            let ours = world.run(Side::Nival, "nix", &words);
            let reference = world.run(Side::Reference, "nix", &words);
            assert_eq!((ours.status, ours.text()), (reference.status, reference.text()), "{words:?}");
            assert_eq!(ours.stderr, reference.stderr, "{words:?}");
        }
    }
    let failing: &[&[&str]] = &[&[&gone, &a], &[&top], &[&top, "/nope"], &[&top, &a, &b]];
    for words in failing {
        let words = [&["why-depends"][..], words].concat();
        let ours = world.run(Side::Nival, "nix", &words);
        let reference = world.run(Side::Reference, "nix", &words);
        assert_eq!((ours.status, ours.text()), (reference.status, reference.text()), "{words:?}");
    }
    // A dependency that is not valid is no dependency.
    let ours = world.run(Side::Nival, "nix", &["why-depends", &top, &gone]);
    assert_eq!((ours.ok().text(), ours.stderr.contains("does not depend on")), ("", true));
}
