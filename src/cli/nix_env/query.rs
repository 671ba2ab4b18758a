//! `--query`: what is installed, or what an expression offers.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use nival::eval::error::Error;
use nival::eval::interpret::Worker;
use nival::model::package_name::{self, compare_versions};
use nival::model::{StoreDir, StorePath};
use nival::ops::packages::describe::{self, Fact, Question, Row, describe};
use nival::ops::packages::memory::Remembered;
use nival::ops::packages::memory::answers::{self, Outcome};
use nival::ops::packages::memory::names::Offer;
use nival::ops::packages::meta::Meta;
use nival::ops::packages::{Package, order, unless_thrown};
use nival::ops::user_env;
use nival::ops::user_env::element::Element;
use nival::ops::user_env::selector::{Selector, select};
use nival::progress::Progress as _;
use nival::store::api::Store;

use super::Call;
use super::listing::{self, Columns, Line, Status};
use super::offers::{Offers, package_again};
use super::packages::selectors;
use super::parts::Parts;
use super::past::Past;
use crate::cli::error::usage;
use crate::cli::output::messages::Ui;
use crate::cli::output::streams::Out;

/// How packages are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Json,
    Xml,
}

/// What the flags ask for.
struct Wanted {
    columns: Columns,
    form: Form,
    /// What an expression offers is listed, not what is installed.
    available: bool,
    /// The attribute of the expression that is looked at; empty for all of it.
    attribute: String,
}

impl Wanted {
    fn of(call: &Call) -> anyhow::Result<Self> {
        let mut columns = Columns::default();
        let (mut available, mut form, mut attribute) = (false, Form::Table, String::new());
        for given in &call.flags {
            match given.name() {
                "--available" => available = true,
                "--installed" => available = false,
                "--status" => columns.status = true,
                "--attr-path" => columns.attr_path = true,
                "--no-name" => columns.no_name = true,
                "--compare-versions" => columns.compare = true,
                "--system" => columns.system = true,
                "--drv-path" => columns.drv_path = true,
                "--out-path" => columns.out_path = true,
                "--description" => columns.description = true,
                "--meta" => columns.meta = true,
                "--json" => form = Form::Json,
                "--xml" => form = Form::Xml,
                "--attr" => attribute = given.text()?,
                _ => {}
            }
        }
        Ok(Self { columns, form, available, attribute })
    }

    /// What is asked of the packages of an expression.
    fn question(&self) -> Question {
        let Columns { system, drv_path, out_path, description, meta, .. } = self.columns;
        let only = |facts: &[(bool, Fact)]| {
            facts.iter().filter(|(wanted, _)| *wanted).map(|(_, fact)| *fact).collect::<Vec<_>>()
        };
        let outputs = if out_path { Fact::Outputs } else { Fact::OutputNames };
        match self.form {
            Form::Table => Question {
                first: only(&[
                    (system, Fact::System),
                    (drv_path, Fact::DrvPath),
                    (out_path, Fact::Outputs),
                    (description, Fact::Description),
                ]),
                then: Vec::new(),
            },
            Form::Json => Question {
                first: vec![Fact::System, Fact::OutputName],
                then: only(&[(true, outputs), (drv_path, Fact::DrvPath), (meta, Fact::Meta)]),
            },
            Form::Xml => Question {
                first: only(&[
                    (true, Fact::System),
                    (true, Fact::OutputName),
                    (drv_path, Fact::DrvPath),
                    (description, Fact::Description),
                ]),
                then: only(&[(true, outputs), (meta, Fact::Meta)]),
            },
        }
    }
}

