//! `builtins.fetchTree` of archives and files, of commits on forges and of names that a registry knows,
//! beside the reference and from a real web server.

use std::process::Command;

use crate::common::{Side, World};
use crate::data;
use crate::servers::{LINKED, Nginx, Tunnel};
use crate::test_fetch_git::{as_the_reference, forget, message, tree, world};

const WRONG: &str = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Archives of several shapes, in which every entry has a time of its own, and a text.
fn fill(world: &World) {
    for (name, text) in [("a", "a\n"), ("d/b", "b\n")] {
        world.write(format!("src/top/{name}"), text);
    }
    std::os::unix::fs::symlink("a", world.path("src/top/l")).unwrap();
    let run = |program: &str, words: &[&str]| {
        let status = Command::new(program).args(words).current_dir(world.path("src")).status().unwrap();
        assert!(status.success(), "{program} {words:?}");
    };
    for (name, time) in [("top/a", 5), ("top/l", 6), ("top/d/b", 9), ("top/d", 20), ("top", 30)] {
        run("touch", &["-h", "-d", &format!("@{}", 1_000_000_000 + time), name]);
    }
    run("tar", &["-czf", "../web/x.tar.gz", "top"]);
    run("tar", &["--format=pax", "-C", "top", "-cf", "../web/flat.tar", "a", "d"]);
    run("tar", &["--format=v7", "-C", "top", "-cf", "../web/one.tar", "a"]);
    run("tar", &["-cJf", "../web/small.tar.xz", "top/a"]);
    run("python3", &["-c", ZIP, "../web/x.zip"]);
    world.write("web/plain.txt", "hello\n");
}

/// The times of these entries are those of the user's zone, which is UTC here.
const ZIP: &str = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as z:
    for name, hour in [('top/a', 1), ('top/d/b', 5), ('top/c', 3)]:
        z.writestr(zipfile.ZipInfo(name, (2001, 9, 9, hour, 46, 40)), 'x')
";

fn of_urls(urls: &[String]) -> Vec<String> {
    urls.iter().map(|url| format!("builtins.fetchTree \"{url}\"")).collect()
}

