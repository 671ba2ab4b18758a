//! Builtins that touch paths, contexts and derivations, in a world in memory. The
//! paths were made by the reference.

use super::super::shared::Settings;
use super::super::tests::{Memory, evaluate_in, evaluate_with};

const DEMO: &str = r#"
    derivation {
      name = "demo-1.0";
      system = "x86_64-linux";
      builder = "/bin/sh";
      args = [ "-c" "echo hi > $out" ];
    }
"#;
const HELLO: &str = r#"builtins.toFile "hello.txt" "hello\n""#;
const HEX: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

fn text_of(world: &Memory, path: &str) -> String {
    let texts = world.texts.lock().unwrap();
    let (text, _) = texts.get(path.as_bytes()).unwrap();
    String::from_utf8(text.clone()).unwrap()
}

#[test]
fn paths_of_texts_and_derivations() {
    let multi = format!(
        r#"derivation {{ name = "multi"; system = "x86_64-linux"; builder = "/bin/sh"; outputs = [ "out" "dev" ];
           input = {DEMO}; src = {HELLO}; }}"#
    );
    let fixed = |name: &str, more: &str| {
        format!(
            r#"(derivation {{ name = "{name}"; system = "s"; builder = "b"; outputHash = "{HEX}";
               outputHashAlgo = "sha256"; {more} }}).outPath"#
        )
    };
    for (text, path) in [
        (HELLO.to_owned(), "qa1w9gdfrba6jl2r57mb3c43863gqywp-hello.txt"),
        (
            format!("builtins.toFile \"ref.txt\" \"see ${{{HELLO}}}\\n\""),
            "3cmrvzmwi8kl03zzg5i25crdy3pjz95w-ref.txt",
        ),
        (format!("({DEMO}).drvPath"), "iyj3kf10rjifv3rg403vzmkplvpzzs4f-demo-1.0.drv"),
        (format!("({DEMO}).outPath"), "3gkfzq7ndvzsdfsv0v5m3bmf9xc8pfrs-demo-1.0"),
        (format!("({multi}).outPath"), "7j8cdxxh21ffdr6zn864ckngj05aiam9-multi"),
        (format!("({multi}).dev.outPath"), "c1hwz3q922jya80ksn6z2qqrqb85srh6-multi-dev"),
        (fixed("fo.txt", ""), "i5nb1ysrw1jnikl1gqbc3qr13hn64fk7-fo.txt"),
        (fixed("fr", "outputHashMode = \"recursive\";"), "sbwvvfdz6b8j86ql982indq011fljspb-fr"),
    ] {
        let expected = format!("\"/nix/store/{path}\"");
        assert_eq!(evaluate_in(&Memory::default(), &text), Ok(expected), "{text}");
    }
}

#[test]
fn structured_attributes_are_json() {
    let world = Memory::default();
    let text = r#"(derivation { name = "x"; system = "s"; builder = "b"; __structuredAttrs = true; args = [ "a" ];
        __ignoreNulls = true; gone = null; list = [ 1 1.5 "q\n" true null ]; set = { z = 1; a = 2; }; }).drvPath"#;
    let path = evaluate_in(&world, text).unwrap();
    let json = concat!(
        r#"("__json","{\"builder\":\"b\",\"list\":[1,1.5,\"q\\n\",true,null],\"name\":\"x\","#,
        r#"\"set\":{\"a\":2,\"z\":1},\"system\":\"s\"}")"#
    );
    let text = text_of(&world, path.trim_matches('"'));
    assert!(text.contains(json), "{text}");
}