/// Lists packages.
pub fn query(call: Call) -> anyhow::Result<()> {
    let wanted = Wanted::of(&call)?;
    if wanted.columns.attr_path && !wanted.available {
        return usage("--attr-path(-P) only works with --available");
    }
    let store = &*call.open_store()?;
    let selectors = selectors(store, &call.texts()?)?;
    let columns = &wanted.columns;
    let installed = match !wanted.available || columns.status || columns.compare {
        true => user_env::installed(store, call.profile()?.link())?,
        false => Vec::new(),
    };
    let mut found = match wanted.available {
        true => available(&call, store, &wanted, selectors)?,
        false => {
            let versions =
                if columns.compare { offered_versions(&call, store, &wanted)? } else { Versions::default() };
            let mut found = of_profile(store.dir(), &wanted, &installed, selectors)?;
            compare(&mut found.lines, &versions, columns.compare);
            found
        }
    };
    if wanted.available {
        let versions = Versions::of(installed.iter().map(|element| element.name.as_str()));
        compare(&mut found.lines, &versions, columns.compare);
    }
    if columns.status || call.prebuilt {
        add_status(&call, store, &wanted, &installed, &mut found)?;
    }
    let mut out = Out::new();
    match wanted.form {
        Form::Table => listing::table(store.dir(), columns, &found.lines, &mut out)?,
        Form::Json => listing::json(found.texts, &mut out)?,
        Form::Xml => listing::xml(store.dir(), columns, &found.lines, &mut out)?,
    }
    out.finish()
}

/// Packages that are shown: for JSON their texts, which take less room, or else what is known of them.
#[derive(Default)]
struct Found {
    lines: Vec<Line>,
    texts: Vec<(String, Vec<u8>)>,
}

impl Found {
    fn add(&mut self, dir: &StoreDir, wanted: &Wanted, path: String, row: Option<Row>) {
        match (wanted.form, row) {
            (Form::Json, row) => {
                self.texts.push((path, listing::json_item(dir, &wanted.columns, row.as_ref())));
            }
            (_, Some(row)) => self.lines.push(Line { row, ..Line::default() }),
            (_, None) => {}
        }
    }
}

/// What an expression offers.
fn available(
    call: &Call,
    store: &dyn Store,
    wanted: &Wanted,
    mut selectors: Vec<Selector>,
) -> anyhow::Result<Found> {
    let (offers, question, dir) = (Offers::of(call)?, wanted.question(), store.dir().clone());
    let with_path = wanted.columns.status || call.prebuilt;
    let listing = Listing { dir: &dir, wanted, ui: &call.context.ui };
    let past = Past::of(call, store, &offers, &wanted.attribute)?;
    let asks_for_facts = with_path || !question.first.is_empty() || !question.then.is_empty();
    if asks_for_facts
        && let Some(remembered) = past.answers(&question, with_path)
        && let Some(found) = listing.of_answers(&past, &remembered, &mut selectors)?
    {
        return Ok(found);
    }
    let mut known = past.names();
    let mut found = Found::default();
    if let Some(names) = &mut known {
        let chosen = select(names, &mut selectors)?;
        if !asks_for_facts {
            for offer in order::sort(chosen, |offer| &offer.name) {
                listing.add(
                    &mut found,
                    &offer.attr_path,
                    &offer.name,
                    Outcome::Row(Box::new(Row::of(offer))),
                );
            }
            return Ok(found);
        }
        names.retain(|offer| selectors.iter_mut().any(|selector| selector.matches(offer)));
    }
    // To look for everything takes less than to look for each.
    let is_all = selectors.is_empty();
    let known = known.filter(|_| !is_all);
    let keeps_answers = is_all && asks_for_facts;
    let mut outcomes: HashMap<String, Option<Vec<u8>>> = HashMap::new();
    let mut parts = Parts::new(call, known);
    let mut kept = None;
    while !parts.is_done() {
        if parts.is_found() && !asks_for_facts {
            for offer in parts.rest() {
                let outcome = Outcome::Row(Box::new(Row::of(&offer)));
                listing.add(&mut found, &offer.attr_path, &offer.name, outcome);
            }
            break;
        }
        let is_quiet = past.count_told() == 0;
        let mut changed = false;
        past.run(true, |worker, arguments, asked| {
            let place = offers.place(worker, arguments, asked, &wanted.attribute)?;
            let enough = parts.enough(is_quiet, worker, asked);
            let in_hand = match parts.is_found() {
                true => Vec::new(),
                false => match parts.find(&offers, &place, asked, &mut selectors, &enough)? {
                    Some(packages) if asks_for_facts => packages,
                    _ => return Ok(()),
                },
            };
            let in_hand: HashMap<&str, &Package<'_>> =
                in_hand.iter().map(|package| (&package.attr_path[..], package)).collect();
            let in_hand = |offer: &Offer| in_hand.get(&offer.attr_path[..]).copied();
            let rest = parts.rest();
            describe::with_crew(worker, &dir, &question, rest.iter().filter_map(in_hand), |offered| {
                for (index, offer) in rest.iter().enumerate() {
                    offered.reach(index);
                    let package = match in_hand(offer) {
                        Some(package) => Some(package.clone()),
                        None => package_again(&place, offer)?,
                    };
                    let Some(package) = package else {
                        changed = true;
                        break;
                    };
                    let outcome = outcome(worker, &dir, &package, &question, with_path)?;
                    if keeps_answers && asked.is_noted() {
                        outcomes.insert(package.attr_path.clone(), outcome.encode());
                    }
                    listing.add(&mut found, &package.attr_path, &package.name, outcome);
                    parts.count_described();
                    if enough(index + 1) {
                        break;
                    }
                }
                Ok::<(), Error>(())
            })?;
            if keeps_answers && asked.is_noted() && parts.is_done() {
                kept = parts.answers(&outcomes).map(|answers| (asked.seen(), answers));
            }
            Ok(())
        })?;
        if changed {
            parts.begin_again();
            found = Found::default();
            outcomes.clear();
        }
        if !parts.is_done() && (asks_for_facts || !parts.is_found()) {
            call.context.ui.detail("the listing goes on in another evaluation");
        }
    }
    if let Some((seen, answers)) = kept {
        past.keep_answers(&question, with_path, seen, &answers);
    }
    Ok(found)
}