/// What the server was asked for, and what is forgotten then.
fn requests(world: &World, log: &str) -> Vec<String> {
    let path = world.path(log);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    // The server goes on at the end of the file.
    std::fs::write(&path, "").unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn archives_and_files() {
    let Some(mut world) = world() else { return };
    let Some(nginx) = Nginx::start(&world, "web") else { return };
    world.variables.push(("TZ".to_owned(), "UTC".to_owned()));
    fill(&world);
    let url = |name: &str| format!("{}/{name}", nginx.url);
    let file = |name: &str| format!("file://{}", world.text(format!("web/{name}")));
    let found = tree(&world, Side::Reference, "--impure", &of_urls(&[url("x.tar.gz")])[0]);
    let value: serde_json::Value = serde_json::from_str(found.text()).unwrap();
    let hash = value["narHash"].as_str().unwrap();
    let urls = [
        url("x.tar.gz"),
        url("x.tar.gz?a=b#f"),
        url("flat.tar"),
        url("one.tar"),
        url("small.tar.xz"),
        url("x.zip"),
        url("moved/x.tar.gz"),
        file("x.tar.gz"),
        format!("tarball+{}", url("x.tar.gz")),
        format!("file+{}", url("plain.txt")),
        format!("file+{}", url("x.tar.gz")),
        format!("file+{}", file("plain.txt")),
        format!("file+{}?lastModified=5&rev={LINKED}&revCount=3", url("plain.txt")),
        url(&format!("x.tar.gz?narHash={hash}")),
        url("x.tar.gz?lastModified=5"),
        url(&format!("x.tar.gz?rev={LINKED}&revCount=3")),
        url(&format!("x.tar.gz?narHash={WRONG}")),
        format!("file+{}", url(&format!("plain.txt?narHash={WRONG}"))),
        url("linked/x.tar.gz"),
        url("sent/x.tar.gz"),
        url("told/x.tar.gz"),
    ];
    let mut expressions = of_urls(&urls);
    for set in ["type = \"tarball\"; url = URL;", "type = \"file\"; url = URL;", "type = \"file\";"] {
        let set = set.replace("URL", &format!("\"{}\"", url("x.tar.gz")));
        expressions.push(format!("builtins.fetchTree {{ {set} }}"));
    }
    as_the_reference(&world, "--impure", &expressions);
    let locked = url(&format!("x.tar.gz?narHash={hash}"));
    as_the_reference(&world, "", &of_urls(&[locked, url("x.tar.gz")]));
    // Here the words are others.
    for bad in [url("plain.txt"), url("nope.tar"), file("nope.tar"), file("../web"), "file:x.tar".to_owned()]
    {
        let expression = format!("builtins.fetchTree \"{bad}\"");
        let [ours, theirs] =
            [Side::Nival, Side::Reference].map(|side| tree(&world, side, "--impure", &expression).status);
        assert_eq!((ours, theirs), (1, 1), "{bad}");
    }
}

/// A commit that a server tells of is not the one that was expected.
#[test]
fn another_commit_than_the_expected_one() {
    let Some(world) = world() else { return };
    let Some(nginx) = Nginx::start(&world, "web") else { return };
    fill(&world);
    for (parameter, name) in
        [("rev=aa866f85814ba2080d39e950fb3d8c966c5b522a", "rev"), ("revCount=3", "revCount")]
    {
        let expression = format!("builtins.fetchTree \"{}/linked/x.tar.gz?{parameter}\"", nginx.url);
        let [ours, theirs] = [Side::Nival, Side::Reference].map(|side| {
            forget(&world);
            tree(&world, side, "--impure", &expression)
        });
        for outcome in [&ours, &theirs] {
            assert_eq!(outcome.status, 1, "{}", outcome.stderr);
            assert!(outcome.stderr.contains(&format!("'{name}' attribute mismatch")), "{}", outcome.stderr);
        }
    }
}

/// What is locked and there is not asked for; what was fetched is not asked for again for a while, then
/// it is asked whether it is another; and what the store lost is fetched again.
#[test]
fn what_was_fetched_is_remembered() {
    let Some(world) = world() else { return };
    let Some(nginx) = Nginx::start(&world, "web") else { return };
    fill(&world);
    let of = |name: &str| format!("builtins.fetchTree \"{}/{name}\"", nginx.url);
    let run = |flags: &str, expression: &str| {
        let outcome = tree(&world, Side::Nival, &format!("--impure {flags}"), expression);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        (outcome.text().to_owned(), requests(&world, "access.log"))
    };
    let file = of("plain.txt").replace("http:", "file+http:");
    for expression in [of("linked/x.tar.gz"), file] {
        let (first, asked) = run("", &expression);
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert_eq!(run("", &expression), (first.clone(), Vec::new()));
        let (again, asked) = run("--option tarball-ttl 0", &expression);
        assert_eq!(again, first);
        assert!(asked.len() == 1 && asked[0].contains(" 304 "), "{asked:?}");
        data::forget_if_there(&world);
        let (again, asked) = run("", &expression);
        assert_eq!(again, first);
        assert!(asked.len() == 1 && asked[0].contains(" 200 "), "{asked:?}");
    }
    let (found, _) = run("", &of("x.tar.gz"));
    let value: serde_json::Value = serde_json::from_str(&found).unwrap();
    let hash = value["narHash"].as_str().unwrap();
    std::fs::remove_dir_all(world.path("home/.cache")).unwrap();
    let (locked, asked) = run("", &of(&format!("nowhere?narHash={hash}&lastModified=7")));
    assert!(asked.is_empty() && locked.contains("\"lastModified\":7"), "{asked:?}");
}

/// Files as the interfaces of the forges have them.
fn forges(world: &World) {
    let other = "aa866f85814ba2080d39e950fb3d8c966c5b522a";
    let answer = format!("{{\"sha\":\"{LINKED}\",\"commit\":{{\"tree\":{{\"sha\":\"{other}\"}}}}}}");
    for base in ["repos", "api/v3/repos"] {
        world.write(format!("web/{base}/o/r/commits/HEAD"), &answer);
        world.write(format!("web/{base}/o/r/commits/a/b"), &answer);
        world.write(format!("web/{base}/o/broken/commits/HEAD"), "{");
        copy(world, &format!("{base}/o/r/tarball/{LINKED}"));
    }
    copy(world, &format!("o/r/archive/{LINKED}.tar.gz"));
    world.write("web/api/v4/projects/o/r/repository/commits", format!("[{{\"id\":\"{LINKED}\"}}]"));
    world.write("web/api/v4/projects/o/none/repository/commits", "[]");
    copy(world, "api/v4/projects/o/r/repository/archive.tar.gz");
    world.write("web/~o/r/HEAD", "ref: refs/heads/main\n");
    let list = format!("{other}\trefs/tags/v1\n{LINKED}\trefs/heads/a/b\n{LINKED}\trefs/heads/main\n");
    world.write("web/~o/r/info/refs", list);
    for rev in [LINKED, other] {
        copy(world, &format!("~o/r/archive/{rev}.tar.gz"));
    }
}

fn copy(world: &World, name: &str) {
    let archive = std::fs::read(world.path("web/x.tar.gz")).unwrap();
    world.write(format!("web/{name}"), archive);
}

/// A world in which all machines of the web are one.
fn everywhere() -> Option<(World, Nginx)> {
    let mut world = world()?;
    let nginx = Nginx::start(&world, "web")?;
    fill(&world);
    forges(&world);
    let tunnel = Tunnel::to(&nginx.secure_url);
    world.variables.push(("https_proxy".to_owned(), tunnel.url));
    world.variables.push(("NIX_SSL_CERT_FILE".to_owned(), world.text("tls.crt")));
    Some((world, nginx))
}

#[test]
fn commits_on_forges() {
    let Some((world, _nginx)) = everywhere() else { return };
    let mut urls: Vec<String> = [
        "github:o/r",
        "github:o/r/a/b",
        "github:o/r/a%2Fb?host=forge.test",
        "github:o/r/nosuch",
        "gitlab:o/r",
        "gitlab:o/r/x/y?host=forge.test",
        "gitlab:o/none",
        "gitlab:o/missing",
        "sourcehut:~o/r",
        "sourcehut:~o/r/v1?host=forge.test",
        "sourcehut:~o/r/a/b",
        "sourcehut:~o/r/nosuch",
    ]
    .map(str::to_owned)
    .to_vec();
    for forge in ["github:o/r", "gitlab:o/r", "sourcehut:~o/r"] {
        urls.push(format!("{forge}/{LINKED}"));
        urls.push(format!("{forge}/{LINKED}?host=forge.test"));
    }
    as_the_reference(&world, "--impure --option download-attempts 1", &of_urls(&urls));
    as_the_reference(&world, "", &of_urls(&urls[urls.len() - 2..]));
    // The reference tells these two hashes the wrong way round.
    let other = format!("fetchTree \"github:o/r/{LINKED}?narHash={WRONG}\"");
    let other = tree(&world, Side::Nival, "--impure", &other);
    assert!(other.status == 102 && message(&other).contains(&format!("expected '{WRONG}' but got")));
    let broken = tree(&world, Side::Nival, "--impure", "fetchTree \"github:o/broken\"");
    assert!(message(&broken).contains("tells of no commit"), "{}", broken.stderr);
}

/// The same requests with the same tokens, each for the place that it is for.
#[test]
fn tokens_of_forges() {
    let Some((world, _nginx)) = everywhere() else { return };
    let setting = "access-tokens";
    let cases = [
        ("github:o/r", "github.com=a gitlab.com=PAT:b git.sr.ht=c"),
        ("gitlab:o/r", "github.com=a gitlab.com=PAT:b git.sr.ht=c"),
        ("gitlab:o/r", "gitlab.com/o=OAuth2:b gitlab.com=PAT:c"),
        ("sourcehut:~o/r", "github.com=a gitlab.com=PAT:b git.sr.ht=c"),
        ("github:o/r?host=forge.test", "forge.test=a forge.test/o=b forge.test/o/r=c forge.test/o/rr=d"),
        ("github:o/r?host=forge.test", "forge.test/oo=b github.com=c"),
    ];
    for (url, tokens) in cases {
        let [ours, theirs] = [Side::Nival, Side::Reference].map(|side| {
            forget(&world);
            let flags = format!("--impure --option {setting} ⟦{tokens}⟧");
            let outcome = tree(&world, side, &flags, &format!("fetchTree \"{url}\""));
            assert_eq!(outcome.status, 0, "{}", outcome.stderr);
            requests(&world, "heads.log")
        });
        assert_eq!(ours, theirs, "{url} {tokens}");
        assert!(!ours.is_empty());
    }
    // A token of a kind that is not known is not sent, and not shown.
    forget(&world);
    let flags = format!("--impure --option {setting} gitlab.com=secret");
    let outcome = tree(&world, Side::Nival, &flags, "fetchTree \"gitlab:o/r\"");
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("'OAuth2:' or 'PAT:'") && !outcome.stderr.contains("secret"));
    assert!(requests(&world, "heads.log").iter().all(|line| line.ends_with("[-] [-]")));
}

