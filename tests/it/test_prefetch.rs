//! `nix-prefetch-url` and `nix store prefetch-file` beside the reference, from a
//! real web server.

use std::process::Command;

use crate::common::{Side, World};
use crate::servers::Nginx;

/// Files for a server: a text, and archives of several shapes.
fn fill(world: &World) {
    world.write("web/a b.txt", "hello\n");
    world.write("src/pkg/f", "x\n");
    world.write("src/pkg/sub/g", "y\n");
    std::fs::set_permissions(world.path("src/pkg/f"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    std::os::unix::fs::symlink("f", world.path("src/pkg/l")).unwrap();
    std::fs::create_dir(world.path("src/pkg/empty")).unwrap();
    let (src, web) = (world.text("src"), world.text("web"));
    let run = |program: &str, words: &[&str]| {
        let status = Command::new(program).args(words).current_dir(world.path("src/pkg")).status().unwrap();
        assert!(status.success(), "{program} {words:?}");
    };
    run("tar", &["-C", &src, "-czf", &format!("{web}/p.tar.gz"), "pkg"]);
    run("tar", &["-cJf", &format!("{web}/many.tar.xz"), "."]);
    run("tar", &["-cf", &format!("{web}/two.tar"), "f", "l"]);
    run("tar", &["--format=v7", "-cf", &format!("{web}/one.tar"), "f"]);
    run("tar", &["-cf", &format!("{web}/empty.tar"), "empty"]);
    run("python3", &["-c", ZIP, &format!("{web}/p.zip")]);
}

const ZIP: &str = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:
    for name, mode, text in [('pkg/f', 0o100755, 'x'), ('pkg/sub/g', 0o100644, 'y' * 5000), ('pkg/l', 0o120777, 'f')]:
        i = zipfile.ZipInfo(name); i.external_attr = mode << 16; i.create_system = 3
        z.writestr(i, text)
";

#[test]
fn files_and_archives() {
    let Some(mut world) = World::with_reference() else { return };
    let Some(nginx) = Nginx::start(&world, "web") else { return };
    fill(&world);
    let tmp = world.text("tmp");
    std::fs::create_dir(&tmp).unwrap();
    world.variables.push(("TMPDIR".to_owned(), tmp.clone()));
    let url = |name: &str| format!("{}/{name}", nginx.url);
    let text = url("a%20b.txt?x=1");
    let file = format!("file://{}", world.text("web/a%20b.txt"));
    let good = "00xyyr3fi8l6hb839bv3f7yb86yjv7xi1cgh1xnhipym4asvb4aq";
    let wrong = "0".repeat(52);
    let archives = ["p.tar.gz", "many.tar.xz", "two.tar", "one.tar", "empty.tar", "p.zip"].map(url);
    let [missing, top, dead] = [url("nope"), url(""), "http://127.0.0.1:1/a".to_owned()];
    let mut cases: Vec<Vec<&str>> = vec![
        vec!["--name", "t", &text],
        vec!["--name", "t", "--type", "md5", &text],
        vec!["--name", "t", "--type", "sha512", "--print-path", &text],
        vec!["--name", "t", "--executable", "--print-path", &text],
        vec!["--name", "t", "--print-path", &file],
        vec!["--name", "t", "--print-path", &text, good],
        vec!["--name", "t", &text, &wrong],
        vec!["--name", "t", &text, "abc"],
        // What is there already is not asked for.
        vec!["--name", "t", "--print-path", &dead, good],
        vec![&text],
        vec![&missing],
        vec![&top],
        vec!["--unpack", "--name", "t", &text],
        vec!["web/x"],
        vec!["foo://x/y"],
        vec![],
        vec!["a", "b", "c"],
        vec!["--bogus"],
    ];
    cases.extend(archives.iter().map(|archive| vec!["--unpack", "--print-path", archive]));
    for case in &cases {
        let ours = world.run(Side::Nival, "nix-prefetch-url", case);
        let reference = world.run(Side::Reference, "nix-prefetch-url", case);
        assert_eq!(
            (ours.status, ours.text()),
            (reference.status, reference.text()),
            "{case:?} {}",
            ours.stderr
        );
    }
    let sri = "sha256-WJG0tSLV3whtD/CxEPvZ0hu0/HFjrzTQgoai6Eb2vgM=";
    let bad = format!("sha256-{}=", "A".repeat(43));
    let mut cases: Vec<Vec<&str>> = vec![
        vec!["--name", "t", &text],
        vec!["--json", "--name", "t", &text],
        vec!["--json", "--name", "q", "--hash-type", "sha512", &text],
        vec!["--json", "--name", "q", "--executable", &text],
        vec!["--json", "--name", "t", "--expected-hash", sri, &dead],
        vec!["--json", "--name", "t", "--expected-hash", &bad, &text],
        vec![&missing],
        vec![],
    ];
    cases.extend(archives.iter().map(|archive| vec!["--unpack", "--json", archive]));
    for case in &cases {
        let words = [&["store", "prefetch-file"][..], case].concat();
        let ours = world.run(Side::Nival, "nix", &words);
        let reference = world.run(Side::Reference, "nix", &words);
        assert_eq!(
            (ours.status, ours.text()),
            (reference.status, reference.text()),
            "{case:?} {}",
            ours.stderr
        );
        if ours.status == 0 {
            assert_eq!(ours.stderr, reference.stderr, "{case:?}");
        }
    }
    world.variables.push(("PRINT_PATH".to_owned(), "1".to_owned()));
    let printed = world.run(Side::Nival, "nix-prefetch-url", &["--name", "t", &text]);
    assert_eq!(printed.ok().lines().len(), 2);
    assert!(world.run(Side::Nival, "nix-store", &["--verify", "--check-contents"]).status == 0);
    let left: Vec<_> = std::fs::read_dir(&tmp).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("nival-")), "{left:?}");
}