/// What comes of a package in a listing; `with_path` if it is listed only if it has one.
fn outcome<'e>(
    worker: &Worker<'e>,
    dir: &StoreDir,
    package: &Package<'e>,
    question: &Question,
    with_path: bool,
) -> Result<Outcome, Error> {
    let mut path = None;
    if with_path {
        path = unless_thrown(package.out_path(worker, dir))?;
        if path.is_none() {
            return Ok(Outcome::Skipped);
        }
    }
    Ok(match describe(worker, dir, package, question)? {
        Some(row) => Outcome::Row(Box::new(Row { out_path: path, ..row })),
        None => Outcome::Nothing,
    })
}

/// Makes a listing of what comes of packages.
struct Listing<'l> {
    dir: &'l StoreDir,
    wanted: &'l Wanted,
    ui: &'l Ui,
}

impl Listing<'_> {
    fn add(&self, found: &mut Found, attr_path: &str, name: &str, outcome: Outcome) {
        let row = match outcome {
            Outcome::Skipped => {
                let text = "which gives an assertion failure";
                self.ui.detail(&format!("skipping derivation named '{name}' {text}"));
                return;
            }
            Outcome::Nothing => None,
            Outcome::Row(row) => Some(*row),
        };
        let metas = row.iter().flat_map(|row| row.meta.iter().flatten());
        for (meta, _) in metas.filter(|(_, value)| value.is_none()) {
            self.ui.problem(&format!("derivation '{name}' has invalid meta attribute '{meta}'"));
        }
        found.add(self.dir, self.wanted, attr_path.to_owned(), row);
    }

    /// The listing of remembered answers, unless what was told of them is told of others than those that are
    /// listed, or they are damaged.
    fn of_answers(
        &self,
        past: &Past<'_>,
        remembered: &Remembered,
        selectors: &mut [Selector],
    ) -> anyhow::Result<Option<Found>> {
        let Ok((answers, is_quiet)) = answers::decode(remembered) else { return Ok(None) };
        if !is_quiet && !selectors.is_empty() {
            return Ok(None);
        }
        past.tell(remembered);
        let mut found = Found::default();
        for answer in order::sort(select(&answers, selectors)?, |answer| answer.name) {
            let Ok(outcome) = answer.outcome() else { return Ok(None) };
            self.add(&mut found, answer.attr_path, answer.name, outcome);
        }
        Ok(Some(found))
    }
}

/// What is installed.
fn of_profile(
    dir: &StoreDir,
    wanted: &Wanted,
    installed: &[Element],
    mut selectors: Vec<Selector>,
) -> anyhow::Result<Found> {
    let chosen = select(installed, &mut selectors)?;
    let mut found = Found::default();
    for element in order::sort(chosen, |element| &element.name) {
        let index = installed.iter().position(|other| std::ptr::eq(other, element)).unwrap_or_default();
        let row = row_of(element, index.to_string(), &wanted.columns);
        found.add(dir, wanted, index.to_string(), Some(row));
    }
    Ok(found)
}

