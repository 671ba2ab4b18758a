//! Which machine builds a derivation.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use super::{Machine, slots};
use crate::store::error::Result;

/// What a derivation asks of a machine.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'w> {
    /// The system that its builder runs on.
    pub system: &'w str,
    /// Its builder is a part of the program that builds, which runs on any system.
    pub is_own: bool,
    /// What it has to offer.
    pub features: &'w BTreeSet<String>,
}

/// A place on a machine, which is free again when this is dropped.
#[derive(Debug)]
pub struct Claim {
    /// The machine.
    pub machine: Machine,
    _slot: File,
}

/// What came of looking for a machine.
#[derive(Debug)]
pub enum Choice {
    /// This one has a place.
    Free(Box<Claim>),
    /// There are some that could do it, and all of them are at work.
    Busy,
    /// None can do it.
    NoneFits,
}

/// Takes a place on the fastest of the machines that can build it and have one; of equally fast ones
/// the one with the fewest builds, then the first. `left_out` are machines that have been tried.
///
/// # Errors
/// Errors of the locks.
pub fn choose(
    machines: &[Machine],
    wish: &Wish<'_>,
    left_out: &BTreeSet<String>,
    state_dir: &Path,
) -> Result<Choice> {
    let fits =
        |machine: &&Machine| machine.jobs > 0 && !left_out.contains(&machine.uri) && machine.fits(wish);
    let candidates: Vec<&Machine> = machines.iter().filter(fits).collect();
    if candidates.is_empty() {
        return Ok(Choice::NoneFits);
    }
    let directory = slots::directory(state_dir)?;
    let _main_lock = slots::main_lock(&directory)?;
    let mut best: Option<(&Machine, u64, File)> = None;
    for machine in candidates {
        let (Some(slot), taken) = slots::free(&directory, machine)? else { continue };
        let is_better = best.as_ref().is_none_or(|(other, others, _)| {
            machine.speed > other.speed || (machine.speed >= other.speed && taken < *others)
        });
        if is_better {
            best = Some((machine, taken, slot));
        }
    }
    Ok(match best {
        Some((machine, _, slot)) => Choice::Free(Box::new(Claim { machine: machine.clone(), _slot: slot })),
        None => Choice::Busy,
    })
}

/// Why no machine can build it, in the reference's words; `drv` is the base name of the derivation.
pub fn none_fits(machines: &[Machine], wish: &Wish<'_>, drv: &str) -> String {
    let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "Failed to find a machine for remote build!\nderivation: {drv}\nrequired (system, features): ({}, [{}])\n\
         {} available machines:\n(systems, maxjobs, supportedFeatures, mandatoryFeatures)",
        wish.system,
        list(wish.features),
        machines.len()
    );
    for machine in machines {
        text.push_str(&format!(
            "\n([{}], {}, [{}], [{}])",
            list(&machine.systems),
            machine.jobs,
            list(&machine.features),
            list(&machine.mandatory)
        ));
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn machines(text: &str) -> Vec<Machine> {
        super::super::parse(text, "s", Path::new("/")).unwrap()
    }

    #[test]
    fn systems_and_features() {
        let list = machines("h s - 1 1 a,b m");
        let fits = |system: &str, is_own, features: &[&str]| {
            list[0].fits(&Wish { system, is_own, features: &set(features) })
        };
        assert!(
            fits("s", false, &["m"]) && fits("s", false, &["m", "a"]) && fits("s", false, &["a", "b", "m"])
        );
        assert!(!fits("s", false, &[]) && !fits("s", false, &["a"]) && !fits("s", false, &["m", "c"]));
        assert!(!fits("t", false, &["m"]) && fits("builtin", true, &["m"]));
    }

    #[test]
    fn the_fastest_with_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let list = machines("slow s - 5; fast s - 1 2; twin s - 1 2; never s - 0 9; other t - 9 9");
        let features = BTreeSet::new();
        let wish = Wish { system: "s", is_own: false, features: &features };
        let mut left_out = BTreeSet::new();
        let next = |left_out: &BTreeSet<String>| match choose(&list, &wish, left_out, dir.path()).unwrap() {
            Choice::Free(claim) => claim,
            other => panic!("{other:?}"),
        };
        let (first, second, third) = (next(&left_out), next(&left_out), next(&left_out));
        let uris = [&first, &second, &third].map(|claim| claim.machine.uri.clone());
        assert_eq!(uris, ["ssh://fast", "ssh://twin", "ssh://slow"]);
        assert!(dir.path().join("current-load/ssh:__fast-0").exists());
        drop(first);
        assert_eq!(next(&left_out).machine.uri, "ssh://fast");
        left_out.extend(["ssh://fast", "ssh://twin"].map(str::to_owned));
        let held: Vec<_> = (0..4).map(|_| next(&left_out)).collect();
        assert_eq!(held.len(), 4);
        assert!(matches!(choose(&list, &wish, &left_out, dir.path()).unwrap(), Choice::Busy));
        left_out.insert("ssh://slow".to_owned());
        assert!(matches!(choose(&list, &wish, &left_out, dir.path()).unwrap(), Choice::NoneFits));
    }

    #[test]
    fn a_place_more_where_fewer_builds_are() {
        let dir = tempfile::tempdir().unwrap();
        let list = machines("one s - 2; two s - 2");
        let features = BTreeSet::new();
        let wish = Wish { system: "s", is_own: false, features: &features };
        let mut claims = Vec::new();
        for uri in ["ssh://one", "ssh://two", "ssh://one", "ssh://two"] {
            let Choice::Free(claim) = choose(&list, &wish, &BTreeSet::new(), dir.path()).unwrap() else {
                panic!()
            };
            assert_eq!(claim.machine.uri, uri);
            claims.push(claim);
        }
    }

    #[test]
    fn what_is_said_of_machines() {
        let list = machines("h x86_64-linux - 2 1 bar,foo foo");
        let features = set(&["foo"]);
        let wish = Wish { system: "x86_64-linux", is_own: false, features: &features };
        assert_eq!(
            none_fits(&list, &wish, "H-n.drv"),
            "Failed to find a machine for remote build!\nderivation: H-n.drv\nrequired (system, features): \
             (x86_64-linux, [foo])\n1 available machines:\n(systems, maxjobs, supportedFeatures, mandatoryFeatures)\n\
             ([x86_64-linux], 2, [bar, foo], [foo])"
        );
    }
}
