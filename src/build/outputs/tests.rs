//! Outputs as the reference has them: paths, hashes and references were taken from its database.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::model::derivation::options::BuildOptions;
use crate::model::{Derivation, StoreDir};
use crate::store::LocalStore;
use crate::store::local::ingest::HELD;

/// A directory that a builder has written to, and a store.
struct World {
    dir: tempfile::TempDir,
    store: LocalStore,
    store_dir: StoreDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::at(dir.path().join("root")).unwrap();
        std::fs::create_dir(dir.path().join("made")).unwrap();
        Self { dir, store, store_dir: StoreDir::new("/s").unwrap() }
    }

    fn made(&self) -> std::path::PathBuf {
        self.dir.path().join("made")
    }

    /// Takes in what `build` makes, which gets the paths of the outputs below that directory, and
    /// as texts.
    fn take(
        &self,
        drv_path: &str,
        drv: &str,
        inputs: &[&str],
        redirect: bool,
        build: impl FnOnce(&dyn Fn(&str) -> std::path::PathBuf, &dyn Fn(&str) -> String),
    ) -> Result<Outcome> {
        let drv_path = self.store_dir.parse(drv_path).unwrap();
        let drv = Derivation::parse(&self.store_dir, drv.as_bytes()).unwrap();
        let options = BuildOptions::of(&self.store_dir, &drv).unwrap();
        let inputs = inputs.iter().map(|path| self.store_dir.parse(path).unwrap()).collect();
        let plan =
            OutputPlan::new(&self.store_dir, &drv_path, &drv, &options, &inputs, |_| redirect).unwrap();
        let scratch = plan.scratch();
        let real = |name: &str| self.made().join(scratch[name].base_name());
        let shown = |name: &str| self.store_dir.print(&scratch[name]);
        build(&real, &shown);
        take(&self.made(), &plan, None, &self.store.intake(HELD).unwrap())
    }
}

fn told(result: Result<Outcome>) -> String {
    match result {
        Ok(Outcome { mismatch: Some(error), .. }) | Err(error) => error.to_string(),
        Ok(_) => "taken".to_owned(),
    }
}

/// Path, hash, size, content address and references.
fn row(output: &TakenOutput) -> (String, String, u64, String, Vec<String>) {
    let info = &output.info;
    (
        info.path.base_name().to_owned(),
        format!("sha256:{}", info.nar_hash.to_base16()),
        info.nar_size,
        info.ca.map(|ca| ca.to_string()).unwrap_or_default(),
        info.references.iter().map(|path| path.base_name().to_owned()).collect(),
    )
}

