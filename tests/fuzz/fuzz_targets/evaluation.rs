//! Evaluation with a limit for the steps, in a world without files: the result is the
//! same again, what is printed of data is read as the same data, and its
//! JSON is the JSON of what is read from it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nival::eval::builtins::json::JsonStyle;
use nival::eval::error::{Error, Kind};
use nival::eval::io::{Addition, ClosureFetch, Dependency, Fetch, FetchedTree, FileKind, Filter, World};
use nival::eval::print::Style;
use nival::eval::shared::Settings;
use nival::eval::sources::Origin;
use nival::eval::text::quote;
use nival::eval::value::Position;
use nival::model::input::Input;

/// A world in which there is nothing, and which ends an evaluation soon.
struct Nothing;

fn absent<T>() -> Result<T, Error> {
    Err(Error::new("this world has none"))
}

impl World for Nothing {
    fn store_dir(&self) -> &[u8] {
        b"/nix/store"
    }
    fn current_dir(&self) -> Vec<u8> {
        b"/work".to_vec()
    }
    fn read_file(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        absent()
    }
    fn read_dir(&self, _: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, Error> {
        absent()
    }
    fn kind(&self, _: &[u8]) -> Result<Option<FileKind>, Error> {
        Ok(None)
    }
    fn read_link(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        absent()
    }
    fn variable(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn now(&self) -> Option<i64> {
        Some(1)
    }
    fn system(&self) -> Option<Vec<u8>> {
        Some(b"x86_64-linux".to_vec())
    }
    fn search_path(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        vec![(b"a".to_vec(), b"/b".to_vec())]
    }
    fn resolve_entry(&self, _: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        Ok(None)
    }
    fn add(&self, _: &Addition<'_>, _: Option<Filter<'_>>) -> Result<Vec<u8>, Error> {
        absent()
    }
    fn add_text(&self, name: &[u8], _: &[u8], _: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
        Ok([b"/nix/store/0mdqa9w1p6cmli6976v4wi0sw9r4p5pr-", name].concat())
    }
    fn add_derivation(&self, _: nival::model::derivation::DerivationFile) -> Result<(), Error> {
        Ok(())
    }
    fn read_derivation(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        absent()
    }
    fn references(&self, _: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        absent()
    }
    fn realise(&self, _: &[Dependency]) -> Result<(), Error> {
        absent()
    }
    fn fetch(&self, _: &Fetch) -> Result<Vec<u8>, Error> {
        absent()
    }
    fn fetch_tree(&self, _: &Input) -> Result<FetchedTree, Error> {
        absent()
    }

    fn fetch_closure(&self, _: &ClosureFetch) -> Result<Vec<u8>, Error> {
        absent()
    }
    fn go_on(&self) -> Result<(), Error> {
        Err(Error::of(Kind::Interrupted, "enough"))
    }
    fn tell(&self, _: &str) {}
}

/// What is printed of a value and how it is written as JSON, where it can be; or the report of the failure.
type Told = Result<(Vec<u8>, Option<Vec<u8>>), (Kind, String)>;

fn evaluate(text: &[u8]) -> Told {
    let mut settings = Settings::new();
    settings.max_call_depth = 300;
    settings.features =
        ["pipe-operators", "parse-toml-timestamps", "ca-derivations"].map(str::to_owned).to_vec();
    let told = nival::eval::evaluate(settings, &Nothing, |worker| {
        let value = worker
            .evaluate_text(Origin::Text, text, b"/work")
            .and_then(|value| worker.force_deep(value))
            .and_then(|value| Ok((worker.print(value, Style::Instantiate)?, value)));
        let (printed, value) = value.map_err(|error| {
            (error.kind(), [true, false].map(|whole| worker.shared.report(&error, whole)).concat())
        })?;
        worker.print(value, Style::Eval).expect("what was printed before");
        let mut json = Vec::new();
        let written = worker.write_json(value, JsonStyle::STRICT, Position::NONE, &mut json).is_ok();
        Ok((printed, written.then_some(json)))
    });
    told.expect("a thread")
}

/// Whether a text might ask for more memory than a test has, in few steps.
fn is_greedy(text: &[u8]) -> bool {
    let digits = text.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).max().unwrap_or(0);
    let joins = text.iter().filter(|byte| b"+*$".contains(byte)).count();
    let calls = |name: &[u8]| text.windows(name.len()).any(|window| window == name);
    (calls(b"genList") && (digits > 4 || text.contains(&b'*') || calls(b"Int"))) || joins > 40
}

fuzz_target!(|data: &[u8]| {
    if is_greedy(data) {
        return;
    }
    let first = evaluate(data);
    if matches!(first, Err((Kind::Depth | Kind::Interrupted, _))) {
        return;
    }
    assert_eq!(evaluate(data), first);
    let Ok((printed, json)) = first else { return };
    let has = |text: &str| printed.windows(text.len()).any(|window| window == text.as_bytes());
    // Functions and values that were shown before cannot be read again, numbers lose digits, and a
    // minus is an operator.
    let is_data = !["<", "«", "-", "inf", "nan", "e+", "/", "."].iter().any(|text| has(text));
    if is_data {
        let again = evaluate(&printed).map(|(printed, _)| printed.escape_ascii().to_string());
        assert_eq!(again, Ok(printed.escape_ascii().to_string()));
    }
    if let Some(json) = json {
        let mut quoted = Vec::new();
        quote::push_string(&mut quoted, &json);
        let text = [b"builtins.toJSON (builtins.fromJSON ", &quoted[..], b")"].concat();
        match evaluate(&text) {
            Err((Kind::Depth, _)) => {}
            told => {
                let again = told.map(|(printed, _)| printed.escape_ascii().to_string());
                assert_eq!(again, Ok(quoted.escape_ascii().to_string()));
            }
        }
    }
});