#[test]
fn outputs_known_once_they_are_built() {
    let world = Memory::default();
    let settings = Settings { features: vec!["ca-derivations".to_owned()], ..Settings::default() };
    let text = r#"
        let floating = derivation { name = "f"; system = "s"; builder = "b"; __contentAddressed = true; };
        in [ floating.drvPath (derivation { name = "u"; system = "s"; builder = "b"; f = floating; }).drvPath ]
    "#;
    let paths = evaluate_with(settings, &world, text).unwrap();
    let mut paths = paths.split('"').filter(|path| path.starts_with('/'));
    let floating = text_of(&world, paths.next().unwrap());
    assert!(floating.contains(r#"[("out","","r:sha256","")]"#), "{floating}");
    assert!(floating.contains("/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"), "{floating}");
    let user = text_of(&world, paths.next().unwrap());
    assert!(user.contains(r#"[("out","","","")]"#) && user.contains(r#"("out","")"#), "{user}");
}

#[test]
fn everything_behind_the_file_of_a_derivation() {
    let world = Memory::default();
    let text = format!(
        r#"(derivation {{ name = "x"; system = "s"; builder = "b"; q = ({DEMO}).drvPath; }}).drvPath"#
    );
    let path = evaluate_in(&world, &text).unwrap();
    let text = text_of(&world, path.trim_matches('"'));
    let demo = "/nix/store/iyj3kf10rjifv3rg403vzmkplvpzzs4f-demo-1.0.drv";
    assert!(text.contains(&format!(r#"[("{demo}",["out"])],["{demo}"]"#)), "{text}");
}

#[test]
fn derivations_that_are_refused() {
    for (attributes, message) in [
        ("builder = \"b\"; system = \"s\";", "attribute 'name' missing"),
        ("name = \"x\"; system = \"s\";", "required attribute 'builder' missing"),
        ("name = \"x\"; builder = \"b\";", "required attribute 'system' missing"),
        (
            "name = \"a b\";",
            "invalid derivation name: name 'a b' contains illegal character ' '. Please pass a different 'name'.",
        ),
        ("name = \"x\"; outputs = [ \"a\" \"a\" ];", "duplicate derivation output 'a'"),
        ("name = \"x\"; outputs = \"drvPath\";", "invalid derivation output name 'drvPath'"),
        ("name = \"x\"; outputs = \"\";", "derivation cannot have an empty set of outputs"),
        ("name = \"x\"; outputHashMode = \"bogus\";", "invalid value 'bogus' for 'outputHashMode' attribute"),
    ] {
        let text = format!("builtins.derivationStrict {{ {attributes} }}");
        assert_eq!(evaluate_in(&Memory::default(), &text), Err(message.to_owned()), "{text}");
    }
}

#[test]
fn contexts() {
    let drv = "/nix/store/iyj3kf10rjifv3rg403vzmkplvpzzs4f-demo-1.0.drv";
    for (text, expected) in [
        (
            format!("builtins.getContext (({DEMO}).drvPath)"),
            format!("{{ \"{drv}\" = {{ allOutputs = true; }}; }}"),
        ),
        (
            format!("builtins.getContext \"${{{DEMO}}}\""),
            format!("{{ \"{drv}\" = {{ outputs = [ \"out\" ]; }}; }}"),
        ),
        (
            format!("builtins.getContext (builtins.unsafeDiscardOutputDependency (({DEMO}).drvPath))"),
            format!("{{ \"{drv}\" = {{ path = true; }}; }}"),
        ),
        (
            format!("builtins.hasContext (builtins.unsafeDiscardStringContext \"${{{DEMO}}}\")"),
            "false".to_owned(),
        ),
        (
            format!(
                "builtins.getContext (builtins.appendContext \"\" {{ \"{drv}\".outputs = [ \"b\" \"a\" ]; }})"
            ),
            format!("{{ \"{drv}\" = {{ outputs = [ \"a\" \"b\" ]; }}; }}"),
        ),
        (
            format!("builtins.attrNames (import (({DEMO}).drvPath))"),
            r#"[ "all" "drvPath" "name" "out" "outPath" "outputName" "type" ]"#.to_owned(),
        ),
    ] {
        assert_eq!(evaluate_in(&Memory::default(), &text), Ok(expected), "{text}");
    }
}

#[test]
fn files_and_search_paths() {
    let mut world = Memory::default();
    world.files.insert(b"/work/f".to_vec(), b"x: true".to_vec());
    for (text, expected) in [
        ("builtins.readFile ./f", Ok("\"x: true\"")),
        ("builtins.scopedImport { true = 5; } ./f 1", Ok("5")),
        ("builtins.pathExists ./g", Ok("false")),
        ("builtins.readFileType ./f", Ok("\"regular\"")),
        ("<nix/fetchurl.nix>", Ok("<nix/fetchurl.nix>")),
        ("builtins.pathExists <nix/other.nix>", Ok("false")),
        ("(builtins.tryEval <x>).success", Ok("false")),
        ("<x>", Err("file 'x' was not found in the Nix search path (add it using $NIX_PATH or -I)")),
        ("builtins.readFile \"f\"", Err("string 'f' doesn't represent an absolute path")),
        ("builtins.readFileType ./g", Err("path '/work/g' does not exist")),
        ("builtins.storePath ./f", Err("path '/work/f' is not in the Nix store")),
    ] {
        let found = evaluate_in(&world, text);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_fetched_says_so() {
    for (text, message) in [
        ("fetchMercurial { }", "'url' argument required"),
        ("fetchMercurial \"x/y\"", "file:// URL 'file://x/y' has unexpected authority 'x'"),
        ("fetchGit { }", "input attribute 'url' is missing"),
        ("fetchTarball { }", "'url' argument required"),
        ("builtins.fetchurl \"x\"", "URL 'x' doesn't have a scheme"),
        (
            "builtins.fetchurl { url = \"http://x/y\"; hash = \"\"; }",
            "unsupported argument 'hash' to 'fetchurl'",
        ),
    ] {
        assert_eq!(evaluate_in(&Memory::default(), text), Err(message.to_owned()), "{text}");
    }
}