/// What a forge answered and a commit's archive are remembered.
#[test]
fn commits_are_remembered() {
    let Some((world, _nginx)) = everywhere() else { return };
    let run = |flags: &str| {
        let outcome = tree(&world, Side::Nival, &format!("--impure {flags}"), "fetchTree \"github:o/r/a/b\"");
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        requests(&world, "heads.log").len()
    };
    assert_eq!((run(""), run("")), (2, 0));
    // The branch may be another, and a commit never is.
    assert_eq!(run("--option tarball-ttl 0"), 1);
}

#[test]
fn names_of_registries() {
    let Some(world) = world() else { return };
    let place = world.text("d");
    world.write("d/f", "x\n");
    let path = format!("{{\"type\":\"path\",\"path\":\"{place}\",\"lastModified\":5}}");
    let entry = |from: &str, to: &str, more: &str| {
        format!("{{\"from\":{{\"type\":\"indirect\",{from}}},\"to\":{to}{more}}}")
    };
    let name = |id: &str| format!("{{\"type\":\"indirect\",\"id\":\"{id}\"}}");
    let entries = [
        entry("\"id\":\"a\"", &path, ""),
        entry("\"id\":\"a\"", &name("nosuch"), ""),
        entry("\"id\":\"chain\"", &name("a"), ""),
        entry("\"id\":\"loop\"", &name("loop2"), ""),
        entry("\"id\":\"loop2\"", &name("loop"), ""),
        entry("\"id\":\"ex\"", &path, ",\"exact\":true"),
        entry("\"id\":\"v\",\"ref\":\"x\"", &path, ""),
        entry("\"id\":\"gh\"", "{\"type\":\"github\",\"owner\":\"o\",\"repo\":\"r\"}", ""),
    ];
    let text = format!("{{\"flakes\":[{}],\"version\":2}}", entries.join(","));
    world.write("registry.json", text);
    let names = [
        "a",
        "chain",
        "loop",
        "ex",
        "ex/v1",
        "v",
        "v/x",
        "v/y",
        "a/x",
        "nosuch",
        &format!("a/{LINKED}"),
        &format!("gh/x/{LINKED}"),
    ]
    .map(|name| format!("flake:{name}"));
    let setting = "flake-registry";
    let flags = format!("--option {setting} {}", world.text("registry.json"));
    as_the_reference(&world, &format!("--impure {flags}"), &of_urls(&names));
    as_the_reference(&world, &flags, &of_urls(&names[..1]));
    let set = format!("builtins.fetchTree {{ type = \"indirect\"; id = \"a\"; narHash = \"{WRONG}\"; }}");
    as_the_reference(&world, &flags, &[set]);
    as_the_reference(&world, &format!("--impure --option {setting} ⟦⟧"), &of_urls(&names[..1]));
    for bad in ["{", "[]", "{\"version\":3,\"flakes\":[]}", "{\"version\":2,\"flakes\":[{}]}"] {
        world.write("registry.json", bad);
        as_the_reference(&world, &format!("--impure {flags}"), &of_urls(&names[..1]));
    }
}