/// `--attr` and `mirror://`.
#[test]
fn sources_of_expressions() {
    let Some(mut world) = World::with_reference() else { return };
    let Some(nginx) = Nginx::start(&world, "web") else { return };
    fill(&world);
    let (url, list) = (&nginx.url, "pkgs/build-support/fetchurl/mirrors.nix");
    world.write(
        format!("nixpkgs/{list}"),
        format!("{{ here = [ \"{url}\" \"x\" ]; slash = [ \"{url}/\" ]; none = [ ]; }}"),
    );
    world.write(
        "default.nix",
        format!(
            "{{ n ? \"one.tar\" }}: {{
               flat = {{ urls = [ \"{url}/p.tar.gz\" \"x\" ]; outputHashMode = \"flat\"; name = \"other\"; }};
               tree = {{ urls = [ \"{url}/p.tar.gz\" ]; outputHashMode = \"recursive\"; name = \"x\"; }};
               deep.called = {{ k ? n }}: {{ urls = [ \"{url}/${{k}}\" ]; outputHashMode = \"flat\"; name = \"x\"; }};
               mirrored = {{ urls = [ \"mirror://here/p.zip\" ]; outputHashMode = \"recursive\"; name = \"x\"; }};
               none = {{ urls = [ ]; outputHashMode = \"flat\"; }}; lone = {{ url = \"{url}/two.tar\"; }}; number = 1;
             }}"
        ),
    );
    world.write(
        "src/other.nix",
        format!("{{ a = {{ urls = [ \"{url}/two.tar\" ]; outputHashMode = \"flat\"; name = \"x\"; }}; }}"),
    );
    world.variables.push(("NIX_PATH".to_owned(), format!("nixpkgs={}", world.text("nixpkgs"))));
    let hash = world.nival("nix-prefetch-url", &["-A", "flat"]).line();
    let cases: &[&[&str]] = &[
        &["-A", "flat"],
        &["-A", "tree"],
        &["-A", "tree", "default.nix"],
        &["-A", "flat", "default.nix", &hash],
        &["-A", "flat", "default.nix", &"0".repeat(52)],
        &["-A", "a", "src/other.nix"],
        &["-A", "flat", "--type", "sha512", "--name", "t"],
        &["-A", "deep.called"],
        &["-A", "deep.called", "--argstr", "n", "two.tar"],
        &["-A", "mirrored"],
        &["-A", "none"],
        &["-A", "lone"],
        &["-A", "number"],
        &["-A", "missing"],
        &["-A", "flat", "default.nix", &hash, "x"],
        &["-A", "flat", "nowhere.nix"],
        &["mirror://here/p.tar.gz"],
        &["mirror://slash/p.tar.gz", &hash],
        &["mirror://none/x"],
        &["mirror://nobody/x"],
        &["mirror://here"],
    ];
    for case in cases {
        let words = [case, &["--print-path"][..]].concat();
        let [ours, reference] =
            [Side::Nival, Side::Reference].map(|side| world.run(side, "nix-prefetch-url", &words));
        let seen = |outcome: &crate::common::Outcome| (outcome.status, outcome.text().to_owned());
        assert_eq!(seen(&ours), seen(&reference), "{case:?} {} {}", ours.stderr, reference.stderr);
    }
    // Of one that does not say how it is hashed or what it is called, where the reference ends by a signal.
    world.write("src/odd.nix", format!("{{ a.urls = [ \"{url}/two.tar\" ]; }}"));
    let odd = world.nival("nix-prefetch-url", &["-A", "a", "src/odd.nix"]);
    assert!(odd.ok().stderr.contains("does not look like a fetchurl call"), "{}", odd.stderr);
}