fn drv(outputs: &str, env: &str) -> String {
    format!(r#"Derive([{outputs}],[],[],"x","/b",[],[{env}])"#)
}

const A: &str = "/s/4mdrfrypr2v877yighcnmk9f545bahwm-t.drv";
const B: &str = "/s/viylnafsva57a44bhxlk0hp0a1ad21yi-t.drv";

#[test]
fn floating_output_with_its_own_name() {
    let world = World::new();
    let drv = drv(r#"("out","","r:sha256","")"#, "");
    let outcome = world.take(A, &drv, &[], false, |real, shown| {
        std::fs::write(real("out"), format!("me {}\n", shown("out"))).unwrap();
    });
    let path = "4sf6awfg0jr3d5znf4p3b6aldkc8ynp6-t";
    let expected = (
        path.to_owned(),
        "sha256:a1f1309f162352d2cc91f8b5c6ad2c37431caabda76e101f2ac33a091224a85b".to_owned(),
        160,
        "fixed:r:sha256:11biwmxa773jrw3a9gcdi9rcfn3ipiabva10iqz1bc3413wxbbak".to_owned(),
        vec![path.to_owned()],
    );
    assert_eq!(row(&outcome.unwrap().outputs[0]), expected);
}

#[test]
fn floating_outputs_of_which_one_has_the_other() {
    let world = World::new();
    let drv = drv(r#"("dev","","r:sha256",""),("out","","r:sha256","")"#, "");
    let outcome = world.take(B, &drv, &[], false, |real, shown| {
        std::fs::write(real("out"), format!("me {} to {}\n", shown("out"), shown("dev"))).unwrap();
        std::fs::write(real("dev"), format!("hi {}\n", shown("dev"))).unwrap();
    });
    let outcome = outcome.unwrap();
    let (dev, out) = ("fg6a3al0j4lla1s0nd0yfvpya77wzffd-t-dev", "sys47q0wlsg9w7j17bk3542zjyzd9g39-t");
    let expected = (
        dev.to_owned(),
        "sha256:4c5cf35722698621dcc19b3fe5d7aafc200b51f28d6545893fc53ef8e189c499".to_owned(),
        160,
        "fixed:r:sha256:1af4xmjl0ggzsjaffgjai0y5rsbm16563jhkavl54gji31m3mdhr".to_owned(),
        vec![dev.to_owned()],
    );
    assert_eq!(row(&outcome.outputs[0]), expected);
    let expected = (
        out.to_owned(),
        "sha256:80e735136a953ed2b4669a76c1da7c061e36795de744c3a01ca47c788cf64a71".to_owned(),
        200,
        "fixed:r:sha256:0axnn9jnr7k98771ksi8q157q70z9dya22bvpvcc5gd8c51ypg2l".to_owned(),
        vec![dev.to_owned(), out.to_owned()],
    );
    assert_eq!(row(&outcome.outputs[1]), expected);
}

#[test]
fn floating_outputs_of_other_methods() {
    let world = World::new();
    let flat = world.take(A, &drv(r#"("out","","sha1","")"#, ""), &[], false, |real, _| {
        std::fs::write(real("out"), "none\n").unwrap();
    });
    let (path, hash, size, ca, references) = row(&flat.unwrap().outputs[0]);
    assert_eq!(path, "zx0vah9b0brc43nv8h86xwvygzmjq9hn-t");
    assert_eq!(hash, "sha256:0da9afb02eaba9c5dddce5ad068d684934fbb7b856f0b138140982209151b94a");
    assert_eq!((size, ca.as_str()), (120, "fixed:sha1:iycsd9z6ffqnnn7zm903mc1x2gwmy4q2"));
    assert!(references.is_empty());
    let input = "/s/sqn38941k5xi2cbxjg7ar5q8skmrh5pl-x";
    let text = drv(r#"("out","","text:sha256","")"#, "");
    let outcome = world.take(A, &text, &[input], false, |real, _| {
        std::fs::write(real("out"), format!("{input}\n")).unwrap();
    });
    let (path, _, _, ca, references) = row(&outcome.unwrap().outputs[0]);
    assert_eq!(path, "mwp9igym5rkw1m385n4lvppalifknnyv-t");
    assert_eq!(ca, "text:sha256:1pwrhwck0a2rblnnin72dv67h223pgcmr3sbv816mv3vn25xg1jz");
    assert_eq!(references, ["sqn38941k5xi2cbxjg7ar5q8skmrh5pl-x"]);
    let own = world.take(A, &text, &[], false, |real, shown| {
        std::fs::write(real("out"), shown("out")).unwrap();
    });
    assert_eq!(told(own), "self-reference not allowed with text hashing");
}

const OUT: &str = "/s/v2zysh2pfc0v9g2m4xkcw8c4ndbsbj3p-t";
const DEV: &str = "/s/fnnkyc4lbdgd1sdhz42ilgg5bj6k61g2-t-dev";

fn input_addressed() -> String {
    drv(
        &format!(r#"("dev","{DEV}","",""),("out","{OUT}","","")"#),
        &format!(r#"("dev","{DEV}"),("out","{OUT}")"#),
    )
}

/// Also where the builder has written other paths.
#[test]
fn outputs_are_found_and_rewritten() {
    let world = World::new();
    for redirect in [false, true] {
        let outcome = world.take(A, &input_addressed(), &[], redirect, |real, shown| {
            assert_eq!(shown("out") != OUT, redirect);
            std::fs::write(real("out"), "hi\n").unwrap();
            std::fs::write(real("dev"), format!("{}\n", shown("out"))).unwrap();
        });
        let outcome = outcome.unwrap();
        let rows: Vec<_> = outcome.outputs.iter().map(row).collect();
        assert_eq!(rows[0].0, "v2zysh2pfc0v9g2m4xkcw8c4ndbsbj3p-t");
        assert_eq!(rows[0].1, "sha256:10551daed7fa467d0b58826e7eb9a0f2af7d693de319f2ef775fffcda244b9f6");
        assert_eq!(rows[1].1, "sha256:61d5014afe9d82c278f2e3081c56d90f067e8c220716f378dab537fbf796fa2e");
        assert_eq!(rows[1].4, ["v2zysh2pfc0v9g2m4xkcw8c4ndbsbj3p-t"]);
    }
}

/// In contents over the size of any buffer, in names and in links; names are sorted anew.
#[test]
fn rewritten_trees_are_those_that_were_made_in_place() {
    let world = World::new();
    let outcomes = [false, true].map(|redirect| {
        let outcome = world.take(A, &input_addressed(), &[], redirect, |real, shown| {
            let (out, own) = (real("out"), shown("out"));
            let part = own.rsplit('/').next().unwrap();
            for dir in [out.clone(), out.join(part)] {
                std::fs::create_dir(&dir).unwrap();
                for name in "0123456789abcdefghijklmnopqrsuvwxyz".chars() {
                    std::fs::write(dir.join(name.to_string()), "").unwrap();
                }
                symlink(&own, dir.join(format!("{part}-link"))).unwrap();
                std::fs::write(dir.join(&part[..32]), format!("{own}{own}/s/")).unwrap();
            }
            for at in [0, 131_050, 131_072, 262_130, 12 << 20] {
                let large = [&vec![b'e'; at][..], own.as_bytes(), b"eee"].concat();
                std::fs::write(out.join(format!("large{at}")), large).unwrap();
            }
            symlink(shown("dev"), out.join(shown("dev").rsplit('/').next().unwrap())).unwrap();
            std::fs::write(real("dev"), "").unwrap();
        });
        outcome.unwrap().outputs.iter().map(row).collect::<Vec<_>>()
    });
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(outcomes[0][1].4.len(), 2);
}

#[test]
fn names_that_become_one() {
    let world = World::new();
    let outcome = world.take(A, &input_addressed(), &[], true, |real, shown| {
        std::fs::create_dir(real("out")).unwrap();
        std::fs::write(real("out").join(&shown("out")[3..35]), "").unwrap();
        std::fs::write(real("out").join(&OUT[3..35]), "").unwrap();
        std::fs::write(real("dev"), "").unwrap();
    });
    assert_ne!(told(outcome), "taken");
}

#[test]
fn what_is_no_output() {
    let world = World::new();
    let take = |build: &dyn Fn(&std::path::Path)| {
        let outcome = world.take(A, &input_addressed(), &[], false, |real, _| {
            let _ = crate::sys::remove::remove(&real("out"));
            std::fs::write(real("dev"), "").unwrap();
            build(&real("out"));
        });
        told(outcome).replace(world.made().to_str().unwrap(), "/s")
    };
    assert_eq!(
        take(&|_| ()),
        format!("builder for '{A}' failed to produce output path for output 'out' at \"{OUT}\"")
    );
    let suspicious = format!(
        "suspicious ownership or permission on \"{OUT}\" for output 'out'; rejecting this build output"
    );
    let with_mode = |mode: u32| {
        move |out: &std::path::Path| {
            std::fs::create_dir(out).unwrap();
            std::fs::set_permissions(out, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    assert_eq!(take(&with_mode(0o777)), suspicious);
    assert_eq!(take(&with_mode(0o775)), suspicious);
    assert_eq!(take(&with_mode(0o755)), "taken");
    assert_eq!(take(&|out| symlink("/nowhere", out).unwrap()), "taken");
    let fifo = |path: &std::path::Path| {
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
    };
    assert_eq!(take(&fifo), format!("file \"{OUT}\" has an unsupported type"));
    let below = |out: &std::path::Path| {
        std::fs::create_dir(out).unwrap();
        fifo(&out.join("f"));
    };
    assert_eq!(take(&below), format!("file \"{OUT}/f\" has an unsupported type"));
}

#[test]
fn somebody_elses_output() {
    let world = World::new();
    let drv_path = world.store_dir.parse(A).unwrap();
    let drv = Derivation::parse(&world.store_dir, input_addressed().as_bytes()).unwrap();
    let options = BuildOptions::of(&world.store_dir, &drv).unwrap();
    let inputs = BTreeSet::new();
    let plan = OutputPlan::new(&world.store_dir, &drv_path, &drv, &options, &inputs, |_| false).unwrap();
    std::fs::create_dir(world.made().join(&OUT[3..])).unwrap();
    std::fs::write(world.made().join(&OUT[3..]).join("x"), "").unwrap();
    std::fs::write(world.made().join(&DEV[3..]), "").unwrap();
    let us = rustix::process::geteuid().as_raw();
    let intake = world.store.intake(HELD).unwrap();
    assert!(matches!(
        take(&world.made(), &plan, Some(us + 1), &intake),
        Err(OutputsError::Suspicious { .. })
    ));
    assert!(take(&world.made(), &plan, Some(us), &intake).is_ok());
}

#[test]
fn circles() {
    let world = World::new();
    let names = ["a", "b", "c", "out"];
    let outputs: Vec<String> = names.iter().map(|name| format!(r#"("{name}","","r:sha256","")"#)).collect();
    let drv = drv(&outputs.join(","), "");
    let take = |references: &[(&str, &str)]| {
        told(world.take(A, &drv, &[], false, |real, shown| {
            for name in names {
                let to = references.iter().filter(|(from, _)| *from == name).map(|(_, to)| shown(to));
                std::fs::write(real(name), to.collect::<Vec<_>>().join(" ")).unwrap();
            }
        }))
    };
    let cycle = |output: &str, from: &str| {
        format!(
            "cycle detected in build of '{A}' in the references of output '{output}' from output '{from}'"
        )
    };
    assert_eq!(take(&[("out", "out"), ("out", "b"), ("b", "a"), ("c", "a")]), "taken");
    assert_eq!(take(&[("out", "b"), ("b", "out"), ("b", "a"), ("a", "out")]), cycle("a", "b"));
    assert_eq!(take(&[("b", "b"), ("a", "c"), ("out", "a"), ("c", "out")]), cycle("a", "out"));
}

const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What is promised, and what was made.
#[test]
fn promises() {
    let world = World::new();
    let input = "/s/sqn38941k5xi2cbxjg7ar5q8skmrh5pl-x";
    let take = |kind: &str, hash: &str, contents: &str| {
        let outputs = format!(r#"("out","{OUT}","{kind}","{hash}")"#);
        world.take(A, &drv(&outputs, ""), &[input], false, |real, shown| {
            std::fs::write(real("out"), contents.replace("OUT", &shown("out"))).unwrap();
        })
    };
    let mismatch = |specified: &str, got: &str| {
        format!(
            "hash mismatch in fixed-output derivation '{A}':\n         specified: {specified}\n            got:    {got}"
        )
    };
    let got = "sha256-KUV2p0FfGJ/ukWDtIpBS9Jvm4IsTWGjcFZ61728SA7o=";
    let outcome = take("r:sha256", ZERO, "me\n").unwrap();
    assert_ne!(outcome.outputs[0].info.path.base_name(), &OUT[3..]);
    let zero = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(told(Ok(outcome)), mismatch(zero, got));
    let md5 = mismatch("md5-AAAAAAAAAAAAAAAAAAAAAA==", "md5-MUTkuW9/0VInMy4juFN9iQ==");
    assert_eq!(told(take("md5", &ZERO[..32], "me\n")), md5);
    let not_allowed = "fixed output derivation 't' is not allowed to refer to other store paths.\n       You may need to \
                       use the 'unsafeDiscardReferences' derivation attribute, see the manual for more details.";
    assert_eq!(told(take("sha256", ZERO, input)), not_allowed);
    assert_eq!(told(take("r:sha1", &ZERO[..40], "OUT")), not_allowed);
    assert!(told(take("r:sha256", ZERO, input)).starts_with("hash mismatch"));
    let outputs = format!(r#"("out","{OUT}","sha256","{ZERO}")"#);
    let plain = world.take(A, &drv(&outputs, ""), &[], false, |real, _| {
        std::fs::set_permissions(real("out"), std::fs::Permissions::from_mode(0o755)).unwrap();
    });
    assert!(matches!(plain, Err(OutputsError::NotPlain(_))));
}