fn row_of(element: &Element, attr_path: String, columns: &Columns) -> Row {
    let description = match element.meta.get("description").and_then(Meta::of) {
        Some(Meta::Text(text)) => text,
        _ => String::new(),
    };
    let outputs = element.outputs.iter().map(|(name, path)| {
        let path = columns.out_path.then(|| path.clone());
        (name.clone(), path)
    });
    let meta = || element.meta.iter().map(|(name, value)| (name.clone(), Meta::of(value))).collect();
    Row {
        attr_path,
        name: element.name.clone(),
        system: Some(element.system.clone().unwrap_or_else(|| user_env::element::UNKNOWN_SYSTEM.to_owned())),
        output_name: String::new(),
        drv_path: element.drv_path.clone(),
        out_path: Some(element.out_path.clone()),
        description,
        outputs: Some(outputs.collect()),
        meta: columns.meta.then(meta),
    }
}

/// The highest version of each package.
#[derive(Default)]
struct Versions(HashMap<String, String>);

impl Versions {
    fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let mut highest: HashMap<String, String> = HashMap::new();
        for (package, version) in names.map(package_name::split) {
            match highest.get_mut(package) {
                Some(known) if compare_versions(known.as_str(), version).is_lt() => version.clone_into(known),
                Some(_) => {}
                None => drop(highest.insert(package.to_owned(), version.to_owned())),
            }
        }
        Self(highest)
    }

    fn compared(&self, name: &str) -> Option<(Ordering, String)> {
        let (package, version) = package_name::split(name);
        let other = self.0.get(package)?;
        Some((compare_versions(version, other.as_str()), other.clone()))
    }
}

fn compare(lines: &mut [Line], versions: &Versions, wanted: bool) {
    for line in lines.iter_mut().filter(|_| wanted) {
        line.compared = versions.compared(&line.row.name);
    }
}

/// The versions that an expression offers.
fn offered_versions(call: &Call, store: &dyn Store, wanted: &Wanted) -> anyhow::Result<Versions> {
    let offers = Offers::of(call)?;
    let past = Past::of(call, store, &offers, &wanted.attribute)?;
    if let Some(names) = past.names() {
        return Ok(Versions::of(names.iter().map(|offer| offer.name.as_str())));
    }
    let mut parts = Parts::new(call, None);
    while !parts.is_found() {
        let is_quiet = past.count_told() == 0;
        past.run(true, |worker, arguments, asked| {
            let place = offers.place(worker, arguments, asked, &wanted.attribute)?;
            let enough = parts.enough(is_quiet, worker, asked);
            parts.find(&offers, &place, asked, &mut [], &enough)?;
            Ok(())
        })?;
    }
    Ok(Versions::of(parts.rest().iter().map(|offer| offer.name.as_str())))
}

/// Finds out how it is with packages, and leaves out what would have to be built if that is asked for.
fn add_status(
    call: &Call,
    store: &dyn Store,
    wanted: &Wanted,
    installed: &[Element],
    found: &mut Found,
) -> anyhow::Result<()> {
    let paths: Vec<StorePath> = found.lines.iter().filter_map(|line| line.row.out_path.clone()).collect();
    let valid = store.valid(&paths)?;
    let known = call.context.substituters().known_in_bulk(store.dir(), &paths, &*call.context.ui)?;
    let substitutable: BTreeSet<StorePath> = known.into_iter().map(|item| item.info.path).collect();
    let profile: BTreeSet<&StorePath> = installed.iter().map(|element| &element.out_path).collect();
    for line in &mut found.lines {
        let Some(path) = &line.row.out_path else { continue };
        line.status = Status {
            installed: !wanted.available || profile.contains(path),
            valid: valid.contains(path),
            substitutable: substitutable.contains(path),
        };
    }
    // JSON tells of all packages, whether they would have to be built or not.
    if call.prebuilt {
        let is_there = |path: &StorePath| valid.contains(path) || substitutable.contains(path);
        found.lines.retain(|line| line.row.out_path.as_ref().is_some_and(is_there));
    }
    Ok(())
}
